"""Processes on a terminal of their own (not on Windows)."""

import os
import select
import subprocess
import sys
import time


def on_terminal(*command: str, **variables: str) -> tuple[int, str]:
    """Runs a command on a terminal, and returns its status and all that the terminal was sent."""
    code = f"import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn({command!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=300,
    )
    return done.returncode, done.stdout.decode()


class Terminal:
    """A process on a terminal, and somebody who types."""

    def __init__(self, *command: str) -> None:
        code = f"import pty; pty.spawn({command!r})"  # no fork of this process, which has threads
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def type(self, text: str, *, until: str) -> None:
        """Types text, and waits for what it makes the terminal show."""
        self._process.stdin.write(text.encode())
        shown, limit = "", time.monotonic() + 20
        while until not in shown:
            assert time.monotonic() < limit, (text, until, shown)
            if select.select([self._process.stdout], [], [], 1)[0]:
                shown += self._process.stdout.read(4096).decode(errors="replace")

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process whatever it waits for, and with it the terminal of what runs on it."""
        with self._process:
            self._process.kill()
