"""Folders of photos, whole: programs, memory, overlap, and runs that end before their time."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.images.files import write_photo
from lnln_jax.images.photo import Photo
from lnln_jax.images.resize import imresize
from lnln_jax.inference import bicubic, photo_pipeline
from lnln_jax.inference import network as inference
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.photo_pixels import BORDER
from lnln_jax.inference.photos import upscale_files
from tests.support.signals import signals_heard
from tests.support.small_upscaler import small_upscaler

SIZES = [(6, 8), (130, 70), (96, 96), (31, 200), (2, 2), (97, 96), (300, 40)]


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(height + width).integers(0, np.iinfo(dtype).max, shape, dtype)


def save(folder: Path, photos: list[np.ndarray]) -> Path:
    folder.mkdir()
    for i, photo in enumerate(photos):
        write_photo(Photo(photo), folder / f"{i}.png")
    return folder


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_one_program_for_a_folder_of_many_sizes(tmp_path):
    photos = [noise(*size) for size in SIZES] + [noise(50, 60, 1), noise(50, 60, 4)]
    source = save(tmp_path / "in", photos)
    inference._compile.cache_clear()
    upscaler = small_upscaler()
    lines = []
    results = upscale_files(upscaler, [source], tmp_path / "out", report=lines.append)
    assert inference._compile.cache_info().misses == 1
    assert not any(result.error for result in results)
    assert [line.split("]")[0] for line in lines[:-1]] == [f"[{i}/9" for i in range(1, 10)]
    assert lines[-1] == "9 of 9 upscaled"
    for i, photo in enumerate(photos[:-2]):
        sr = load(tmp_path / "out" / f"{i}_x2.png")
        np.testing.assert_array_equal(sr, upscaler.upscale(photo, tile=96, border=BORDER))


@pytest.mark.parametrize("format", ["png", "tiff", "webp"])
def test_alpha_in_bands_is_that_of_the_whole(tmp_path, monkeypatch, format):
    monkeypatch.setattr(bicubic, "_BAND_PIXELS", 1000)
    photo = noise(61, 43, 4).clip(1)  # colour under alpha 0 would be another
    source = save(tmp_path / "in", [photo])
    upscale_files(BicubicUpscaler(3), [source], tmp_path / "out", format=format)
    sr = load(tmp_path / "out" / f"0_x3.{format}")
    np.testing.assert_array_equal(sr[..., :3], imresize(photo[..., :3], 3))
    alpha = imresize(photo[..., 3].astype(np.float32), 3)
    np.testing.assert_array_equal(sr[..., 3], np.rint(alpha.clip(0, 255)))


def test_the_next_photo_is_read_meanwhile_and_no_more(tmp_path, monkeypatch):
    source = save(tmp_path / "in", [noise(20, 20)] * 4)
    read, done = [], []
    second = threading.Event()
    real_read, real_bands = photo_pipeline.read_photo, BicubicUpscaler.bands

    def read_photo(path: Path) -> Photo:
        read.append(path.name)
        if path.name == "1.png":
            second.set()
        return real_read(path)

    def bands(self, lr, **options):
        assert second.wait(60)  # it comes although this photo is not done
        done.append(len(done))
        assert len(read) <= len(done) + 1
        return real_bands(self, lr, **options)

    monkeypatch.setattr(photo_pipeline, "read_photo", read_photo)
    monkeypatch.setattr(BicubicUpscaler, "bands", bands)
    results = upscale_files(BicubicUpscaler(2), [source], tmp_path / "out")
    assert [result.error for result in results] == [None] * 4
    assert done == [0, 1, 2, 3]


def test_a_network_that_fails_in_the_middle(tmp_path, monkeypatch):
    real = BicubicUpscaler._bands

    def bands(self, image, options):
        made = real(self, image, options)
        yield next(made)
        if image[0, 0, 0] == 1:
            raise ValueError("NaN")
        yield from made

    monkeypatch.setattr(bicubic, "_BAND_PIXELS", 100)
    monkeypatch.setattr(BicubicUpscaler, "_bands", bands)
    source = save(tmp_path / "in", [np.full((40, 40, 3), i, np.uint8) for i in range(3)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1_x2.png").write_bytes(b"old")
    results = upscale_files(BicubicUpscaler(2), [source], tmp_path / "out", overwrite=True)
    assert [result.error for result in results] == [None, "NaN", None]
    assert (tmp_path / "out" / "1_x2.png").read_bytes() == b"old"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{i}_x2.png" for i in range(3)]


def test_a_report_that_fails_ends_the_run(tmp_path):
    source = save(tmp_path / "in", [noise(20, 20)] * 3)

    def report(line: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        upscale_files(BicubicUpscaler(2), [source], tmp_path / "out", report=report)
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix != ".png"]


# ---- other processes ----

UPSCALE = """
import pathlib, resource, sys
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.models import create_model
from lnln_jax.inference.photos import upscale_files
from lnln_jax.models.variables import initialize

limit, network, *paths = sys.argv[1:]
if limit != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
upscaler = BicubicUpscaler(4)
if network == "network":
    module = create_model("edsr", 4, n_resblocks=1, n_feats=4)
    upscaler = NetworkUpscaler("net", 4, module, initialize(module, 0))
*sources, output = map(pathlib.Path, paths)
failed = 0
for source in sources:
    (result,) = upscale_files(upscaler, [source], output, format="same", overwrite=True)
    failed += result.error is not None
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
sys.exit(failed)
"""


def start(limit: int, network: str, *paths: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", UPSCALE, str(limit), network, *map(str, paths)]
    with signals_heard():
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def peaks(process: subprocess.Popen) -> list[float]:
    """Peak MiB of a process after each photo."""
    out, error = process.communicate()
    assert process.returncode == 0, out + error
    return [int(line.split()[1]) / 1024 for line in out.splitlines() if line[:4] == "peak"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["png", "tiff"])
def test_memory_does_not_grow_with_the_result(tmp_path, format):
    paths = []
    for height in (200, 4000):
        samples = np.zeros((height, 600, 4), np.uint8 if format == "png" else np.uint16)
        samples[::3, ::7] = 200
        paths.append(tmp_path / f"{height}.{format}")
        write_photo(Photo(samples), paths[-1])
    small, large = peaks(start(0, "bicubic", *paths, tmp_path / "out"))
    sr = 16 * samples.nbytes / 2**20
    assert sr > 140
    assert large - small < sr / 2, (small, large, sr)


@pytest.mark.slow
def test_a_network_never_makes_the_whole_in_float32(tmp_path):
    paths = []
    for height in (300, 5000):
        paths.append(tmp_path / f"{height}.png")
        write_photo(Photo(np.zeros((height, 300, 3), np.uint8)), paths[-1])
    small, large = peaks(start(0, "network", *paths, tmp_path / "out"))
    float32_sr = 5000 * 300 * 16 * 3 * 4 / 2**20
    assert large - small < float32_sr / 2, (small, large, float32_sr)


def test_a_full_disk_keeps_the_older_file_and_the_others(tmp_path):
    source = save(tmp_path / "in", [noise(20, 20), noise(400, 400)])
    out = tmp_path / "out"
    out.mkdir()
    (out / "1_x4.png").write_bytes(b"old")
    process = start(100_000, "bicubic", source / "1.png", source / "0.png", out)
    lines, error = process.communicate()
    assert process.returncode == 1, error
    assert f"{out / '1_x4.png'}: cannot be written: File too large" in lines
    assert (out / "1_x4.png").read_bytes() == b"old"
    assert load(out / "0_x4.png").shape == (80, 80, 3)
    assert len(list(out.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_in_the_middle_of_a_photo(tmp_path, with_signal):
    source = save(tmp_path / "in", [noise(1500, 1500)])
    out = tmp_path / "out"
    out.mkdir()
    (out / "0_x4.png").write_bytes(b"old")
    process = start(0, "bicubic", source / "0.png", out)
    while not list(out.glob(".*.tmp")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, with_signal)
    error = process.communicate()[1]
    assert process.returncode != 0
    assert (out / "0_x4.png").read_bytes() == b"old"
    if with_signal == signal.SIGINT:
        assert "KeyboardInterrupt" in error
        assert [path.name for path in out.iterdir()] == ["0_x4.png"]
