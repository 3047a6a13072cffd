"""Conventions of PSNR and SSIM: each is what its program computes, and real scores fit."""

import csv

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from lnln_jax import psnr, ssim
from lnln_jax.evaluation.conventions import AS_STORED, COLOURS, measure
from lnln_jax.images.arrays import modcrop, rgb_to_y
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import round_to_uint8

ALL = [colours.name for colours in (*COLOURS, *AS_STORED)]
SHAVES = (0, 2, 8)
SINGLE = {"rtol": 3e-7, "atol": 0}  # lnln_jax.psnr and ssim compute in float32


def scores(sr, hr, shaves=SHAVES, *, gray=False) -> dict[str, np.ndarray]:
    """PSNR and SSIM by shave, for each kind of colours."""
    return dict(zip(ALL, measure(sr, hr, shaves, gray=gray), strict=True))


def ours(sr, hr, shave: int, **options) -> list[float]:
    return [
        float(psnr(sr, hr, shave=shave, **options)),
        float(ssim(sr, hr, shave=shave, **options)),
    ]


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """An image of 80x45 pixels with noise, and without: more than a strip, and no round sizes."""
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (9, 5, 3)).repeat(9, axis=0).repeat(9, axis=1)[:80]
    sr = (hr + rng.normal(0, 12, hr.shape)).round().clip(0, 255)
    return sr.astype(np.uint8), hr.astype(np.uint8)


@pytest.mark.parametrize("i", range(len(SHAVES)))
def test_luma_and_rgb_are_those_of_the_package(pair, i):
    found, shave = scores(*pair), SHAVES[i]
    np.testing.assert_allclose(found["Y"][i], ours(*pair, shave), **SINGLE)
    np.testing.assert_allclose(found["RGB"][i], ours(*pair, shave, y_channel=False), **SINGLE)
    rounded = [round_to_uint8(rgb_to_y(image)) for image in pair]
    np.testing.assert_allclose(found["Y, rounded"][i], ours(*rounded, shave), **SINGLE)
    full = [image.astype(np.float64) @ [0.299, 0.587, 0.114] for image in pair]
    np.testing.assert_allclose(found["full-range Y"][i], ours(*full, shave), **SINGLE)


def test_rounded_full_range_is_that_of_pillow(pair):
    lumas = [np.asarray(Image.fromarray(image).convert("L")) for image in pair]
    # Pillow's weights have 16 bits, so that another pixel in a thousand is rounded otherwise.
    expected = ours(*lumas, 2)
    np.testing.assert_allclose(scores(*pair)["full-range Y, rounded"][1], expected, rtol=1e-4)


def test_swapped_channels(pair):
    found, swapped = scores(*pair), scores(*(image[..., ::-1] for image in pair))
    for name in ("Y", "full-range Y"):
        for rounding in ("", ", rounded"):
            of_bgr = found[f"{name} of BGR{rounding}"]
            assert np.array_equal(of_bgr, swapped[f"{name}{rounding}"])
            assert not np.array_equal(of_bgr, found[f"{name}{rounding}"])


def test_mean_of_channels(pair):
    sr, hr = pair
    sr = sr.copy()
    sr[..., 0] = hr[..., 0] // 2  # channels that differ much
    channels = [ours(sr[..., i], hr[..., i], 2) for i in range(3)]
    found = scores(sr, hr)
    np.testing.assert_allclose(found["RGB, mean of channels"][1], np.mean(channels, 0), **SINGLE)
    assert found["RGB"][1, 0] < found["RGB, mean of channels"][1, 0] - 1
    assert found["RGB"][1, 1] == found["RGB, mean of channels"][1, 1]


def test_ssim_is_that_of_scikit_image(pair):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(*pair, data_range=255, channel_axis=-1, **options)
    np.testing.assert_allclose(scores(*pair)["RGB"][0, 1], expected, rtol=1e-12)


def test_gray_images(pair):
    gray = [image[..., :1].repeat(3, axis=-1) for image in pair]
    found = scores(*gray, gray=True)
    for name in ("Y, gray as it is", "Y, rounded, gray as it is"):
        assert np.array_equal(found[name], found["full-range Y"])
        assert np.array_equal(scores(*gray)[name], found[name.removesuffix(", gray as it is")])
    np.testing.assert_allclose(
        found["Y, gray as it is"][1], ours(*(image[..., 0] for image in gray), 2), **SINGLE
    )


def test_identical_images(pair):
    found = measure(pair[1], pair[1], SHAVES, gray=False)
    assert (found[..., 0] == np.inf).all()
    assert (found[..., 1] == 1).all()


def test_small_images(pair):
    sr, hr = (image[:12, :11] for image in pair)
    found = measure(sr, hr, (0, 1, 6, 20), gray=False)
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1:, 1]).all()
    assert np.isnan(found[:, 2:]).all()
    with pytest.raises(ValueError, match=r"11x11 pixels or more for SSIM, got 10x12"):
        measure(sr[:, 1:], hr[:, 1:], (0,), gray=False)


@pytest.mark.slow  # four seconds
def test_matlab_printed_the_luma_without_rounding(published_dir):
    """RDN's own scores: single precision, six digits."""
    folder = published_dir.parent / "golden" / "rdn"
    if not folder.is_dir():
        pytest.skip(f"no results of RDN: {folder} is not a folder")
    with (folder / "matlab_scores.tsv").open() as file:
        rows = [*csv.DictReader(file, delimiter="\t")]
    assert len(rows) == 40
    for row in rows:
        scale = int(row["scale"])
        hr = modcrop(read_rgb(published_dir / "Set5" / "HR" / f"{row['image']}.png"), scale)
        found = measure(read_rgb(folder / row["file"]), hr, [scale], gray=False)
        printed = [float(row["psnr_y"]), float(row["ssim_y"])]
        np.testing.assert_allclose(found[0, 0], printed, rtol=0, atol=6e-7)
        assert (abs(found[1:10, 0, 0] - printed[0]) > 1e-3).all()  # and nothing else fits
