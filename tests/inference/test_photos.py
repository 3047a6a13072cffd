import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from lnln_jax.images.formats import unidentified
from lnln_jax.images.resize import imresize
from lnln_jax.inference import photos
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.inference.photos import upscale_files
from tests.support.permissions import public_folder, unprivileged
from tests.support.photo_files import BICUBIC, RGB, Lines, errors, load, names, save
from tests.support.pictures import make_png


class Nearest:
    """Stands for a network: repeats pixels, and counts its calls."""

    def __init__(self) -> None:
        self.shapes = []

    def apply(self, variables: dict, x: np.ndarray) -> np.ndarray:
        self.shapes.append(x.shape[1:3])
        return x.repeat(2, axis=1).repeat(2, axis=2)


# ---- what is computed ----


def test_a_real_photo(tmp_path, data_dir, capsys):
    source = data_dir / "Set5" / "LRx2" / "butterfly.png"
    (result,) = upscale_files(BICUBIC, [source], tmp_path / "new" / "out")
    target = tmp_path / "new" / "out" / "butterfly_x2.png"
    assert result == photos.UpscaledFile(source, target)
    np.testing.assert_array_equal(load(target), imresize(load(source), 2))
    assert names(tmp_path) == ["new/out/butterfly_x2.png"]
    line = capsys.readouterr().out
    assert line.startswith(f"[1/1] {source}: 128x128 -> {target} 256x256, ")
    assert line.endswith(" s\n")


def test_alpha_profile_and_depth_arrive(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgba = np.dstack([RGB, RGB[..., :1]])
    save(tmp_path / "in" / "rgba.png", rgba, icc_profile=profile)
    save(tmp_path / "in" / "gray.png", RGB[..., 0])
    deep = np.random.default_rng(1).integers(0, 65536, (6, 8, 3), np.uint16)
    tifffile.imwrite(tmp_path / "in" / "deep.tif", deep, photometric="rgb")
    out = tmp_path / "out"
    assert not errors(upscale_files(BICUBIC, [tmp_path / "in"], out, format="tiff"))

    written = load(out / "rgba_x2.tiff")
    np.testing.assert_array_equal(written[..., :3], imresize(RGB, 2))
    alpha = imresize(RGB[..., 0].astype(np.float32), 2).clip(0, 255)
    np.testing.assert_array_equal(written[..., 3], np.rint(alpha))
    with Image.open(out / "rgba_x2.tiff") as image:
        assert image.info["icc_profile"] == profile
    np.testing.assert_array_equal(load(out / "gray_x2.tiff"), imresize(RGB[..., 0], 2))
    expected = imresize((deep / 257).astype(np.float32), 2).clip(0, 255)
    written = tifffile.imread(out / "deep_x2.tiff")
    assert written.dtype == np.uint16
    np.testing.assert_allclose(written / 257, expected, atol=0.51 / 257)


@pytest.mark.parametrize(
    ("tile", "size", "expected", "said"),
    [
        ("auto", (80, 80), {(96, 96)}, None),
        ("auto", (81, 80), {(96, 96)}, "tiles of 96"),
        ("auto", (100, 225), {(96, 96)}, "tiles of 96"),
        ("auto", (3, 2), {(96, 96)}, None),
        (None, (520, 520), {(536, 536)}, None),
        (64, (65, 20), {(64, 64)}, "tiles of 64"),
        (64, (64, 64), {(64, 64)}, "tiles of 64"),
        (64, (48, 48), {(64, 64)}, None),
        (3, (4, 4), {(3, 3)}, "tiles of 3"),
    ],
)
def test_tiles(tmp_path, monkeypatch, tile, size, expected, said):
    network, lines = Nearest(), Lines()
    monkeypatch.setattr(NetworkUpscaler, "_program", lambda self, shape: self.module.apply)
    lr = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    source = save(tmp_path / "x.bmp", lr)
    upscaler = NetworkUpscaler("nearest", 2, network, {})
    results = upscale_files(upscaler, [source], tmp_path / "out", tile=tile, report=lines)
    assert not errors(results)
    assert set(network.shapes) == expected
    assert (", tiles of " in lines[0]) == (said is not None)
    assert (said or "") in lines[0]
    np.testing.assert_array_equal(load(tmp_path / "out/x_x2.png"), lr.repeat(2, 0).repeat(2, 1))


def test_a_tile_that_the_network_does_not_take_is_named_as_it_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(NetworkUpscaler, "_program", lambda self, shape: self.module.apply)
    network, lines = Nearest(), Lines()
    network.least_side = 15
    source = save(tmp_path / "x.bmp", np.zeros((20, 20, 3), np.uint8))
    upscaler = NetworkUpscaler("nearest", 2, network, {})
    upscale_files(upscaler, [source], tmp_path / "out", tile=4, report=lines)
    assert set(network.shapes) == {(15, 15)}
    assert ", tiles of 15" in lines[0]


def test_self_ensemble_is_passed_on(tmp_path, monkeypatch):
    network = Nearest()
    monkeypatch.setattr(NetworkUpscaler, "_program", lambda self, shape: self.module.apply)
    source = save(tmp_path / "x.png", RGB)
    upscaler = NetworkUpscaler("nearest", 2, network, {})
    upscale_files(
        upscaler, [source], tmp_path / "out", self_ensemble=True, tile=None, report=Lines()
    )
    assert sorted(network.shapes) == [(22, 24)] * 4 + [(24, 22)] * 4  # a border of 8 pixels
    np.testing.assert_array_equal(load(tmp_path / "out/x_x2.png"), RGB.repeat(2, 0).repeat(2, 1))


# ---- what goes wrong ----


def test_bad_files_do_not_stop_the_others(tmp_path):
    source = tmp_path / "in"
    save(source / "good.png", RGB)
    save(source / "rgba.png", np.dstack([RGB, RGB[..., :1]]))
    (source / "empty.png").touch()
    (source / "text.jpg").write_text("no picture")
    (source / "cut.png").write_bytes((source / "good.png").read_bytes()[:90])
    out, lines = tmp_path / "out", Lines()
    inputs = [tmp_path / "absent.png", source, tmp_path / "folder"]
    results = upscale_files(BICUBIC, inputs, out, format="jpg", report=lines)
    assert errors(results) == {
        "absent.png": "cannot be read: No such file or directory",
        "cut.png": "cannot be read: image file is truncated",
        "empty.png": "cannot be read: the file is empty (zero bytes)",
        "text.jpg": f"cannot be read: {unidentified(b'no picture')}",
        "rgba.png": f"{out / 'rgba_x2.jpg'}: .jpg files cannot hold transparency; choose .png, "
        ".webp or .tif",
        "folder": "cannot be read: No such file or directory",
    }
    assert names(out) == ["good_x2.jpg"]
    assert len(results) == 7
    assert lines[0] == f"[1/7] {inputs[0]}: error: cannot be read: No such file or directory"
    assert len(lines) == 7 + 1
    assert lines[-1].startswith(f"1 of 7 upscaled; 6 failed: {inputs[0]}, ")


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of Unix")
def test_files_and_folders_without_permission():
    with public_folder() as folder:
        for name in ("a.png", "secret.png", "lost+found/b.png"):
            save(folder / "in" / name, RGB)
        upscale_files(BICUBIC, folder / "in", folder / "before", report=Lines())  # all imports
        for name in ("secret.png", "lost+found"):
            (folder / "in" / name).chmod(0)
        lines = Lines()
        with unprivileged():
            results = upscale_files(BICUBIC, folder / "in", folder / "out", report=lines)
            closed = upscale_files(BICUBIC, folder / "in" / "lost+found", folder / "new")
        assert errors(results) == {"secret.png": "cannot be read: Permission denied"}
        assert errors(closed) == {"lost+found": "cannot be listed: Permission denied"}
        told = f"skipped: {folder / 'in' / 'lost+found'} (Permission denied)"
        assert lines[-1] == f"1 of 2 upscaled; 1 failed: {folder / 'in' / 'secret.png'}; {told}"


def test_a_decompression_bomb(tmp_path):
    (tmp_path / "bomb.png").write_bytes(make_png(RGB, size=(25_000, 25_000)))
    (result,) = upscale_files(BICUBIC, [tmp_path / "bomb.png"], tmp_path)
    assert result.error == (
        "cannot be read: Image size (625000000 pixels) exceeds limit of 536870912 pixels; make it "
        "smaller or cut it"
    )


@pytest.mark.parametrize(
    "failure",
    [MemoryError(), jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")],
)
def test_too_little_memory(tmp_path, monkeypatch, failure):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(BicubicUpscaler, "bands", fail)
    (result,) = upscale_files(BICUBIC, [save(tmp_path / "x.png", RGB)], tmp_path)
    assert result.error == "not enough memory; use tiles, or smaller ones"


def test_whatever_fails_is_the_error_of_a_file(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: the device is gone")

    monkeypatch.setattr(BicubicUpscaler, "bands", fail)
    monkeypatch.setenv("LNLN_TRACEBACK", "1")
    (result,) = upscale_files(BICUBIC, [save(tmp_path / "x.png", RGB)], tmp_path / "out")
    assert result.error == "JaxRuntimeError: INTERNAL: the device is gone"
    assert "Traceback" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_existing_results_are_kept_before_computing(tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", RGB)
    target = tmp_path / "out" / "a_x2.png"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(BicubicUpscaler, "bands", None)  # calling it would fail
        (result,) = upscale_files(BICUBIC, [source], tmp_path / "out")
    assert result.error.startswith(
        f"{target} exists; allow overwriting (--overwrite), skip what exists (--skip-existing) or "
    )
    assert target.read_bytes() == b"old"
    assert not errors(upscale_files(BICUBIC, [source], tmp_path / "out", overwrite=True))
    assert load(target).shape == (12, 16, 3)


def test_a_folder_in_the_way(tmp_path):
    source = save(tmp_path / "a.png", RGB)
    (tmp_path / "a_x2.png").mkdir()
    (result,) = upscale_files(BICUBIC, [source], tmp_path, overwrite=True)
    assert result.error.startswith(f"{tmp_path / 'a_x2.png'} is a folder")
    save(tmp_path / "in" / "sub" / "b.png", RGB)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").touch()  # a file where a folder must be
    (result,) = upscale_files(BICUBIC, [tmp_path / "in"], tmp_path / "out")
    reason = "cannot be written to (Not a directory); choose another --output"
    assert result.error == f"{tmp_path / 'out' / 'sub'} {reason}"


def test_an_empty_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (result,) = upscale_files(BICUBIC, [tmp_path / "in"], tmp_path / "out")
    assert result.source == tmp_path / "in"
    assert result.target is None
    assert result.error == "holds no images that can be read"
    (tmp_path / "in" / "a.heic").touch()
    (result,) = upscale_files(BICUBIC, [tmp_path / "in"], tmp_path / "out")
    assert result.error == "holds no images that can be read, but 1 .heic"


def test_output_is_no_folder(tmp_path):
    source = save(tmp_path / "a.png", RGB)
    with pytest.raises(ValueError, match=r"sub cannot be written to \(Not a directory\)"):
        upscale_files(BICUBIC, [source], source / "sub")


def test_output_is_read_only(tmp_path):
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a file system that no user can write to, such as Linux's /proc")
    source = save(tmp_path / "a.png", RGB)
    for output in (Path("/proc/self"), Path("/proc/self/out")):
        with pytest.raises(ValueError, match=f"{output} cannot be written to "):
            upscale_files(BICUBIC, [source], output)


FULL_DISK = """
import pathlib, resource, sys
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.photos import upscale_files
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
source, output = map(pathlib.Path, sys.argv[1:])
results = upscale_files(BicubicUpscaler(2), [source], output)
sys.exit(sum(result.error is not None for result in results))
"""


def test_a_full_disk(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    save(tmp_path / "in" / "large.png", noise)
    save(tmp_path / "in" / "small.png", RGB)
    command = [sys.executable, "-c", FULL_DISK, tmp_path / "in", tmp_path / "out"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "out/large_x2.png: cannot be written: File too large" in run.stdout
    assert names(tmp_path / "out") == ["small_x2.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "format is 'gif'; it must be one of png, jpg, .*, or same"),
        ({"tile": "large"}, "tile is 'large'; it must be a whole number from 2 to 65536"),
        ({"tile": 1}, "tile is 1; it must be a whole number from 2 to 65536"),
        ({"suffix": "/x"}, "suffix is '/x'; it is a part of a file's name, without slashes"),
        ({"overwrite": True, "skip_existing": True}, "overwrite and skip_existing contradict"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        upscale_files(BICUBIC, [tmp_path / "a.png"], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
