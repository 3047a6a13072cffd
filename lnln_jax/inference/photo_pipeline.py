"""Reading, enlarging and writing photos, three of them at a time.

While the device computes one photo, a thread reads the next and another writes the last: decoders
and encoders leave Python's lock alone. A photo is read whole, in 8 or 16 bits, and its result
passes through in bands, so at most two photos and a few bands are held.
"""

import collections
import dataclasses
import itertools
import os
import queue
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from lnln_jax.images.files import ImageFileError, fit, read_photo, write_bands
from lnln_jax.images.photo import Header, Photo
from lnln_jax.inference.photo_pixels import BORDER, upscaled
from lnln_jax.inference.photo_targets import UpscaledFile
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.runtime.files import check_folder, printable

# The best of those that `scripts/benchmarks/upscaling.py` compares, for LNLN on a CPU: larger ones
# cost more attention for a pixel, smaller ones more overlap.
AUTO_TILE = 96

_QUEUED_BANDS = 2
_LONGEST_NAME = 255  # of most file systems


def upscale_each(
    upscaler: Upscaler,
    planned: Sequence[UpscaledFile],
    *,
    self_ensemble: bool,
    tile: int | Literal["auto"] | None,
    seamless: bool,
    overwrite: bool,
    progress: Callable[[float], object],
) -> Generator[tuple[UpscaledFile, str], None, None]:
    """Upscales the files that have a target and no error, and yields all in order.

    Each comes with what to say about it. Whatever a file makes fail is its error, and no other's.
    Where the iterator is closed or fails, as it does by Ctrl-C, files that are not complete do not
    appear, and older ones are kept. `progress` is told how many files have been upscaled, with the
    part of the present one.
    """
    tile = upscaler.tile_for(AUTO_TILE if tile == "auto" else tile)
    waiting: collections.deque[_Job] = collections.deque()
    with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:
        coming = [reader.submit(_open, entry, upscaler.scale, overwrite) for entry in planned[:1]]
        pairs = itertools.zip_longest(planned, planned[1:])
        for number, (entry, following) in enumerate(pairs):
            job = _Job(entry)
            waiting.append(job)
            opened, photo = coming.pop(), None
            if failure := opened.exception():  # of the thread: decoders raise almost anything
                job.error = _reason(failure, entry.source)
            else:
                photo = opened.result()
            if following is not None:
                coming.append(reader.submit(_open, following, upscaler.scale, overwrite))
            if photo is not None:
                try:
                    job.begin(writer, photo, upscaler.scale, tile)
                    done, height = 0, upscaler.scale * len(photo.samples)
                    for band in upscaled(
                        upscaler, photo, self_ensemble=self_ensemble, tile=tile, seamless=seamless
                    ):
                        if not job.put(band):
                            break
                        done += len(band)
                        progress(number + done / height)
                        yield from _finished(waiting)
                    job.put(None)
                except Exception as error:
                    job.abandon()
                    job.error = _reason(error, entry.source)
                except BaseException:
                    job.abandon()
                    raise
            progress(number + 1)
            yield from _finished(waiting)
        while waiting:
            yield waiting.popleft().result()


class _Abandoned(Exception):
    """Raised in the thread that writes, where there will be no more bands."""


@dataclasses.dataclass
class _Job:
    """A file on its way, and the thread that writes it."""

    entry: UpscaledFile
    error: str | None = None
    start: float = dataclasses.field(default_factory=time.perf_counter)
    text: str = ""
    written: Future[float] | None = None
    bands: queue.Queue = dataclasses.field(default_factory=lambda: queue.Queue(_QUEUED_BANDS))

    def begin(self, writer: ThreadPoolExecutor, photo: Photo, scale: int, tile: int | None) -> None:
        target = self.entry.target
        assert target is not None
        height, width, channels = photo.samples.shape
        shape = (height * scale, width * scale, channels)
        self.text = f"{width}x{height} -> {target} {shape[1]}x{shape[0]}"
        if tile is not None and max(height, width) + 2 * BORDER > tile:
            self.text += f", tiles of {tile}"
        header = Header(shape, photo.samples.dtype, photo.metadata)
        self.written = writer.submit(self._write, header, target)

    def put(self, item: np.ndarray | _Abandoned | None) -> bool:
        """Hands over a band, or None for the end; false where the writer has failed."""
        assert self.written is not None
        while not self.written.done():
            try:
                self.bands.put(item, timeout=0.05)
                return True
            except queue.Full:
                pass  # the writer is behind, or has failed
        return False

    def abandon(self) -> None:
        """Ends the writing, which leaves no file."""
        if self.written is not None and not self.written.cancel():
            self.put(_Abandoned())

    def _write(self, header: Header, target: Path) -> float:
        bands = self._received()
        first = next(bands)  # if there is none, no folder is made either
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bands(itertools.chain([first], bands), header, target)
        return time.perf_counter()

    def _received(self) -> Iterator[np.ndarray]:
        while (band := self.bands.get()) is not None:
            if isinstance(band, _Abandoned):
                raise band
            yield band

    @property
    def finished(self) -> bool:
        return self.written is None or self.written.done()

    def result(self) -> tuple[UpscaledFile, str]:
        """Returns what became of the file, and what to say; waits for the writer."""
        error, end = self.entry.error or self.error, self.start
        if error is None and self.written is not None:
            if failure := self.written.exception():
                error = _reason(failure, self.entry.source)
            else:
                end = self.written.result()
        said = f"error: {error}" if error else f"{self.text}, {end - self.start:.1f} s"
        return dataclasses.replace(self.entry, error=error), said


def _finished(waiting: collections.deque[_Job]) -> Iterator[tuple[UpscaledFile, str]]:
    while waiting and waiting[0].finished:
        yield waiting.popleft().result()


def _open(entry: UpscaledFile, scale: int, overwrite: bool) -> Photo | None:
    """Reads a photo whose result can be written; None where there is nothing to do."""
    target = entry.target
    if target is None or entry.error is not None:
        return None
    _check_target(target, overwrite)
    if os.path.exists(entry.source) and not os.path.isfile(entry.source):  # opening a pipe waits
        raise ImageFileError("it is not a file; pipe it into standard input, which is called -")
    return fit(read_photo(entry.source), target, scale=scale)


def _check_target(target: Path, overwrite: bool) -> None:
    shown = printable(target)
    if os.path.isdir(target):
        raise ImageFileError(f"{shown} is a folder; move it away or choose another output folder")
    if os.path.lexists(target) and not overwrite:
        raise ImageFileError(
            f"{shown} exists; allow overwriting (--overwrite), skip what exists (--skip-existing) "
            "or choose another output folder (--output)"
        )
    if (length := _length(target.name)) > _LONGEST_NAME:
        raise ImageFileError(
            f"its result would have a name of {length} bytes, and {_LONGEST_NAME} are the most; "
            "rename it"
        )
    if not os.path.isdir(target.parent):
        check_folder(target.parent)


def _length(name: str) -> int:
    """Returns the length of a name as file systems count it: in bytes, on Windows in UTF-16."""
    if sys.platform == "win32":
        return len(name.encode("utf-16-le", "surrogatepass")) // 2
    return len(os.fsencode(name))


def _reason(error: BaseException, source: Path) -> str:
    """Returns the message for one file, without its name in front."""
    if os.environ.get("LNLN_TRACEBACK"):
        traceback.print_exception(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return "not enough memory; use tiles, or smaller ones"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, ValueError):
        return str(error).removeprefix(f"{source}: ").removeprefix(f"{printable(source)}: ")
    return f"{type(error).__name__}: {error}"
