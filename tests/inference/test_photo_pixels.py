import numpy as np
import pytest

from lnln_jax.images.photo import Photo
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.loading import load_model
from lnln_jax.inference.photo_pixels import BORDER, upscaled
from tests.support.small_upscaler import RADIUS, SCALE, image, small_upscaler


def whole(upscaler, samples: np.ndarray, **options) -> np.ndarray:
    return np.concatenate([*upscaled(upscaler, Photo(samples), **options)])


@pytest.mark.parametrize("tile", [None, 32, 2])
@pytest.mark.parametrize("size", [(40, 57), (1, 1), (1, 30), (33, 17)])
def test_beyond_its_edges_a_photo_is_mirrored(tile, size):
    assert BORDER > RADIUS
    upscaler, photo = small_upscaler(), image(*size)
    sr = whole(upscaler, photo, tile=tile)
    around = np.pad(photo, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), "symmetric")
    inside = slice(BORDER * SCALE, -BORDER * SCALE)
    expected = upscaler.upscale(around)[inside, inside]
    assert sr.shape == (size[0] * SCALE, size[1] * SCALE, 3)
    if tile != 2:  # tiles that do not overlap enough for this network
        np.testing.assert_array_equal(sr, expected)


def test_a_white_photo_stays_white_to_its_edges():
    white = np.full((40, 40, 3), 255, np.uint8)
    model = load_model("lnln_light_x2")
    assert model.upscale(white).min() < 245  # it sees zeros there
    assert whole(model, white).min() >= 253


@pytest.mark.parametrize("upscaler", [small_upscaler(), BicubicUpscaler(2)], ids=lambda u: u.name)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("tile", [None, 32])
def test_a_seamless_photo_is_what_it_is_in_the_middle_of_its_copies(upscaler, channels, tile):
    texture = image(20, 30, channels)
    if channels % 2 == 0:
        texture[..., -1] |= 1  # visible everywhere, so that no hole is filled
    sr = whole(upscaler, texture, tile=tile, seamless=True)
    copies = whole(upscaler, np.tile(texture, (3, 3, 1)))
    np.testing.assert_array_equal(sr, copies[40:80, 60:120])


def test_a_seamless_photo_may_be_smaller_than_what_the_network_sees():
    assert whole(small_upscaler(), image(1, 3), seamless=True).shape == (2, 6, 3)


def test_a_gray_photo_stored_as_rgb_stays_gray():
    """The small network gives its three channels different values, as any network does a little."""
    gray = image(20, 24, 1)
    sr = whole(small_upscaler(), np.repeat(gray, 3, axis=2))
    np.testing.assert_array_equal(sr, np.repeat(whole(small_upscaler(), gray), 3, axis=2))
    coloured = np.repeat(gray, 3, axis=2)
    coloured[-1, -1, 0] ^= 1  # one pixel with a colour is enough
    assert np.ptp(whole(small_upscaler(), coloured), axis=2).max() > 0
