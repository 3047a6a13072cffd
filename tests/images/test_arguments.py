"""What callers give for an image or a number: all kinds of numbers, arrays, and what is neither."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lnln_jax.images.arrays import dihedral, inverse_dihedral, modcrop, rgb_to_y, to_uint8
from lnln_jax.images.metrics import psnr, ssim
from lnln_jax.images.resize import bicubic_upsample, imresize, imresize_rows

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 25, 3)).astype(np.uint8)
OTHER = IMAGE ^ 3
FUNCTIONS = {
    "imresize": lambda n: imresize(IMAGE, n),
    "imresize to": lambda n: imresize(IMAGE, output_shape=(n, n)),
    "imresize_rows": lambda n: imresize_rows(IMAGE, n, n, n + n),
    "bicubic_upsample": lambda n: bicubic_upsample(jnp.asarray(IMAGE[None], jnp.float32), n),
    "psnr": lambda n: psnr(OTHER, IMAGE, shave=n),
    "ssim": lambda n: ssim(OTHER, IMAGE, shave=n),
    "modcrop": lambda n: modcrop(IMAGE, n),
    "dihedral": lambda n: dihedral(IMAGE, n),
    "inverse_dihedral": lambda n: inverse_dihedral(IMAGE, n),
}


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.float32, np.array, jnp.array])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
@pytest.mark.parametrize("number", [2, 3])
def test_numbers_of_all_kinds_are_the_same(function, number, kind):
    np.testing.assert_array_equal(function(kind(number)), function(number))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.array, jnp.array])
@pytest.mark.parametrize("scale", [1 / 3, 0.5, 1.1, 0.7, 2.5])
def test_factors_of_all_kinds_give_the_same_image(scale, kind):
    expected = imresize(IMAGE, scale)
    actual = imresize(IMAGE, kind(scale))
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("number", [True, None, "2", [2], np.array([2]), float("nan"), 1.5])
@pytest.mark.parametrize("name", ["psnr", "ssim", "modcrop", "dihedral"])
def test_no_numbers(name, number):
    with pytest.raises(ValueError, match=r"(shave|scale|index) is .*; it must be a whole number"):
        FUNCTIONS[name](number)


PILLOW = Image.new("P", (20, 20))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE.tolist(), r"got list; give np\.asarray\(image, np\.uint8\)"),
        (PILLOW, r"got PIL.Image.Image; give np\.asarray\(image\.convert\(\"RGB\"\)\)"),
        ("photo.png", r"got str; read the file first"),
        (None, "got NoneType"),
        (np.float32(3), r"got numpy\.float32"),
    ],
    ids=["list", "Pillow", "name", "None", "scalar"],
)
@pytest.mark.parametrize(
    "function",
    [
        lambda image: psnr(image, IMAGE),
        lambda image: ssim(IMAGE, image),
        lambda image: imresize(image, 2),
        lambda image: modcrop(image, 2),
        partial(dihedral, index=1),
        rgb_to_y,
        to_uint8,
    ],
    ids=["psnr", "ssim", "imresize", "modcrop", "dihedral", "rgb_to_y", "to_uint8"],
)
def test_what_is_no_array_is_refused_with_the_remedy(function, image, message):
    with pytest.raises(ValueError, match=rf"(image|sr|hr) must be an array .*{message}"):
        function(image)


# ---- images in 0..1 ----

UNIT = (IMAGE / 255).astype(np.float32)
OTHER_UNIT = (OTHER / 255).astype(np.float32)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("sr", "hr", "names"),
    [
        (UNIT, OTHER_UNIT, "sr and hr have"),
        (UNIT.astype(np.float16), OTHER_UNIT.astype(np.float64), "sr and hr have"),
        (jnp.asarray(UNIT), jnp.asarray(OTHER_UNIT), "sr and hr have"),
        (UNIT, IMAGE, "sr has"),
        (IMAGE.astype(np.float32), UNIT, "hr has"),
    ],
)
def test_images_in_the_unit_range_are_told(metric, sr, hr, names):
    with pytest.warns(UserWarning, match=rf"^{names} values of .* multiply by 255") as caught:
        metric(sr, hr)
    assert [warning.filename for warning in caught] == [__file__]  # the line of the caller


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        (IMAGE.astype(np.float32), OTHER),
        (np.zeros_like(UNIT), np.zeros_like(UNIT)),
        (UNIT, np.zeros_like(UNIT)),  # black, and a network's answer to it
        (UNIT, np.zeros_like(IMAGE)),
        (UNIT - 0.5, OTHER_UNIT - 0.5),
        (IMAGE // 255, OTHER // 255),
        (np.full_like(UNIT, np.nan), UNIT * 255),
    ],
    ids=["0..255", "black", "nearly black", "nearly black uint8", "negative", "uint8", "NaN"],
)
def test_other_images_are_not(metric, sr, hr):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric(sr, hr)


def test_traced_images_cannot_be_looked_at():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(psnr)(UNIT, OTHER_UNIT)
