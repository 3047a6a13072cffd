"""No file ends `lnln upscale`: folders of what file systems allow, in processes of their own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lnln_jax.cli import main
from lnln_jax.inference import photo_pipeline
from tests.support.commands import lnln

MODEL = ("--model", "bicubic")
UNIX = pytest.mark.skipif(sys.platform != "linux", reason="names, pipes and links of Linux")


def odd_files(folder: Path, picture: bytes) -> tuple[dict[bytes, bytes], dict[bytes, str]]:
    """Makes files; returns those that can be upscaled, by names of results, and what is told."""
    root = os.fsencode(folder)
    good = {
        b"plain.png": b"plain_x2.png",
        b"\xff.png": b"\xff_x2.png",
        b"new\nline.png": b"new\nline_x2.png",
        b"\x1b[31mred.png": b"\x1b[31mred_x2.png",
        b"-dash.png": b"-dash_x2.png",
        b" .png": b" _x2.png",
        "日本 é.png".encode(): "日本 é_x2.png".encode(),
        b"x" * 248 + b".png": b"x" * 248 + b"_x2.png",
        b"\xe9" * 248 + b".png": b"\xe9" * 248 + b"_x2.png",
        b"pic.png": b"pic_png_x2.png",
    }
    contents = dict.fromkeys(good, picture) | {
        b"pic.jpg": b"\xff\xd8\xffbroken",
        b"zero.png": b"",
        b"text.png": b"hello",
        b"cut.png": picture[: len(picture) // 2],
        b"y" * 251 + b".png": picture,
        b"a.heic": b"",
    }
    for name, content in contents.items():
        with open(os.path.join(root, name), "wb") as file:
            file.write(content)
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "inside.png").write_bytes(picture)
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe.png")
    place = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{place}/s.png")  # the path of a socket must be short
    os.close(place)
    bad = {
        b"pic.jpg": "cannot be read: ",
        b"zero.png": "cannot be read: the file is empty",
        b"text.png": "cannot be read: ",
        b"cut.png": "cannot be read: ",
        b"y" * 251 + b".png": "its result would have a name of 258 bytes",
        b"dangling.png": "cannot be read: No such file or directory",
        b"circle.png": "cannot be read: Too many levels of symbolic links",
    }
    return {**good, b"folder.png/inside.png": b"folder.png/inside_x2.png"}, bad


@UNIX
@pytest.mark.parametrize("locale", ["C.UTF-8", "C", "POSIX"])
def test_a_folder_of_all_that_is_odd(tmp_path, photo, locale):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    good, bad = odd_files(folder, photo.read_bytes())
    command = [sys.executable, "-m", "lnln_jax", "upscale", folder, "-o", out, *MODEL]
    environment = os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, capture_output=True, timeout=120, env=environment)
    said, complained = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 1
    assert "Traceback" not in complained
    written = {
        os.path.relpath(os.path.join(parent, name), os.fsencode(out))
        for parent, _, names in os.walk(os.fsencode(out))
        for name in names
    }
    assert written == {*good.values()}
    total = len(good) + len(bad)
    assert len(said.splitlines()) == len(good)
    assert len(complained.splitlines()) == len(bad) + 1
    for name, reason in bad.items():
        assert f"{name.decode()}: error: {reason}" in complained
    end = complained.splitlines()[-1]
    assert end.startswith(f"{len(good)} of {total} upscaled; {len(bad)} failed: ")
    assert end.endswith("; skipped: 1 .heic, 2 .png (not a file), 1 linked folder")
    assert "\x1b" not in said + complained


@UNIX
def test_what_is_not_a_file_is_refused_where_it_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    done = lnln("upscale", tmp_path / "pipe.png", "/dev/null", *MODEL, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "pipe.png: error: it is not a file; pipe it into standard input" in done.stderr
    assert "/dev/null: error: it is not a file" in done.stderr
    assert not (tmp_path / "out").exists()


def upscale_three(folder: Path, photo: Path) -> None:
    """Upscales copies of a photo, a.png to c.png in `in`, into `out`; some of them fail."""
    (folder / "in").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / "in" / name).write_bytes(photo.read_bytes())
    assert main(["upscale", str(folder / "in"), *MODEL, "-o", str(folder / "out")]) == 1


@pytest.mark.parametrize(
    "failure",
    [KeyError("x"), RecursionError(), AssertionError(), SystemExit(3), MemoryError()],
    ids=lambda failure: type(failure).__name__,
)
def test_whatever_a_decoder_raises(tmp_path, photo, monkeypatch, capsys, failure):
    real = photo_pipeline.read_photo

    def read_photo(path: Path) -> object:
        if path.stem == "b":
            raise failure
        return real(path)

    monkeypatch.setattr(photo_pipeline, "read_photo", read_photo)
    upscale_three(tmp_path, photo)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_x2.png", "c_x2.png"]
    captured = capsys.readouterr()
    assert f"2 of 3 upscaled; 1 failed: {tmp_path / 'in' / 'b.png'}" in captured.err
    reason = "not enough memory" if isinstance(failure, MemoryError) else type(failure).__name__
    assert f"b.png: error: {reason}" in captured.err


def test_a_file_that_vanishes_after_the_listing(tmp_path, photo, monkeypatch, capsys):
    real = photo_pipeline.read_photo

    def read_photo(path: Path) -> object:
        (tmp_path / "in" / "b.png").unlink(missing_ok=True)
        return real(path)

    monkeypatch.setattr(photo_pipeline, "read_photo", read_photo)
    upscale_three(tmp_path, photo)
    assert "b.png: error: cannot be read: No such file" in capsys.readouterr().err
