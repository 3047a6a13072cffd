"""RLFN, RFDN and IMDN: counts as published, spatial and contrast attention, small images."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model, least_side
from lnln_jax.models.complexity import count_activations, count_multiply_adds, receptive_field
from lnln_jax.models.imdn import contrast
from lnln_jax.models.interpolation import bilinear_resize
from lnln_jax.models.variables import initialize
from tests.support.small_networks import OPTIONS

NAMES = ("rlfn", "rfdn", "imdn")


@cache
def small(name, **options):
    module = create_model(name, 2, **OPTIONS[name], **options)
    return module, initialize(module, 0)


def image(height, width):
    return np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype(np.float32)


def test_figures_of_the_ntire_challenge():
    """For an input of 256x256, 19.70 G multiply-adds, 80.05 M activations and 39 convolutions.

    The challenge's script adds an operation for each value of an activation function to the
    multiply-adds, of which `count_multiply_adds` counts none.
    """
    module = create_model("rlfn_ntire", 4)
    activations = count_activations(module, (1024, 1024))
    assert round(activations["activations"] / 1e6, 2) == 80.05
    assert activations["convolutions"] == 39
    leaky = module.n_resblocks * (2 * module.n_mid_feats + module.n_feats) * 256**2
    counts = count_multiply_adds(module, (1024, 1024))
    assert round((counts["convolution"] + leaky) / 1e9, 2) == 19.70
    assert round(counts["convolution"] / 1e9, 2) == 19.66


def test_receptive_fields():
    """A block's spatial attention sees some 33 pixels, contrast attention the whole image."""
    assert receptive_field(create_model("rlfn", 2, n_resblocks=1)) == 46
    assert receptive_field(create_model("imdn", 2, n_resblocks=1)) is None


@pytest.mark.parametrize("name", ["rlfn", "rfdn"])
@pytest.mark.parametrize("size", [(14, 20), (20, 14)])
def test_too_small_images_are_refused(name, size):
    module, variables = small(name)
    assert least_side(module) == 15
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels; .* at least 15x15"):
        jax.eval_shape(module.apply, variables, image(*size))


@pytest.mark.parametrize("name", NAMES)
def test_smallest_images(name):
    module, variables = small(name)
    side = least_side(module)
    sr = jax.jit(module.apply)(variables, image(side, side + 1))
    assert sr.shape == (1, 2 * side, 2 * side + 2, 3)
    assert np.isfinite(sr).all()


@pytest.mark.parametrize("name", ["rlfn", "imdn", pytest.param("rfdn", marks=pytest.mark.slow)])
def test_bfloat16(name):
    """Float32 parameters and output; 8 bits through some ten layers cost a few percent at most."""
    module, variables = small(name)
    lr = image(21, 22)
    expected = np.asarray(jax.jit(module.apply)(variables, lr))
    sr = jax.jit(small(name, dtype=jnp.bfloat16)[0].apply)(variables, lr)
    assert sr.dtype == jnp.float32
    assert 0 < np.abs(sr - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rfdn", {"n_feats": 3}, "n_feats is 3; RFDN must be at least 4 wide"),
        ("imdn", {"n_feats": 30}, "n_feats is 30; IMDN's must be a multiple of 4"),
        ("imdn", {"n_feats": 8}, "reduction 16 leaves no channel"),
    ],
)
def test_numbers_that_do_not_fit(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, 2, **options)


def test_interpolation_of_a_ramp():
    """Half-pixel centres, edges repeated: the values can be told."""
    ramp = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    expected = [0, 0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 2]
    np.testing.assert_allclose(bilinear_resize(ramp, 1, 9)[0, 0, :, 0], expected, atol=1e-7)


def test_contrast_is_deviation_plus_mean():
    x = np.random.default_rng(0).normal(3, 10, (2, 7, 5, 4)).astype(np.float32)
    x[1, ..., 2] = 0.1
    expected = x.astype(float).std((1, 2)) + x.mean((1, 2))
    np.testing.assert_allclose(contrast(x), expected, rtol=1e-5)
    gradient = np.asarray(jax.grad(lambda x: contrast(x).sum())(x))
    assert np.isfinite(gradient).all()
    # Of a channel that is constant the mean alone: one in 35.
    np.testing.assert_allclose(gradient[1, ..., 2], 1 / 35, rtol=1e-6)
