"""What networks and bicubic interpolation have in common as upscalers."""

import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.inference import bicubic
from lnln_jax.inference import upscaler as interface
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from tests.support.small_upscaler import image, small_upscaler

UPSCALERS = [small_upscaler(), BicubicUpscaler(3)]


def test_the_result_can_be_written_to():
    for upscaler in UPSCALERS:
        upscaler.upscale(image(4, 4))[:] = 0
        upscaler.upscale_float(image(4, 4).astype(np.float32))[:] = 0


def test_the_input_is_left_alone():
    lr = image(40, 36)
    before = lr.copy()
    small_upscaler().upscale(lr, self_ensemble=True, tile=32)
    np.testing.assert_array_equal(lr, before)


@pytest.mark.parametrize("options", [{}, {"tile": 16, "overlap": 8, "self_ensemble": True}])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("upscaler", UPSCALERS, ids=["net", "bicubic"])
def test_bands_are_the_result_from_top_to_bottom(monkeypatch, upscaler, channels, options):
    monkeypatch.setattr(bicubic, "_BAND_PIXELS", 500)
    lr = image(50, 41, 3)[..., 0] if channels == () else image(50, 41, *channels)
    bands = list(upscaler.bands(lr, **options))
    expected = upscaler.upscale(lr, **options)
    assert expected.dtype == np.uint8
    assert len(bands) > 3 or (isinstance(upscaler, NetworkUpscaler) and not options)
    np.testing.assert_array_equal(np.concatenate(bands), expected)
    x = lr.astype(np.float32)
    expected = upscaler.upscale_float(x, **options)
    np.testing.assert_array_equal(np.concatenate(list(upscaler.bands(x, **options))), expected)
    deep = np.concatenate(list(upscaler.bands(lr.astype(np.uint16) * 257, **options)))
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(deep, np.rint(expected.clip(0, 255) * np.float32(257)))


@pytest.mark.parametrize("upscaler", UPSCALERS, ids=["net", "bicubic"])
def test_wrong_images_are_refused(upscaler):
    lr = image(8, 8)
    x = lr.astype(np.float32)
    for shape in ((8, 8, 4), (8, 8, 2), (1, 8, 8, 3), (8,)):
        with pytest.raises(ValueError, match=r"must have shape \(H, W, 3\).*got"):
            upscaler.upscale(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"must be uint8 with values in 0..255, got float32"):
        upscaler.upscale(x)
    with pytest.raises(ValueError, match=r"must be uint8 or uint16 or .* got int64"):
        upscaler.bands(lr.astype(np.int64))
    with pytest.raises(ValueError, match=r"must be float32 with values in 0..255, got uint8"):
        upscaler.upscale_float(lr)
    with pytest.raises(ValueError, match="got float64"):
        upscaler.upscale_float(x.astype(np.float64))
    with pytest.raises(ValueError, match="the image is 8x0 pixels"):
        upscaler.upscale(lr[:0])


@pytest.mark.parametrize("upscaler", UPSCALERS, ids=["net", "bicubic"])
def test_wrong_tiles_are_refused(upscaler):
    with pytest.raises(ValueError, match="got tile 31 with overlap 16"):
        upscaler.upscale(image(8, 8), tile=31, overlap=16)
    for tile in (0, 1, -4, 2.5, "8", True, np.zeros(2)):
        with pytest.raises(ValueError, match=r"tile is .*; it must be a whole number from 2 "):
            upscaler.upscale(image(8, 8), tile=tile, overlap=0)
    with pytest.raises(ValueError, match="overlap is -1; it must be a whole number of at least 0"):
        upscaler.upscale(image(8, 8), tile=8, overlap=-1)


@pytest.mark.parametrize("upscaler", UPSCALERS, ids=["net", "bicubic"])
def test_numbers_of_all_kinds(upscaler):
    lr = image(20, 20)
    expected = upscaler.upscale(lr, tile=16, overlap=4)
    for kind in (np.int64, np.array, jnp.array):
        sr = upscaler.upscale(lr, tile=kind(16), overlap=kind(4))
        np.testing.assert_array_equal(sr, expected)
    np.testing.assert_array_equal(
        BicubicUpscaler(np.int64(3)).upscale(lr), UPSCALERS[1].upscale(lr)
    )


@pytest.mark.parametrize("upscaler", UPSCALERS, ids=["net", "bicubic"])
def test_the_first_image_in_0_to_1_is_told(monkeypatch, upscaler):
    x = image(8, 8).astype(np.float32)
    for call in (upscaler.upscale_float, upscaler.bands):
        monkeypatch.setattr(interface, "_has_warned", False)
        call(x)
        call(np.zeros_like(x))
        with pytest.warns(UserWarning, match=r"and 0..255 is meant; multiply by 255") as warned:
            call(x / 255)
        assert [warning.filename for warning in warned] == [__file__]
        call(x / 256)


@pytest.mark.parametrize("upscaler", UPSCALERS, ids=["net", "bicubic"])
def test_images_of_jax_and_of_no_library(upscaler):
    lr = image(8, 8)
    np.testing.assert_array_equal(upscaler.upscale(jnp.asarray(lr)), upscaler.upscale(lr))
    with pytest.raises(ValueError, match="lr must be an array of NumPy or JAX, got list"):
        upscaler.upscale(lr.tolist())
