"""The names of files that are a set: `x-00001-of-00003.safetensors` and so on."""

import glob
import re
from pathlib import Path

from lnln_jax.runtime.files import printable

_NAME = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<parts>\d{5})", re.DOTALL)
_LISTED = 5  # files that an error names


def name_part(path: Path, part: int, parts: int) -> Path:
    """Returns the name of a part, counted from 1, of a set that is called `path`."""
    return path.with_name(f"{path.stem}-{part:05d}-of-{parts:05d}{path.suffix}")


def stem_of(path: Path) -> str:
    """Returns the name of a file without its suffix and without its number in a set."""
    match = _NAME.fullmatch(path.stem)
    return match["stem"] if match else path.stem


def files_of(path: Path) -> list[Path]:
    """Returns the files of all sets that are called `path`, and `path` itself if it exists."""
    names = f"{glob.escape(stem_of(path))}-*-of-*{glob.escape(path.suffix)}"
    there = (file for file in path.parent.glob(names) if stem_of(file) == stem_of(path))
    parts = sorted(file for file in there if _NAME.fullmatch(file.stem))
    return [path, *(file for file in parts if file != path)] if path.exists() else parts


def find_file(path: Path) -> Path:
    """Finds the file to open for what a user calls `path`, such as a set without a number.

    Returns:
      `path`, where it is there or nothing is; else a file of the one set of that name.

    Raises:
      ValueError: there are several sets of that name.
    """
    if path.suffix.lower() != ".safetensors" or path.exists():
        return path
    sets: dict[str, Path] = {}
    for file in files_of(path):
        sets.setdefault(file.stem.rpartition("-")[2], file)
    wanted = _NAME.fullmatch(path.stem)
    if wanted:
        return sets.get(wanted["parts"], path)
    if len(sets) > 1:
        raise ValueError(
            f"there are several sets of files {printable(path)}; name the first file of one: "
            f"{', '.join(file.name for file in sets.values())}"
        )
    return next(iter(sets.values()), path)


def files_of_set(path: Path) -> list[Path]:
    """Returns all files of the set that a file is of: itself alone, unless it has a number.

    Raises:
      ValueError: some are missing.
    """
    match = _NAME.fullmatch(path.stem)
    if not match:
        return [path]
    total = int(match["parts"])
    whole = path.with_name(f"{match['stem']}{path.suffix}")
    files = [name_part(whole, i, total) for i in range(1, total + 1)]
    if missing := [printable(file.name) for file in files if not file.is_file()]:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise ValueError(
            f"{printable(path)} is one of {total} files, of which "
            f"{', '.join(missing[:_LISTED])}{more} cannot be found; put all of them in the "
            f"folder {printable(path.parent)}"
        )
    return files
