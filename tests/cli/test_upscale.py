"""`lnln upscale` as its users call it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.cli import main
from lnln_jax.images.resize import imresize
from tests.support.commands import fails, lnln, refuses

MODEL = ("--model", "bicubic")


def result(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_upscale_does_what_it_can(tmp_path, photo, pixels, broken):
    done = lnln("upscale", broken, photo, *MODEL, "--output", tmp_path / "out")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"[2/2] {photo}: 8x6 -> {tmp_path / 'out' / 'photo_x2.png'} 16x12, ")
    assert done.stderr.splitlines() == [
        f"[1/2] {broken}: error: cannot be read: image file is truncated",
        f"1 of 2 upscaled; 1 failed: {broken}",
    ]
    np.testing.assert_array_equal(result(tmp_path / "out" / "photo_x2.png"), imresize(pixels, 2))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_x2.png"]


def test_upscale_options(tmp_path, photo, pixels, capsys):
    arguments = ["upscale", str(photo), *MODEL, "--output", str(tmp_path / "out")]
    options = ["--scale", "3", "--format", "tiff", "--self-ensemble"]
    assert main([*arguments, *options, "--tile", "none"]) == 0
    np.testing.assert_array_equal(result(tmp_path / "out" / "photo_x3.tiff"), imresize(pixels, 3))
    capsys.readouterr()
    assert main([*arguments, *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"[1/1] {photo}: error: {tmp_path / 'out' / 'photo_x3.tiff'}")
    assert "exists; allow overwriting" in captured.err
    assert main([*arguments, *options, "--tile", "32", "--overwrite"]) == 0
    assert main([*arguments, *options, "--skip-existing"]) == 0
    assert capsys.readouterr().out.endswith("0 of 0 upscaled; skipped: 1 whose result exists\n")


@pytest.mark.parametrize(
    "call",
    [
        ["photo.png", "-m", "bicubic", "-s", "2", "-o", "out", "-t", "0", "-f", "jpg", "-x"],
        ["-i", "photo.png", "-o", "out", "-n", "bicubic", "-s", "2", "--ext", "jpg"],
        ["-i", "photo.png", "-n", "bicubic", "-o", "out/photo_x2.jpg"],
        ["-i", "photo.png", "-n", "bicubic", "-o", "out", "-f", "jpg", "--suffix", "_x2", "-t64"],
    ],
)
def test_as_users_of_real_esrgan_type_it(tmp_path, photo, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    assert main(["upscale", *call]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_x2.jpg"]
    assert result("out/photo_x2.jpg").shape == (12, 16, 3)


def test_suffix_none_is_none(tmp_path, photo):
    assert main(["upscale", str(photo), *MODEL, "-o", str(tmp_path / "out"), "--suffix=none"]) == 0
    assert (tmp_path / "out" / "photo.png").exists()


def test_wrong_calls(capsys, tmp_path, photo):
    assert "there is nothing to upscale; name" in refuses(capsys, "upscale", *MODEL)
    assert "INPUTS is empty" in refuses(capsys, "upscale", "", *MODEL)
    assert "--input is empty" in refuses(capsys, "upscale", "-i", "", *MODEL)
    both = refuses(capsys, "upscale", photo, "--overwrite", "--skip-existing")
    assert "not allowed with argument" in both
    message = fails(capsys, "upscale", photo, *MODEL, "-f", "heic", "-o", tmp_path / "out")
    assert message.startswith("format is 'heic'; it must be one of png, jpg, ")
    assert not (tmp_path / "out").exists()


def test_quiet_says_nothing_but_errors(tmp_path, photo, broken, capsys):
    (tmp_path / "a.heic").touch()
    assert main(["upscale", "--quiet", str(photo), *MODEL, "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["upscale", "--quiet", str(tmp_path), *MODEL, "-o", str(tmp_path / "new")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.partition(":")[0] for line in captured.err.splitlines()] == [
        f"[1/2] {broken}",
        "1 of 2 upscaled; 1 failed",
    ]


def test_a_folder_called_as_the_default_model_changes_nothing(tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lnln_light_x2", "lnln_x2", "bicubic"):
        (tmp_path / name).mkdir()
        shutil.copy(photo, tmp_path / name)
    assert main(["upscale", "photo.png", "-o", "out"]) == 0
    assert main(["upscale", "photo.png", "-o", "bicubic_out", *MODEL]) == 0


def test_a_reader_that_leaves_is_no_traceback(tmp_path, photo):
    reader, writer = os.pipe()
    os.close(reader)
    done = lnln("upscale", photo, *MODEL, "--output", tmp_path / "out", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    assert (tmp_path / "out" / "photo_x2.png").exists()


def test_a_slash_behind_a_name_means_a_folder(tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["upscale", str(photo), *MODEL, "--output", "x2.png/"]) == 0
    assert [path.name for path in (tmp_path / "x2.png").iterdir()] == [f"{photo.stem}_x2.png"]


def test_a_file_that_is_called_as_a_stream(tmp_path, photo, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("-").write_bytes(photo.read_bytes())
    assert main(["upscale", "./-", *MODEL]) == 0
    assert Path("upscaled/-_x2.png").is_file()
