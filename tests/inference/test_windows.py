"""Whole images, tiles and small images for a network that attends in windows."""

import functools

import jax
import numpy as np
import pytest

from lnln_jax.inference import network
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.models import create_model
from lnln_jax.models.variables import abstract_variables
from tests.support.small_upscaler import image


@functools.cache
def upscaler() -> NetworkUpscaler:
    options = {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 8, "n_heads": 2}
    module = create_model("swinir_light", 2, **options)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(  # large enough for windows to matter
        lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), abstract_variables(module)
    )
    return NetworkUpscaler("small", 2, module, variables)


def by_the_authors_script(lr: np.ndarray) -> np.ndarray:
    """Fills windows up by the image's mirror image, by at least a pixel, and cuts the result."""
    height, width = lr.shape[:2]
    rows, columns = (size // 8 * 8 + 8 for size in (height, width))
    filled = np.concatenate([lr, lr[::-1]], axis=0)[:rows]
    filled = np.concatenate([filled, filled[:, ::-1]], axis=1)[:, :columns]
    apply = jax.jit(upscaler().module.apply)
    sr = apply(upscaler().variables, filled[None].astype(np.float32))
    return np.asarray(sr)[0, : 2 * height, : 2 * width]


@pytest.mark.parametrize("size", [(9, 14), (8, 8), (13, 8), (15, 15)])
def test_whole_images_are_filled_as_the_authors_do(size):
    lr = image(*size)
    expected = by_the_authors_script(lr)
    sr = upscaler().upscale_float(lr.astype(np.float32))
    np.testing.assert_array_equal(sr, expected)
    np.testing.assert_array_equal(upscaler().upscale(lr), np.rint(expected).clip(0, 255))


def test_what_fills_the_windows_shows():
    """So the comparison above could fail: 8x8 pixels by themselves give something else."""
    lr = image(8, 8).astype(np.float32)
    alone = jax.jit(upscaler().module.apply)(upscaler().variables, lr[None])[0]
    assert np.abs(alone - upscaler().upscale_float(lr)).max() > 1


def test_the_self_ensemble_fills_each_turned_image():
    lr = image(9, 14).astype(np.float32)
    once, turned = (upscaler().upscale_float(x, self_ensemble=True) for x in (lr, np.rot90(lr)))
    # The eight results are added in another order: some units of 2**-23 of the largest.
    np.testing.assert_allclose(np.rot90(once), turned, rtol=0, atol=2e-6 * np.abs(once).max())


@pytest.mark.parametrize("size", [(1, 1), (4, 3), (2, 11)])
def test_images_smaller_than_the_network_takes(size):
    sr = upscaler().upscale(image(*size))
    assert sr.shape == (2 * size[0], 2 * size[1], 3)


def test_tiles_are_whole_windows():
    lr = image(20, 13)
    expected = upscaler().upscale(lr, tile=8, overlap=1)
    for tile in (3, 5):
        np.testing.assert_array_equal(upscaler().upscale(lr, tile=tile, overlap=1), expected)


def test_compiling_before_use_takes_the_filled_shape():
    network._compile.cache_clear()
    upscaler().compile((9, 14, 3))
    upscaler().upscale(image(9, 14))
    assert network._compile.cache_info().misses == 1
