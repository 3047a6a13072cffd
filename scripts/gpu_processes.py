"""Commands of this checkout in processes of their own, for the parts of gpu.py."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent


def lnln(
    arguments: list[str],
    timeout: float,
    *,
    echo: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs the command; returns its status, 0 or 75, and the last line that it printed.

    Raises:
      RuntimeError: it failed, with its last line.
    """
    command = ["-m", "lnln_jax", *arguments]
    return run_python(command, timeout, echo=echo, environment=environment)


def run_python(
    arguments: list[str],
    timeout: float,
    *,
    echo: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs this Python, which then finds this checkout; otherwise as `lnln`."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=None if echo else subprocess.PIPE,
        text=True,
        timeout=max(timeout, 1),
    )
    lines = [*(process.stderr or "").splitlines(), *process.stdout.splitlines()]
    last = lines[-1] if lines else ""
    if process.returncode not in (0, 75):
        raise RuntimeError(last or f"status {process.returncode}")
    return process.returncode, last
