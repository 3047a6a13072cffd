"""Progress on a terminal: what is being done, how far it is and the time left.

A bar is drawn by a thread of its own, so that its clock goes on while one image takes a minute. It
appears only after `DELAY`.
"""

import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

DELAY = 1.0  # seconds
_REDRAW = 0.2
_COLUMNS = 80  # where a terminal does not know its width
_ROWS = 20

_quiet = False


def be_quiet(quiet: bool) -> None:
    """Sets whether progress and remarks are left out, here and in all that follows."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Returns whether progress and remarks are to be left out."""
    return _quiet


def shows_progress() -> bool:
    """Returns whether there is anybody to see progress: stderr is a terminal, and not quiet."""
    return not _quiet and sys.stderr is not None and sys.stderr.isatty()


def remark(text: str) -> None:
    """Prints to stderr what is worth knowing, but neither an answer nor a warning."""
    if not _quiet and sys.stderr is not None:
        say(text, sys.stderr)


def say(text: str, file: TextIO) -> None:
    """Prints a text at once, above the bars if there are any."""
    from tqdm import tqdm  # which `lnln --help` need not wait for

    tqdm.write(text, file=file)
    file.flush()


class WarningLines(logging.Handler):
    """A handler of logs that prints each record as a line, above the bars if there are any."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record to stderr, if there is one."""
        try:
            if sys.stderr is not None:
                say(f"{record.levelname.lower()}: {record.getMessage()}", sys.stderr)
        except OSError:  # nobody reads it any more, which is not the fault of what is told
            self.handleError(record)


def progress_of(what: str) -> Callable[[float, int], None]:
    """Returns a progress bar for `what`: a function of how many of how many are done.

    Nothing is shown where `shows_progress` says no. The bar ends when all are done, or when nobody
    holds the function any more.
    """
    bar = _Bar(what)
    bar.start()

    def show(done: float, total: int) -> None:
        bar.done, bar.total = done, total
        if done >= total:
            bar.end()

    weakref.finalize(show, bar.ended.set)
    return show


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Shows what is being done and for how long, while the block runs."""
    bar = _Bar(what)
    bar.start()
    try:
        yield
    finally:
        bar.end()


def end_progress() -> None:
    """Removes what bars are still there, such as before an error is printed."""
    for bar in [*_live]:
        bar.end()


@dataclass(eq=False)
class _Bar:
    """What is known of a bar, and the thread that draws it."""

    what: str
    done: float = 0
    total: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> None:
        """Draws from now on, if anybody sees it."""
        if shows_progress():
            _live.add(self)
            self.thread = threading.Thread(target=self._draw, daemon=True)
            self.thread.start()

    def end(self) -> None:
        """Removes the bar from the terminal."""
        self.ended.set()
        if self.thread is not None:
            self.thread.join()
        _live.discard(self)

    def _draw(self) -> None:
        from tqdm import tqdm

        began = time.time()
        if self.ended.wait(DELAY):
            _live.discard(self)
            return
        with tqdm(desc=self.what, leave=False, ncols=_columns(), nrows=_ROWS, delay=1e-9) as bar:
            bar.start_t = began
            while not self.ended.wait(_REDRAW):
                bar.n, bar.total, bar.ncols = self.done, self.total, _columns()
                bar.bar_format = None if self.total else "{desc} ({elapsed})"
                bar.refresh()
            bar.last_print_t = time.time()  # else tqdm believes that there is nothing to remove
        _live.discard(self)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


_live: set[_Bar] = set()
