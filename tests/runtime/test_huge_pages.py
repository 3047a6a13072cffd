"""Restarting with huge pages, in real processes."""

import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from lnln_jax.runtime.huge_pages import restart_with_huge_pages
print("start", os.getpid(), flush=True)
restart_with_huge_pages()
print("go", os.getpid(), os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:])
"""


def run(**environment):
    clean = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", CODE, "a b", "--c"]
    done = subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True
    )
    return [line.split(maxsplit=2) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux alone")
def test_a_command_restarts_once_as_the_same_process():
    starts, (again, go) = run()[:1], run()[1:]
    assert starts[0][0] == again[0] == "start"
    assert again[1] == go[1]  # the process keeps its number, which a supervisor watches
    assert go[0] == "go"
    assert go[2] == "glibc.malloc.hugetlb=1 a b --c"


def test_a_setting_of_the_user_is_left_alone():
    lines = run(GLIBC_TUNABLES="glibc.malloc.check=0")
    assert [line[0] for line in lines] == ["start", "go"]
    assert lines[1][2] == "glibc.malloc.check=0 a b --c"
