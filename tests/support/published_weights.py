"""Published weights of `shared/weights`, and what the authors' own modules made of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from lnln_jax import load_model, psnr, ssim
from lnln_jax.images.files import read_rgb


def published_file(data: Path, name: str) -> Path:
    """A file of weights beside the folder of benchmarks; the test is skipped without it."""
    path = data.parent / "weights" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def upscaled(data, path, benchmark, scale):
    """The names of a benchmark's images, with the HR ones and what the network makes of the LR."""
    model = load_model(path, scale=scale)
    for file in sorted((data / benchmark / "HR").iterdir()):
        sr = model.upscale(read_rgb(data / benchmark / f"LRx{scale}" / file.name))
        yield file.stem, read_rgb(file)[: sr.shape[0], : sr.shape[1]], sr


def check_against_the_authors(data, path, scale):
    """Compares with what the authors' modules gave on Set5: scores, and pictures if there are any.

    Rounding to 8 bits may go the other way where a value is near the middle of two.
    """
    name = path.stem if path.stem.endswith(f"_x{scale}") else f"{path.stem}_x{scale}"
    scores = json.loads((path.parent / "scores.json").read_text())[f"{name}/Set5"]["images"]
    pictures = data.parent / "golden" / "sr_by_authors_modules" / name
    compared = 0
    for stem, hr, sr in upscaled(data, path, "Set5", scale):
        assert psnr(sr, hr, shave=scale) == pytest.approx(scores[stem]["psnr"], abs=2e-3)
        assert ssim(sr, hr, shave=scale) == pytest.approx(scores[stem]["ssim"], abs=2e-5)
        if (picture := pictures / f"{stem}.png").is_file():
            differences = np.abs(read_rgb(picture).astype(int) - sr)
            assert differences.max() <= 1
            assert (differences > 0).mean() <= 1e-3
            compared += 1
    assert compared == len(list(pictures.glob("*.png"))) > 0
