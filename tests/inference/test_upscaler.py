"""What networks and bicubic interpolation have in common as upscalers."""

import numpy as np
import pytest

from lnln_jax.inference import bicubic
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
    for tile, overlap in ((31, 16), (0, 0), (1, 0), (-4, 0)):
        with pytest.raises(ValueError, match=f"got tile {tile} with overlap {overlap}"):
            upscaler.upscale(image(8, 8), tile=tile, overlap=overlap)
    with pytest.raises(ValueError, match="overlap must be at least 0, got -1"):
        upscaler.upscale(image(8, 8), tile=8, overlap=-1)
