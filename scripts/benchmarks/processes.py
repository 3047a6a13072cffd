"""Runs commands of this checkout in processes of their own."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lnln(
    arguments: list[str],
    timeout: float = threading.TIMEOUT_MAX,
    *,
    echo: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs the command `lnln`.

    Args:
      arguments: those of the command.
      timeout: seconds after which it is killed.
      echo: whether to repeat on stderr what it says there.
      environment: variables beside those of this process.

    Returns:
      Its status, 0 or 75 (interrupted, to go on later), and the last line that it printed.

    Raises:
      RuntimeError: it failed, with its last line.
    """
    command = ["-m", "lnln_jax", *arguments]
    return run_python(command, timeout, echo=echo, environment=environment)


def last_of_each(overrides: Iterable[str]) -> list[str]:
    """Returns the last override of each field, since `lnln` takes a field once."""
    return [*{item.partition("=")[0]: item for item in overrides}.values()]


def run_python(
    arguments: list[str],
    timeout: float = threading.TIMEOUT_MAX,
    *,
    echo: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs this Python, which then finds this checkout; for the rest see `lnln`."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:

        def relay() -> None:
            for line in process.stderr or ():
                said.append(line.rstrip())
                if echo:
                    print(line, end="", file=sys.stderr, flush=True)

        relaying = threading.Thread(target=relay)
        relaying.start()
        timer = threading.Timer(max(timeout, 1), process.kill)
        timer.start()
        printed = (process.stdout.read() if process.stdout else "").splitlines()
        status = process.wait()
        timer.cancel()
        relaying.join()
    if status not in (0, 75):
        raise RuntimeError((said or printed or [""])[-1] or f"status {status}")
    return status, (printed or said or [""])[-1]
