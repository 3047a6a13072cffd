"""Standard output and error that may be lost while a command works: a reader may leave."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast


def open_missing() -> None:
    """Opens what this process has been started without, so that no other file takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def silence(stream: TextIO) -> None:
    """Lets all that a stream is still to write go nowhere, as when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def tell(text: str) -> None:
    """Prints a line to standard output, if anybody still reads it."""
    try:
        print(text, flush=True)
    except OSError:
        silence(sys.stdout)


@contextlib.contextmanager
def outlasting(lost: Callable[[OSError], None]) -> Iterator[None]:
    """Lets no output fail within the block: what cannot be written goes nowhere.

    Args:
      lost: function that is called with the error when a reader, or the terminal, has gone.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Outlet(stream, lost)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Outlet:
    """A stream whose `write` and `flush` do not fail."""

    def __init__(self, stream: TextIO, lost: Callable[[OSError], None]) -> None:
        self._stream = stream
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._guarded():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._guarded():
            self._stream.flush()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO, errno.EINVAL):  # the last of Windows
                raise
            silence(self._stream)
            self._lost(error)
