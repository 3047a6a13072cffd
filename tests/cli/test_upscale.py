"""`lnln upscale` as its users call it."""

import os

import numpy as np
from PIL import Image

from lnln_jax.cli import main
from lnln_jax.images.resize import imresize
from tests.support.commands import lnln


def test_upscale_does_what_it_can(tmp_path, photo, pixels, broken):
    done = lnln("upscale", broken, photo, "--model", "bicubic", "--output", tmp_path / "out")
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first == f"[1/2] {broken}: error: cannot be read: image file is truncated"
    assert second.startswith(f"[2/2] {photo}: 8x6 -> {tmp_path / 'out' / 'photo_x2.png'} 16x12, ")
    assert done.stderr == f"lnln: error: 1 of 2 failed: {broken}\n"
    with Image.open(tmp_path / "out" / "photo_x2.png") as image:
        np.testing.assert_array_equal(np.asarray(image), imresize(pixels, 2))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_x2.png"]


def test_upscale_options(tmp_path, photo, pixels, capsys):
    arguments = ["upscale", str(photo), "--model", "bicubic", "--output", str(tmp_path / "out")]
    options = ["--scale", "3", "--format", "tiff", "--tile", "none", "--self-ensemble"]
    assert main([*arguments, *options]) == 0
    with Image.open(tmp_path / "out" / "photo_x3.tiff") as image:
        np.testing.assert_array_equal(np.asarray(image), imresize(pixels, 3))
    capsys.readouterr()
    assert main([*arguments, *options]) == 1
    captured = capsys.readouterr()
    assert "exists; allow overwriting" in captured.out
    assert captured.err == f"lnln: error: 1 of 1 failed: {photo}\n"
    assert main([*arguments, *options, "--tile", "32", "--overwrite"]) == 0


def test_a_reader_that_leaves_is_no_traceback(tmp_path, photo):
    reader, writer = os.pipe()
    os.close(reader)
    done = lnln("upscale", photo, "--model", "bicubic", "--output", tmp_path / "out", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    assert (tmp_path / "out" / "photo_x2.png").exists()
