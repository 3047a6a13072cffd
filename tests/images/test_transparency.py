"""Colour under transparent pixels, and what an enlarged edge shows of it."""

import numpy as np
import pytest

from lnln_jax.images import transparency
from lnln_jax.images.files import read_photo, write_photo
from lnln_jax.images.photo import Photo
from lnln_jax.images.transparency import fill_transparent, is_opaque
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.loading import load_model
from lnln_jax.inference.photos import upscale_files

SIDE = 48
Y, X = np.mgrid[:SIDE, :SIDE]
DISTANCE = np.hypot(Y - 23.5, X - 23.5)
DISC = (18.5 - DISTANCE).clip(0, 1)  # a disc with a soft edge of one pixel
HAIRS = np.where((X + Y) % 11 == 0, (1.2 - DISTANCE / 24).clip(0, 1), 0)
SMOOTH = np.stack([3 * X + 60, 4 * Y + 20, 200 - X - Y], axis=-1)
BENEATH = {
    "black": np.zeros(3),
    "white": np.full(3, 255.0),
    "green": np.array([0.0, 255.0, 0.0]),
    "noise": np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)),
}


def rgba(coverage: np.ndarray, beneath: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    """A picture of smooth colour, seen where there is coverage."""
    alpha = np.rint(coverage * 255)[..., None]
    colours = np.where(alpha > 0, SMOOTH, beneath)
    return (np.dstack([colours, alpha]) * (257 if dtype == np.uint16 else 1)).astype(dtype)


def enlarged(tmp_path, samples: np.ndarray, upscaler) -> np.ndarray:
    write_photo(Photo(samples), tmp_path / "x.png")
    upscale_files(upscaler, [tmp_path / "x.png"], tmp_path / "out", overwrite=True, report=len)
    return read_photo(tmp_path / "out" / f"x_x{upscaler.scale}.png").samples


def rim(sr: np.ndarray, opaque: np.ndarray) -> float:
    """How far, of 255, the picture is from the opaque one with the same alpha, on any ground."""
    most = np.iinfo(sr.dtype).max
    difference = sr[..., :3].astype(float) - opaque[..., :3]
    return np.abs(difference * sr[..., 3:] / most).max() * 255 / most


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("coverage", [DISC, HAIRS], ids=["disc", "hairs"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_rim_whatever_is_beneath(tmp_path, scale, coverage, dtype):
    upscaler = BicubicUpscaler(scale)
    opaque = enlarged(tmp_path, rgba(np.ones((SIDE, SIDE)), np.zeros(3), dtype)[..., :3], upscaler)
    results = [enlarged(tmp_path, rgba(coverage, u, dtype), upscaler) for u in BENEATH.values()]
    assert rim(results[0], opaque) < 4
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_no_rim_by_a_network(tmp_path):
    upscaler = load_model("lnln_light_x2")
    opaque = enlarged(tmp_path, rgba(np.ones((SIDE, SIDE)), np.zeros(3))[..., :3], upscaler)
    for beneath in (BENEATH["black"], BENEATH["noise"]):
        assert rim(enlarged(tmp_path, rgba(DISC, beneath), upscaler), opaque) < 12


def test_opaque_pixels_far_from_the_edge_are_those_of_an_opaque_picture(tmp_path):
    upscaler = BicubicUpscaler(2)
    opaque = enlarged(tmp_path, rgba(np.ones((SIDE, SIDE)), np.zeros(3))[..., :3], upscaler)
    result = enlarged(tmp_path, rgba(DISC, BENEATH["green"]), upscaler)
    inside = np.s_[30:66, 30:66]
    np.testing.assert_array_equal(result[inside][..., :3], opaque[inside])
    assert (result[inside][..., 3] == 255).all()


def test_gray_with_alpha(tmp_path):
    samples = rgba(DISC, np.zeros(3))[..., [0, 3]]
    samples[samples[..., 1] > 0, 0] = 200
    write_photo(Photo(samples), tmp_path / "x.png")
    upscale_files(BicubicUpscaler(2), [tmp_path / "x.png"], tmp_path / "out", report=len)
    assert (read_photo(tmp_path / "out" / "x_x2.png").samples[..., 0] == 200).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (6, 8), (31, 17)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("band", [1, 40, 1 << 20])
def test_fill(monkeypatch, shape, dtype, channels, band):
    monkeypatch.setattr(transparency, "_BAND_PIXELS", band)
    rng = np.random.default_rng(0)
    most = np.iinfo(dtype).max
    colours = rng.integers(most // 2, most, (*shape, channels), dtype)
    alpha = np.zeros((*shape, 1), dtype)
    alpha[0, 0] = 1
    alpha[rng.random(shape) < 0.1] = 77
    beneath = np.where(alpha > 0, colours, 0)
    filled = fill_transparent(beneath, alpha)
    np.testing.assert_array_equal(filled[alpha[..., 0] > 0], colours[alpha[..., 0] > 0])
    seen = colours[alpha[..., 0] > 0]
    assert (filled >= seen.min(axis=0)).all()
    assert (filled <= seen.max(axis=0)).all()
    assert filled.dtype == dtype


def test_nothing_to_fill():
    colours = rgba(DISC, BENEATH["noise"])[..., :3]
    for alpha in (0, 255, 3):
        assert fill_transparent(colours, np.full((SIDE, SIDE, 1), alpha, np.uint8)) is colours


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opaque(dtype, monkeypatch):
    monkeypatch.setattr(transparency, "_BAND_PIXELS", 10)
    alpha = np.full((7, 5, 1), np.iinfo(dtype).max, dtype)
    assert is_opaque(alpha)
    alpha[6, 4] -= 1
    assert not is_opaque(alpha)
