"""Downloads of large files that go on where they were interrupted."""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from lnln_jax.runtime.files import make_folder, write_file
from lnln_jax.runtime.processes import try_lock

Progress = Callable[[int, int], None]

_BACKOFF = 1.0  # seconds before the first retry; each that follows waits twice as long
_CHUNK = 1 << 20
_PROGRESS_INTERVAL = 0.1  # seconds


class DownloadError(RuntimeError):
    """A file cannot be had: which, why, and what to do."""


class _InterruptedError(Exception):
    """A failure that another attempt may not meet."""


def download(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    attempts: int = 5,
    timeout: float = 30.0,
) -> None:
    """Downloads a file, going on where an earlier call was interrupted.

    The file appears at `path` whole and verified, or not at all; a file that is there already is
    only verified. Until then its bytes are in `<path>.partial`, and `<path>.partial.json` tells
    which version of the file they are of: they are used if the server still has that version.

    Args:
      url: http or https.
      path: where the file shall be; its folder is made if missing.
      size: in bytes, if known.
      sha256: in hexadecimal, if known.
      progress: called with (bytes done, bytes in all, or 0 if unknown), about ten times a second.
      attempts: how many in a row may fail without a new byte.
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
    record = path.with_name(path.name + ".partial.json")
    with _open_locked(partial) as file:
        if path.exists():  # another process finished it between the look above and the lock
            partial.unlink()
            download(url, path, size=size, sha256=sha256)
            return
        with requests.Session() as session:
            transfer = _Transfer(session, url, file, record, size, progress, timeout)
            transfer.run(attempts)
        os.fsync(file.fileno())
        if fault := _fault(partial, size, sha256):
            partial.unlink()
            record.unlink(missing_ok=True)
            raise DownloadError(
                f"what {url} sent {fault}, and was removed; run the same command again, and if "
                f"it is so again, put the right file at {path} by other means"
            )
        partial.replace(path)
        record.unlink(missing_ok=True)
    if progress:
        progress(transfer.done, transfer.done)


def _fault(path: Path, size: int | None, sha256: str | None) -> str | None:
    """What is wrong with a file."""
    if size is not None and (got := path.stat().st_size) != size:
        return f"has {got} bytes, expected {size}"
    if sha256 is not None:
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
    record: Path
    size: int | None
    progress: Progress | None
    timeout: float

    def __post_init__(self) -> None:
        self.done = os.fstat(self.file.fileno()).st_size
        self.total = self.size or 0  # 0 is unknown
        self.validator = None
        with contextlib.suppress(FileNotFoundError, ValueError):
            record = json.loads(self.record.read_bytes())
            self.validator = record["validator"] if record["url"] == self.url else None

    def run(self, attempts: int) -> None:
        """Transfers what is missing."""
        if not self.validator:
            self._begin_anew()  # nobody knows of which version the bytes are
        most, failures = self.done, 0
        while self.done != self.size:
            try:
                if self._attempt():
                    return
            except (
                _InterruptedError,
                requests.ConnectionError,
                requests.Timeout,
                urllib3.exceptions.HTTPError,
            ) as error:
                # To get again what was here before is no progress: a server that cuts every
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

    def _attempt(self) -> bool:
        """Asks once for what is missing; False if the file has to be begun anew."""
        headers = {"Accept-Encoding": "identity"}
        if self.done:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": self.validator or ""}
        with self.session.get(
            self.url, headers=headers, stream=True, timeout=self.timeout
        ) as response:
            status = f"HTTP {response.status_code} {response.reason}"
            content_range = response.headers.get("Content-Range", "")
            match response.status_code:
                case 200:
                    total = response.raw.length_remaining or 0
                case 206 if self.done:
                    found = re.fullmatch(rf"bytes {self.done}-\d+/(\d+)", content_range)
                    # Servers that ignore If-Range send the rest of another version.
                    if not found or _validator_of(response) not in (None, self.validator):
                        self._begin_anew()
                        return False
                    total = int(found[1])
                case 416 if self.done:
                    if content_range == f"bytes */{self.done}":
                        return True
                    self._begin_anew()
                    return False
                case code if code == 429 or code >= 500:
                    raise _InterruptedError(status)
                case _:
                    raise self._error(f"{status}; check the address")
            if self.size is not None and total not in (0, self.size):
                raise self._error(f"it has {total} bytes, expected {self.size}; check the address")
            self.total = total or self.size or 0
            if response.status_code == 200:
                self._begin_anew()
                self.validator = _validator_of(response)
                record = {"url": self.url, "validator": self.validator}
                write_file(self.record, json.dumps(record).encode())
            self._receive(response)
        return True

    def _begin_anew(self) -> None:
        if self.done:
            self.file.truncate(0)
            os.fsync(self.file.fileno())  # or a power cut leaves old bytes with a new record
        self.done = 0

    def _receive(self, response: requests.Response) -> None:
        """Appends the body of an answer."""
        missing, free = self.total - self.done, shutil.disk_usage(self.record.parent).free
        if missing > free:
            raise self._error(
                f"{missing} bytes are needed in {self.record.parent}, {free} are free; "
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
            if self.progress and self.done != self.total and time.monotonic() >= due:
                self.progress(self.done, self.total)
                due = time.monotonic() + _PROGRESS_INTERVAL
        if self.done < self.total:
            raise _InterruptedError("the answer ended early")

    def _error(self, reason: str) -> DownloadError:
        return DownloadError(f"cannot download {self.url}: {reason}")

    def _remedy(self) -> str:
        done = self.done if self.validator else 0
        total = f"{self.total} bytes" if self.total else "an unknown number of bytes"
        return f"run the same command again: it goes on from {done} of {total}"


def _validator_of(response: requests.Response) -> str | None:
    """What tells this version of the file from others; a weak ETag does not, byte for byte."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified") if etag.startswith("W/") else etag
