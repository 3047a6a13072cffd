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


def scores(sr, hr, shaves=SHAVES, *, gray=False) -> dict[str, np.ndarray]:
    """PSNR and SSIM by shave, for each kind of colours."""
    return dict(zip(ALL, measure(sr, hr, shaves, gray=gray), strict=True))


def plain(sr, hr, shave: int) -> list[float]:
    """PSNR by its formula and SSIM by scikit-image, of a plane or the mean of channels."""
    sr, hr = (np.float64(x[shave : len(x) - shave, shave : x.shape[1] - shave]) for x in (sr, hr))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    axis = -1 if sr.ndim == 3 else None
    similarity = structural_similarity(sr, hr, data_range=255, channel_axis=axis, **options)
    return [10 * np.log10(255**2 / np.mean((sr - hr) ** 2)), similarity]


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """An image of 45x80 pixels with noise, and without: more than a strip, and no round sizes."""
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (9, 5, 3)).repeat(9, axis=0).repeat(9, axis=1)[:80]
    sr = (hr + rng.normal(0, 12, hr.shape)).round().clip(0, 255)
    return sr.astype(np.uint8), hr.astype(np.uint8)


def test_luma_and_rgb_are_those_of_the_package(pair):
    found = scores(*pair)
    for name, y_channel in (("Y", True), ("RGB", False)):
        options = {"shave": 2, "y_channel": y_channel}
        ours = float(psnr(*pair, **options)), float(ssim(*pair, **options))
        np.testing.assert_allclose(found[name][1], ours, rtol=3e-7)  # of single precision


@pytest.mark.parametrize("i", range(len(SHAVES)))
def test_every_kind_of_colours(pair, i):
    lumas = [rgb_to_y(image) for image in pair]
    full = [image.astype(np.float64) @ [0.299, 0.587, 0.114] for image in pair]
    compared = {
        "Y": lumas,
        "Y, rounded": [*map(round_to_uint8, lumas)],
        "full-range Y": full,
        "full-range Y, rounded": [*map(round_to_uint8, full)],
        "RGB": pair,
    }
    found = scores(*pair)
    for name, images in compared.items():
        np.testing.assert_allclose(found[name][i], plain(*images, SHAVES[i]), rtol=1e-12)


def test_rounded_full_range_is_that_of_pillow(pair):
    lumas = [np.asarray(Image.fromarray(image).convert("L")) for image in pair]
    # Pillow's weights have 16 bits, so that another pixel in a thousand is rounded otherwise.
    expected = plain(*lumas, 2)
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
    channels = [plain(sr[..., i], hr[..., i], 2) for i in range(3)]
    found = scores(sr, hr)
    np.testing.assert_allclose(found["RGB, mean of channels"][1], np.mean(channels, 0), rtol=1e-12)
    assert found["RGB"][1, 0] < found["RGB, mean of channels"][1, 0] - 1
    assert found["RGB"][1, 1] == found["RGB, mean of channels"][1, 1]


def test_gray_images(pair):
    gray = [image[..., :1].repeat(3, axis=-1) for image in pair]
    found = scores(*gray, gray=True)
    for name in ("Y, gray as it is", "Y, rounded, gray as it is"):
        assert np.array_equal(found[name], found["full-range Y"])
        assert np.array_equal(scores(*gray)[name], found[name.removesuffix(", gray as it is")])
    expected = plain(*(image[..., 0] for image in gray), 2)
    np.testing.assert_allclose(found["Y, gray as it is"][1], expected, rtol=1e-12)


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
