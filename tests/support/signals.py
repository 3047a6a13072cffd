"""Signals, also where the tests run under nohup or behind a shell's `&`, which ignore some."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def signals_heard() -> Iterator[None]:
    """Lets this process, and those that start in the block, hear SIGINT and SIGHUP as usual."""
    usual = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
