"""`lnln upscale` in pipes and on terminals."""

import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from lnln_jax.cli import main
from lnln_jax.images.resize import imresize
from tests.support.signals import signals_heard

BICUBIC = ("--model", "bicubic")
COMMAND = [sys.executable, "-m", "lnln_jax", "upscale", *BICUBIC]


def run(*arguments: object, data: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300, input=data)


def decoded(data: bytes) -> tuple[str | None, np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        return image.format, np.asarray(image)


def test_from_pipe_to_pipe(photo, pixels):
    done = run("-", "-o", "-", data=photo.read_bytes())
    assert done.returncode == 0, done.stderr
    kind, sr = decoded(done.stdout)
    assert kind == "PNG"
    np.testing.assert_array_equal(sr, imresize(pixels, 2))
    line = done.stderr.decode()
    assert line.startswith("[1/1] standard input: 8x6 -> standard output 16x12, ")


def test_quietly_from_pipe_to_pipe(photo, stdin, capfdbinary):
    stdin(photo.read_bytes())
    assert main(["upscale", "-", *BICUBIC, "-o", "-", "--quiet"]) == 0
    captured = capfdbinary.readouterr()
    assert decoded(captured.out)[1].shape == (12, 16, 3)
    assert captured.err == b""


@pytest.mark.parametrize(
    ("format", "kind"), [("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF"), ("same", "PNG")]
)
def test_the_format_of_standard_output(photo, capfdbinary, format, kind):
    assert main(["upscale", str(photo), *BICUBIC, "-o", "-", "-f", format]) == 0
    assert decoded(capfdbinary.readouterr().out)[0] == kind


@pytest.fixture
def stdin(monkeypatch):
    """Sets what the command reads from standard input."""

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_standard_input_among_others(tmp_path, photo, stdin):
    out = tmp_path / "out"
    stdin(photo.read_bytes())
    assert main(["upscale", "-", str(photo), *BICUBIC, "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["photo_x2.png", "stdin_x2.png"]
    stdin(photo.read_bytes())
    assert main(["upscale", "-i", "-", *BICUBIC, "-o", str(out / "b.jpg")]) == 0
    assert decoded((out / "b.jpg").read_bytes())[1].shape == (12, 16, 3)


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        (["-", "-o", "-"], b"", "standard input: error: cannot be read: the file is empty"),
        (["-", "-o", "-"], b"no picture", "standard input: error: cannot be read: not "),
        (["-", "-", "-o", "-"], b"", "standard input (-) is given twice"),
        (["a.png", "b.png", "-o", "-"], b"", "standard output (--output -) takes one picture"),
        ([".", "-o", "-"], b"", "standard output (--output -) takes one picture"),
        (["-", "-o", "-", "-f", "heic"], b"", "it must be one of png, jpg, "),
    ],
)
def test_nothing_but_a_message_where_it_fails(capfd, stdin, arguments, data, message):
    stdin(data)
    assert main(["upscale", *arguments, *BICUBIC]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert message in captured.err


def test_a_large_picture_whose_reader_leaves(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    command = [*COMMAND, str(tmp_path / "noise.png"), "-o", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(8) == b"\x89PNG\r\n\x1a\n"
        process.stdout.close()
        error = process.stderr.read().decode()
    assert process.returncode == 1
    assert "[1/1]" in error
    assert "Traceback" not in error
    assert "Broken" not in error


pty = pytest.importorskip("pty") if sys.platform != "win32" else None


def on_a_terminal(*arguments: object, stdin: int | None = None) -> tuple[int, str]:
    """Runs the command where stdout and stderr are a terminal, and stdin unless it is given."""
    assert pty is not None
    screen, terminal = pty.openpty()
    command = [*COMMAND, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=terminal if stdin is None else stdin, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            data = os.read(screen, 1 << 16)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        if not data:
            break
        shown += data
    os.close(screen)
    return process.wait(), shown.decode()


@pytest.mark.skipif(pty is None, reason="no pseudo-terminals")
def test_pictures_neither_to_nor_from_a_terminal(photo):
    status, shown = on_a_terminal(photo, "-o", "-")
    assert status == 1
    assert shown.startswith("lnln: error: standard output is a terminal or closed; redirect it")
    status, shown = on_a_terminal("-")
    assert status == 1
    assert shown.startswith("lnln: error: standard input (-) is a terminal or closed; pipe a pic")


@pytest.mark.slow
@pytest.mark.skipif(pty is None, reason="no pseudo-terminals")
def test_lines_on_a_terminal_are_whole_also_beside_a_bar(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    for number in range(4):  # long enough for a bar to appear
        Image.fromarray(noise).save(tmp_path / f"{number}.png", compress_level=1)
    status, shown = on_a_terminal(tmp_path, "-o", tmp_path / "out", "-s", "4")
    assert status == 0
    lines = [line.rpartition("\r")[2] for line in shown.replace("\r\n", "\n").splitlines()]
    for number in range(1, 5):
        assert any(line.lstrip().startswith(f"[{number}/4] ") for line in lines), lines
    assert any(line.lstrip() == "4 of 4 upscaled" for line in lines), lines
    assert "upscaling: " in shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_leaves_no_part_of_a_file(tmp_path, number):
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png", compress_level=1)
    out = tmp_path / "out"
    command = [*COMMAND, str(tmp_path / "noise.png"), "-s", "4", "-o", str(out)]
    with signals_heard():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process:
        while not (out.is_dir() and [*out.iterdir()]):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(getattr(signal, number))
        assert process.communicate(timeout=60)[1] == "lnln: interrupted\n"
    assert process.returncode == 130
    assert [*out.iterdir()] == []


def test_standard_input_has_no_name_to_go_by(photo, stdin, capsys):
    stdin(photo.read_bytes())
    assert main(["upscale", "-", *BICUBIC, "-o", "-", "-f", "same"]) == 1
    assert "--format same goes by names, and standard input (-) has none" in capsys.readouterr().err
