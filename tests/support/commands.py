"""The `lnln` command, in this process and in one of its own."""

import subprocess
import sys

import pytest

from lnln_jax.cli import main


def lnln(
    *arguments: object, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Runs the command as a process of its own."""
    command = [sys.executable, "-m", "lnln_jax", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, timeout=300)


def fails(capsys, *arguments: object) -> str:
    """Runs the command, which must exit with 1, and returns the one line on stderr."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("lnln: error: ")
    return line.removeprefix("lnln: error: ")


def refuses(capsys, *arguments: object) -> str:
    """Runs the command, which must exit with 2 as for a wrong call, and returns stderr."""
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    assert exit.value.code == 2
    return capsys.readouterr().err
