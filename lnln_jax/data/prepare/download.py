"""Downloads of large files that never change, which go on where they were interrupted."""

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from lnln_jax.runtime.files import make_folder
from lnln_jax.runtime.processes import try_lock

Progress = Callable[[int, int], None]

_BACKOFF = 1.0  # seconds before the first retry; each that follows waits twice as long
_CHUNK = 1 << 20
_PROGRESS_INTERVAL = 0.1  # seconds


class DownloadError(RuntimeError):
    """A file that cannot be had: which, why, and what to do."""


class _InterruptedError(Exception):
    """A failure that another attempt may not meet."""


def download(
    url: str,
    path: Path,
    *,
    size: int,
    sha256: str,
    progress: Progress | None = None,
    attempts: int = 5,
    timeout: float = 30.0,
) -> None:
    """Downloads a file, going on where an earlier call was interrupted.

    The file appears at `path` whole and verified, or not at all; a file that is there already is
    only verified. Until then its bytes are in `<path>.partial`. Where an earlier call's bytes turn
    out to be of another file, the whole file is fetched once more.

    Args:
      url: http or https address.
      path: place of the file; its folder is made if missing.
      size: size of the file in bytes.
      sha256: checksum of the file in hexadecimal.
      progress: function called with (bytes done, bytes in all), about ten times a second.
      attempts: number of attempts in a row that may fail without a new byte.
      timeout: seconds to wait for a connection, and for each piece of the answer.

    Raises:
      DownloadError: the file could not be downloaded, or is not of this size and SHA-256.
      OSError: nothing can be written to the folder.
    """
    if path.exists():
        if fault := _fault(path, size, sha256):
            raise DownloadError(f"{path} {fault}; remove it to have it downloaded from {url}")
        return
    make_folder(path.parent)
    partial = path.with_name(path.name + ".partial")
    with _open_locked(partial) as file:
        if path.exists():  # another process finished it between the look above and the lock
            partial.unlink()
            download(url, path, size=size, sha256=sha256)
            return
        with requests.Session() as session:
            transfer = _Transfer(session, url, file, path.parent, size, progress, timeout)
            resumed = transfer.done > 0
            transfer.run(attempts)
            fault = _fault(partial, size, sha256)
            if fault and resumed:
                transfer.begin_anew()
                transfer.run(attempts)
                fault = _fault(partial, size, sha256)
        os.fsync(file.fileno())
        if fault:
            partial.unlink()
            raise DownloadError(
                f"what {url} sent {fault}, and was removed; run the same command again, and if "
                f"it is so again, put the right file at {path} by other means"
            )
        partial.replace(path)
    if progress:
        progress(size, size)


def _fault(path: Path, size: int, sha256: str) -> str | None:
    """Says what is wrong with a file."""
    if (got := path.stat().st_size) != size:
        return f"has {got} bytes, expected {size}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256.lower():
        return f"has SHA-256 {digest}, expected {sha256.lower()}"
    return None


@contextlib.contextmanager
def _open_locked(partial: Path) -> Iterator[io.FileIO]:
    """Opens a file to append to, unbuffered, for this process alone."""
    with partial.open("ab", buffering=0) as file:
        try:
            # A holder that ends just now has moved or removed the file since it was opened.
            held = try_lock(file) and os.path.samestat(os.fstat(file.fileno()), partial.stat())
        except FileNotFoundError:
            held = False
        if not held:
            raise DownloadError(f"another process is downloading to {partial}; wait for it")
        yield file


@dataclass
class _Transfer:
    """The bytes of a file on their way from a server: `done` are here."""

    session: requests.Session
    url: str
    file: io.FileIO
    folder: Path
    size: int
    progress: Progress | None
    timeout: float

    def __post_init__(self) -> None:
        self.done = os.fstat(self.file.fileno()).st_size
        if self.done > self.size:
            self.begin_anew()

    def begin_anew(self) -> None:
        if self.done:
            self.file.truncate(0)
        self.done = 0

    def run(self, attempts: int) -> None:
        """Transfers what is missing."""
        most, failures = self.done, 0
        while self.done < self.size:
            try:
                self._attempt()
            except (
                _InterruptedError,
                requests.ConnectionError,
                requests.Timeout,
                urllib3.exceptions.HTTPError,
            ) as error:
                # To get again what was here before is not progress: a server that cuts every
                # answer and knows no ranges would be asked for ever.
                failures = 1 if self.done > most else failures + 1
                most = max(most, self.done)
                if failures >= attempts:
                    raise self._error(f"{error}; {self._remedy()}") from error
                time.sleep(_BACKOFF * 2 ** (failures - 1))
            except requests.RequestException as error:
                raise self._error(f"{error}; check the address") from error
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise self._error(f"{error}; free some space, and {self._remedy()}") from error

    def _attempt(self) -> None:
        """Asks once for what is missing."""
        headers = {"Accept-Encoding": "identity"}
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
        with self.session.get(
            self.url, headers=headers, stream=True, timeout=self.timeout
        ) as response:
            status = f"HTTP {response.status_code} {response.reason}"
            content_range = response.headers.get("Content-Range", "")
            match response.status_code:
                case 200:  # also where the server knows no ranges
                    total = response.raw.length_remaining or self.size
                case 206 if found := re.fullmatch(rf"bytes {self.done}-\d+/(\d+)", content_range):
                    total = int(found[1])
                case 206 if self.done:
                    self.begin_anew()
                    return
                case 416 if found := re.fullmatch(r"bytes \*/(\d+)", content_range):
                    total = int(found[1])
                case code if code == 429 or code >= 500:
                    raise _InterruptedError(status)
                case _:
                    raise self._error(f"{status}; check the address")
            if total != self.size:
                raise self._error(f"it has {total} bytes, expected {self.size}; check the address")
            if response.status_code == 200:
                self.begin_anew()
            self._receive(response)

    def _receive(self, response: requests.Response) -> None:
        """Appends the body of an answer."""
        missing, free = self.size - self.done, shutil.disk_usage(self.folder).free
        if missing > free:
            raise self._error(
                f"{missing} bytes are needed in {self.folder}, {free} are free; "
                f"free some space, and {self._remedy()}"
            )
        due = 0.0
        # read1 returns what has come: no byte is lost in an interruption. What is encoded stays
        # so, as ranges and sizes are of the encoded file.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            rest = memoryview(chunk)
            while rest:  # a disk that gets full takes a part
                written = self.file.write(rest)
                self.done += written
                rest = rest[written:]
            if self.progress and self.done < self.size and time.monotonic() >= due:
                self.progress(self.done, self.size)
                due = time.monotonic() + _PROGRESS_INTERVAL
        if self.done < self.size:
            raise _InterruptedError("the answer ended early")

    def _error(self, reason: str) -> DownloadError:
        return DownloadError(f"cannot download {self.url}: {reason}")

    def _remedy(self) -> str:
        return f"run the same command again: it goes on from {self.done} of {self.size} bytes"
