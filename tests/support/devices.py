"""Programs on several devices: the CPU can be divided, but only before JAX starts."""

import os
import subprocess
import sys
from pathlib import Path


def run_on_devices(script: str, count: int, folder: Path) -> str:
    """Runs a program where JAX has `count` devices; what it prints. A warning is an error."""
    path = folder / "program.py"
    path.write_text(script)
    result = subprocess.run(
        [sys.executable, "-W", "error", path],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": str(count), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
