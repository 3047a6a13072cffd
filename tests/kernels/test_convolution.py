"""The hand-written gradient rules against JAX's own gradients of plain definitions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lnln_jax import kernels
from lnln_jax.kernels.convolution import (
    DEPTHWISE,
    add_bias,
    channel_product,
    conv,
    depthwise_conv3x3,
)
from lnln_jax.kernels.reductions import materialize, sums_over_pixels
from lnln_jax.models.layers import pixel_shuffle

# Sums of some hundred float32 products: relative to the largest value, a few units of 2**-23.
TOLERANCE = 2e-6
SHAPES = [(2, 6, 8, 16), (1, 5, 7, 3), (3, 1, 4, 8), (1, 1, 1, 1)]


def draw(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def assert_close(actual, expected, tolerance=TOLERANCE):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        difference = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()
        assert difference <= tolerance * max(np.abs(b).max(), 1e-30)


def plain_depthwise(x, kernel, bias):
    kernel = kernel[:, :, None]
    return bias + lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def plain_conv(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def value_and_gradients(function, args, cotangent):
    value, pullback = jax.vjp(function, *args)
    return value, pullback(cotangent)


@pytest.mark.parametrize("implementation", ["auto", *DEPTHWISE])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 16, 9, 2)])
def test_depthwise_conv(shape, implementation):
    channels = shape[-1]
    *args, cotangent = draw(shape, (3, 3, channels), (channels,), shape)

    def ours(x, kernel, bias):
        return depthwise_conv3x3(x, kernel, bias, implementation)

    with jax.numpy_dtype_promotion("strict"):
        actual = jax.jit(lambda: value_and_gradients(ours, args, cotangent))()
    assert_close(actual, value_and_gradients(plain_depthwise, args, cotangent))


def test_unknown_depthwise_implementations_are_refused():
    with pytest.raises(ValueError, match=r"'fast'; it must be one of auto, shifted, grouped"):
        depthwise_conv3x3(*draw((1, 2, 2, 1), (3, 3, 1), (1,)), "fast")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [3, 5])
def test_conv(shape, size):
    *args, cotangent = draw(shape, (size, size, shape[-1], 5), (*shape[:-1], 5))
    with jax.numpy_dtype_promotion("strict"):
        actual = jax.jit(lambda: value_and_gradients(conv, args, cotangent))()
    assert_close(actual, value_and_gradients(plain_conv, args, cotangent))


@pytest.mark.parametrize("form", ["tuned", "plain"])
@pytest.mark.parametrize("groups", [2, 4])
def test_conv_in_groups(groups, form):
    shape, outputs = (2, 5, 7, 8), 12
    *args, cotangent = draw(shape, (3, 3, 8 // groups, outputs), (*shape[:-1], outputs))

    def by_group(x, kernel):
        parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        return jnp.concatenate([plain_conv(*part) for part in parts], -1)

    with kernels.using(form), jax.numpy_dtype_promotion("strict"):
        ours = partial(conv, groups=groups)
        actual = jax.jit(lambda: value_and_gradients(ours, args, cotangent))()
    assert_close(actual, value_and_gradients(by_group, args, cotangent))


@pytest.mark.parametrize("shape", SHAPES)
def test_channel_product_with_bias(shape):
    channels = shape[-1]
    *args, cotangent = draw(shape, (channels, 5), (5,), (*shape[:-1], 5))

    def ours(x, kernel, bias):
        return add_bias(channel_product(x, kernel), bias)

    with jax.numpy_dtype_promotion("strict"):
        actual = value_and_gradients(ours, args, cotangent)
    assert_close(actual, value_and_gradients(lambda x, k, b: x @ k + b, args, cotangent))


@pytest.mark.parametrize("shape", [*SHAPES, (2, 16, 4, 3), (1, 9, 2, 5)])
def test_sums_over_pixels(shape):
    x, y = draw(shape, shape)
    expected = [term.astype(np.float64).sum((1, 2)) for term in map(np.asarray, (x, x * y))]
    by_image = jax.jit(lambda: sums_over_pixels([x, x * y], by_image=True))()
    over_all = jax.jit(lambda: sums_over_pixels([x, x * y]))()
    for sums, total, truth in zip(by_image, over_all, expected, strict=True):
        largest = np.abs(truth).max() + 1  # sums of both signs may come out near zero
        np.testing.assert_allclose(sums, truth, atol=TOLERANCE * largest, rtol=0)
        np.testing.assert_allclose(total, truth.sum(0), atol=2 * TOLERANCE * largest, rtol=0)


@pytest.mark.parametrize(
    ("operation", "shapes"),
    [
        (conv, [(3, 3, 16, 16)]),
        *(
            (partial(depthwise_conv3x3, implementation=name), [(3, 3, 16), (16,)])
            for name in DEPTHWISE
        ),
        (lambda x, k, b: add_bias(channel_product(x, k), b), [(16, 16), (16,)]),
    ],
)
def test_bfloat16_stays_bfloat16(operation, shapes):
    args = draw((2, 6, 6, 16), *shapes, dtype=jnp.bfloat16)
    (cotangent,) = draw((2, 6, 6, 16), dtype=jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        actual = value_and_gradients(operation, args, cotangent)
    wide = [arg.astype(jnp.float32) for arg in args]
    expected = value_and_gradients(operation, wide, cotangent.astype(jnp.float32))
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == jnp.bfloat16
        # Two roundings to 8 bits: the product's and, for the value, that of the sum with the bias.
        assert np.abs(a.astype(jnp.float32) - b).max() <= 2 * 2**-8 * np.abs(b).max()


@pytest.mark.parametrize("rows", [1, 2, 11])
def test_materialize_changes_no_bit(rows):
    (values,) = draw((rows, 7))
    values = values * jnp.asarray(10.0 ** np.arange(-30, 40, 10), jnp.float32)
    np.testing.assert_array_equal(jax.jit(materialize)(values), values)


def test_pixel_shuffle_orders_channels_as_pytorch():
    x = jnp.arange(1 * 2 * 3 * 8).reshape(1, 2, 3, 8)
    y = pixel_shuffle(x, 2)
    assert y.shape == (1, 4, 6, 2)
    for row in range(4):
        for column in range(6):
            for channel in range(2):
                source = channel * 4 + (row % 2) * 2 + column % 2
                assert y[0, row, column, channel] == x[0, row // 2, column // 2, source]
    with pytest.raises(ValueError, match="6 channels, which is not a multiple of factor"):
        pixel_shuffle(jnp.zeros((1, 2, 2, 6)), 2)
