"""How long a training run may take: a deadline that is kept.

What a run needs to end cleanly (the steps that the device is still computing, a checkpoint, and a
margin for the rest) is measured as it goes, and kept in reserve.
"""

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_IMPORTED = time.monotonic()

_MARGIN = (2.0, 0.02)  # seconds, and a share of the limit: closing files, and the process's end
_SAVE = (1.0, 1e-8)  # seconds, and seconds a byte, that a checkpoint is taken to need at first


def process_start() -> float:
    """Returns when this process began, on the clock of `time.monotonic`.

    Linux tells, to a hundredth of a second. Elsewhere it is when this module was imported, one of
    the first.
    """
    if sys.platform != "linux":
        return _IMPORTED
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # since the system did
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError):
        return _IMPORTED
    return min(_IMPORTED, time.monotonic() - age)


class Clock:
    """A deadline, and the time that must be left before it.

    Attributes:
      took: seconds of the last "validation" and the last "picture"; an estimate before.
    """

    def __init__(self, deadline: float | None, state_bytes: int) -> None:
        """Keeps a deadline.

        Args:
          deadline: time on the clock of `time.monotonic`; None: none.
          state_bytes: size of a checkpoint.
        """
        self._deadline = math.inf if deadline is None else deadline
        seconds, share = _MARGIN
        self._margin = seconds + share * max(0.0, self.left()) if deadline is not None else 0.0
        self._first_save = _SAVE[0] + _SAVE[1] * state_bytes
        self._longest_save = 0.0
        self._saving: tuple[Path, float] | None = None
        self.took: dict[str, float] = {}

    @property
    def runs(self) -> bool:
        """Whether there is a deadline."""
        return self._deadline < math.inf

    def left(self) -> float:
        """Returns the seconds until the deadline, infinity without one."""
        return self._deadline - time.monotonic()

    def over(self, ahead: float = 0.0) -> bool:
        """Returns whether to end now if `ahead` seconds of work would come before the last save."""
        return self.runs and self.left() < self._margin + self.save_seconds() + ahead

    @contextlib.contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Notes how long the block takes, unless it fails."""
        start = time.monotonic()
        yield
        self.took[what] = time.monotonic() - start

    def saves(self, checkpoint: Path) -> None:
        """Notes that a checkpoint begins to be written; its folder appears when it is complete."""
        self.save_seconds()
        self._saving = checkpoint, time.monotonic()

    def save_seconds(self) -> float:
        """Returns the seconds for a checkpoint, and for the rest of one that is being written."""
        pending = 0.0
        if self._saving is not None:
            checkpoint, start = self._saving
            elapsed = time.monotonic() - start
            if checkpoint.is_dir():
                self._longest_save = max(self._longest_save, elapsed)
                self._saving = None
            else:
                pending = max(self._longest_save or self._first_save, elapsed)
        return (self._longest_save or self._first_save) + pending


@contextlib.contextmanager
def ending_by(deadline: float, run: Path, status: int) -> Iterator[None]:
    """Ends this process shortly before a deadline if the block then still goes on.

    Nothing else remains where the main thread waits for something that cannot be asked to stop,
    such as a long compilation. A daemon thread waits; it imports nothing, since the main thread may
    be importing.

    Args:
      deadline: time on the clock of `time.monotonic`.
      run: folder of the training run, for the message.
      status: exit status of the process.
    """
    done = threading.Event()
    early = _MARGIN[0] / 4

    def watch() -> None:
        left = max(0.0, deadline - early - time.monotonic())
        if done.wait(min(left, threading.TIMEOUT_MAX)):
            return
        with contextlib.suppress(OSError):
            os.write(2, f"lnln: {_lost(run)}\n".encode())
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _lost(run: Path) -> str:
    """Returns what the end of a process in the middle of its work means."""
    saved = [int(path.name) for path in (run / "checkpoints").glob("*") if path.name.isdigit()]
    if not saved:
        return (
            "the time limit is over, and nothing is saved yet; the same command begins again, and "
            "needs more time"
        )
    return (
        f"the time limit is over, and what came after step {max(saved)} is lost; the same command "
        "goes on from there"
    )
