"""Moments and normalisation against plain definitions in float64, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.kernels.normalization import Moments, moments, normalize, scale_channels

# Sums of some hundred float32 numbers: relative to the largest value, a few units of 2**-23.
TOLERANCE = 2e-6
# Heights of whole groups of eight rows, of smaller groups, of one row, and a prime one.
SHAPES = [(2, 16, 8, 16), (1, 12, 7, 3), (3, 1, 4, 8), (2, 7, 3, 5), (1, 1, 1, 1)]


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def assert_close(actual, expected, tolerance=TOLERANCE):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == jnp.float32
        assert a.shape == b.shape
        difference = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()
        assert difference <= tolerance * max(np.abs(b).max(), 1e-30)


def in_both(function, plain, args, cotangent):
    """Values and gradients of `function` in float32 and of `plain` in float64."""

    def run(function, dtype):
        args_, cotangent_ = jax.tree.map(lambda x: jnp.asarray(x, dtype), (args, cotangent))
        value, pullback = jax.vjp(function, *args_)
        return jax.device_get((value, pullback(cotangent_)))

    with jax.numpy_dtype_promotion("strict"):
        ours = run(function, jnp.float32)
    with jax.enable_x64():
        return ours, run(plain, jnp.float64)


def plain_moments(x):
    return Moments(x.mean((0, 1, 2)), x.var((0, 1, 2)))


def plain_normalize(x, centre, scale, shift):
    if scale.ndim == 2:
        scale, shift = scale[:, None, None], shift[:, None, None]
    return (x - centre) * scale + shift


@pytest.mark.parametrize("shape", SHAPES)
def test_moments(shape):
    channels = shape[-1]
    x, *grads = draw(shape, (channels,), (channels,))
    x = 3 + 2 * x
    ours, truth = in_both(moments, plain_moments, (x,), Moments(*grads))
    # The gradient is a difference of terms some ten times as large as itself.
    assert_close(ours[0], truth[0])
    assert_close(ours[1], truth[1], tolerance=1e-5)


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_moments_do_not_cancel(slope):
    """A float32 E[x^2] - E[x]^2 would lose all digits but one, as would one over a slope."""
    (x,) = draw((4, 48, 8, 2))
    x = 1000 + x + slope * np.arange(48)[:, None, None]
    x = x.astype(np.float32)
    actual, exact = jax.jit(moments)(x), plain_moments(x.astype(np.float64))
    np.testing.assert_allclose(actual.mean, exact.mean, rtol=2e-7)
    np.testing.assert_allclose(actual.var, exact.var, rtol=2e-6)


@pytest.mark.parametrize("by_image", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_normalize(shape, by_image):
    rows = (shape[0], shape[-1]) if by_image else (shape[-1],)
    *args, cotangent = draw(shape, (shape[-1],), rows, rows, shape)
    ours, truth = in_both(normalize, plain_normalize, args, cotangent)
    assert_close(ours, truth, tolerance=1e-5)  # sums of both signs are smaller than their terms


@pytest.mark.parametrize("shape", SHAPES)
def test_scale_channels(shape):
    x, factors, cotangent = draw(shape, (shape[0], shape[-1]), shape)
    plain = lambda x, factors: x * factors[:, None, None]  # noqa: E731
    ours, truth = in_both(scale_channels, plain, (x, factors), cotangent)
    assert_close(ours, truth, tolerance=1e-5)  # sums of both signs are smaller than their terms


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_batch_norm(shape):
    """Both together, the gradient through the statistics included."""
    channels = shape[-1]
    x, scale, bias, cotangent = draw(shape, (channels,), (channels,), shape)

    def ours(x, scale, bias):
        mean, var = moments(x)
        return normalize(x, mean, scale * jax.lax.rsqrt(var + 1e-5), bias)

    def plain(x, scale, bias):
        var = x.var((0, 1, 2))
        return (x - x.mean((0, 1, 2))) / jnp.sqrt(var + 1e-5) * scale + bias

    actual, truth = in_both(ours, plain, (3 + 2 * x, scale, bias), cotangent)
    # The gradient of x is a difference of terms some ten times as large as itself.
    assert_close(actual, truth, tolerance=1e-5)


def test_bfloat16_is_computed_in_float32():
    x, centre, scale, shift = (
        jnp.asarray(a, jnp.bfloat16) for a in draw((2, 8, 4, 3), *[(3,)] * 3)
    )
    centre, scale, shift = (a.astype(jnp.float32) for a in (centre, scale, shift))
    wide = x.astype(jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        for a, b in zip(moments(x), moments(wide), strict=True):
            np.testing.assert_array_equal(a, b)
        y = normalize(x, centre, scale, shift)
        assert y.dtype == jnp.bfloat16
        expected = normalize(wide, centre, scale, shift).astype(jnp.bfloat16)
        np.testing.assert_array_equal(y.astype(jnp.float32), expected.astype(jnp.float32))
