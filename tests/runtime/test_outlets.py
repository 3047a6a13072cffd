"""What is printed where nobody reads it any more."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.signals import signals_heard

PRINTING = """
import sys, time
from lnln_jax.runtime.outlets import tell
from lnln_jax.runtime.processes import stop_signals

with stop_signals("stopping") as stop:
    print("begins", file=sys.{stream}, flush=True)
    for _ in range(600):
        print("goes on", file=sys.{stream}, flush=True)
        if stop.requested:
            break
        time.sleep(0.1)
tell("ends")
sys.exit(75 if stop.requested else 0)
"""
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="of Unix")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_leaves_is_a_request_to_stop(stream):
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING.format(stream=stream)], **both
    ) as process:
        assert getattr(process, stream).readline() == f"begins{os.linesep}".encode()
        getattr(process, stream).close()
        setattr(process, stream, None)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert b"rror" not in (err or b"")


def on_a_terminal(before: str) -> tuple[int, subprocess.Popen]:
    pty = pytest.importorskip("pty")
    main, other = pty.openpty()
    command = [sys.executable, "-c", before + PRINTING.format(stream="stderr")]
    with signals_heard():
        process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other)
    os.close(other)
    text = b""
    while b"goes on" not in text:
        text += os.read(main, 100)
    return main, process


@UNIX
def test_a_terminal_that_is_closed_is_one_too():
    main, process = on_a_terminal("")
    os.close(main)
    assert process.wait(timeout=60) == 75


@UNIX
def test_a_process_that_ignores_the_end_of_its_terminal_goes_on():
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    main, process = on_a_terminal(before)
    os.close(main)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75


@UNIX
@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&- 1>&- 2>&-"])
def test_a_process_that_is_started_without_an_output(tmp_path, closed):
    """The next file that is opened must not become what libraries print to."""
    code = (
        "import os, sys; from lnln_jax.runtime.outlets import open_missing; open_missing(); "
        f"file = open({str(tmp_path / 'file')!r}, 'w'); print(1); print(2, file=sys.stderr); "
        "os.write(1, b''); os.write(2, b'text'); sys.exit(file.fileno())"
    )
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "$0" {closed}', code], check=False)
    assert done.returncode >= 3
    assert (tmp_path / "file").read_bytes() == b""
