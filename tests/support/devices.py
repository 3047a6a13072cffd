"""Programs on several devices: the CPU can be divided, but only before JAX starts."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.checkout import ROOT


def run_on_devices(script: str, count: int, folder: Path) -> str:
    """Runs a program where JAX has `count` devices; returns what it prints; warnings are errors."""
    path = folder / "program.py"
    path.write_text(script)
    devices = {"JAX_NUM_CPU_DEVICES": str(count), "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-W", "error", path],
        env=os.environ | devices,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
