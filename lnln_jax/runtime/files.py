"""Files that appear whole or not at all, folders that can be written to, and their space."""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")  # control characters, surrogates, separators of lines


def printable(path: str | os.PathLike[str]) -> str:
    r"""Returns a path or a name as text of one line that any UTF-8 output takes.

    Bytes of a name that are not UTF-8 become \xNN, as do control characters; a newline is \n.
    """

    def shown(character: str) -> str:
        if unicodedata.category(character) not in _UNSHOWN:
            return character
        if "\udc80" <= character <= "\udcff":  # a byte that Python could not decode
            return f"\\x{ord(character) - 0xDC00:02x}"
        return character.encode("unicode_escape").decode()

    return "".join(map(shown, os.fspath(path)))


def excerpt(text: str, longest: int) -> str:
    """Returns the beginning of what a file has chosen, as `printable`."""
    return printable(text[:longest])[:longest]  # escapes are longer than what they stand for


def failure_text(error: Exception) -> str:
    """Returns what an error says; one of the operating system, as path and reason."""
    name = error.filename if isinstance(error, OSError) and error.strerror else None
    if isinstance(error, OSError) and isinstance(name, str | bytes | os.PathLike):
        return f"{printable(os.fsdecode(name))}: {error.strerror}"
    return str(error)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Gives a file to write, which takes its place at the end of the block if nothing failed.

    Raises:
      OSError: it cannot be written; an older file of that name is as it was, as it is after any
        other error in the block.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # missing after the replacement


def write_file(path: Path, data: bytes) -> None:
    """Writes or replaces a file in a folder that is there.

    Raises:
      OSError: it cannot be written; an older file of that name is as it was.
    """
    with replacing(path) as file:
        file.write(data)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Checks, before anything is computed, that a file may be written where it is to be.

    Raises:
      ValueError: a folder is there, or a file that must not be overwritten; `target` is the name of
        the argument.
    """
    with failure_named(target):
        exists = target.exists()
    if exists and target.is_dir():
        raise ValueError(f"target is {printable(target)}, which is a folder; name a file in it")
    if exists and not overwrite:
        raise ValueError(
            f"target is {printable(target)}, which exists; name another, or overwrite (--overwrite)"
        )


@contextlib.contextmanager
def failure_named(target: Path) -> Iterator[None]:
    """Turns the errors of a file that cannot be written into one that names it and the reason."""
    try:
        yield
    except OSError as error:
        # What "exists" then is a file where a folder should be made.
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise ValueError(
            f"target is {printable(target)}, which cannot be written ({reason}); name another"
        ) from error


@contextlib.contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Turns the errors of a run that cannot write into one line that says what to do.

    Raises:
      OSError: `what` cannot be written to the folder; in place of another OSError or of Orbax's.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if type(error).__name__ == "JaxRuntimeError":  # other processes are lost, not the disk
            raise
        text = " ".join(str(error).split())
        reason = text[:200]
        if code := re.search(r"os_error_code='(\d+)'", text):  # TensorStore's
            reason = os.strerror(int(code[1]))
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise OSError(
            f"{what} cannot be written to {printable(folder)} ({reason}); free some space or "
            "mend the folder, and the same command goes on from the newest checkpoint"
        ) from error


def make_folder(folder: Path) -> None:
    """Makes a folder where there is none, with those above it, and tries to write there.

    Raises:
      OSError: nothing can be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass  # only a trial tells: permission bits say nothing of read-only disks


def check_folder(folder: Path, option: str = "--output") -> None:
    """Checks, before anything is computed, that files may be written to a folder, made or not.

    Args:
      folder: folder, which need not be there.
      option: option that names it, for the message.

    Raises:
      ValueError: it is a file, or its disk or permissions forbid it.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError(0, "Not a directory")
        with tempfile.TemporaryFile(dir=there):
            pass  # only a trial tells: permission bits say nothing of read-only disks
    except OSError as error:
        raise ValueError(
            f"{printable(folder)} cannot be written to ({error.strerror}); choose another {option}"
        ) from error


def free_space(folder: Path) -> int:
    """Returns the bytes that are free where a folder is, or is to be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def write_files(contents: Iterable[tuple[Path, bytes]], *, instead_of: Iterable[Path]) -> None:
    """Writes several files in a folder that is there; all of them appear, or none.

    Args:
      contents: paths, each with its bytes; one is held in memory at a time.
      instead_of: files that go when these come, those that are to be replaced among them.

    Raises:
      OSError: they cannot be written; what was there is as it was.
    """
    with contextlib.ExitStack() as rest, contextlib.ExitStack() as undo:

        def beside(path: Path) -> Path:
            return path.with_name(f".{secrets.token_hex(8)}.tmp")

        written = []
        for path, data in contents:
            written.append((beside(path), path))
            rest.callback(written[-1][0].unlink, missing_ok=True)
            write_file(written[-1][0], data)
        for path in instead_of:
            aside = beside(path)
            path.rename(aside)
            undo.callback(aside.rename, path)
            rest.callback(aside.unlink, missing_ok=True)
        for temporary, path in written:
            temporary.rename(path)
            undo.callback(path.unlink)
        undo.pop_all()
