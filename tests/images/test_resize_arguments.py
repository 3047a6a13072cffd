"""Sizes that `imresize` makes, and what it refuses."""

import math

import numpy as np
import pytest

from lnln_jax.images.resize import imresize


@pytest.mark.parametrize(
    ("scale", "size", "out_size"),
    [
        (1 / 3, 255, 85),
        (1 / 3, 256, 86),
        (1.1, 10, 11),
        (0.07, 100, 7),
        (1 / 49, 49, 1),
        (1.5, 3, 5),
    ],
)
def test_output_size_is_the_ceiling_of_the_exact_product(scale, size, out_size):
    assert imresize(np.zeros((size, size)), scale).shape == (out_size, out_size)


def test_every_integer_factor_divides_its_multiples():
    for factor in range(2, 9):
        for size in range(factor, 700, factor):
            lr = imresize(np.zeros((size, 1), np.float32), 1 / factor)
            assert lr.shape == (size // factor, 1)


@pytest.mark.parametrize(
    ("shape", "dtype", "arguments", "message"),
    [
        ((8, 8, 3), np.uint8, {}, "exactly one of scale and output_shape"),
        ((8, 8, 3), np.uint8, {"scale": 2, "output_shape": (4, 4)}, "exactly one of scale"),
        ((8, 8, 3), np.uint8, {"scale": 0}, "scale is 0; it must be a number above 0"),
        ((8, 8, 3), np.uint8, {"scale": -0.5}, "scale is -0.5; it must be a number above 0"),
        ((8, 8, 3), np.uint8, {"scale": math.nan}, "scale is nan; it must be a number above 0"),
        ((8, 8, 3), np.uint8, {"output_shape": (0, 4)}, "output_shape is 0; .* at least 1"),
        ((8, 8, 3), np.uint8, {"output_shape": (4, 4, 3)}, r"output_shape is \(4, 4, 3\)"),
        ((8, 8, 3), np.uint8, {"scale": 2, "border": "wrap"}, "'replicate', got 'wrap'"),
        ((8,), np.uint8, {"scale": 2}, r"got shape \(8,\); resize"),
        ((1, 8, 8, 3), np.uint8, {"scale": 2}, r"got shape \(1, 8, 8, 3\); resize"),
        ((8, 0, 3), np.uint8, {"scale": 2}, r"at least one pixel and channel, got \(8, 0, 3\)"),
        ((8, 8, 0), np.uint8, {"scale": 2}, r"at least one pixel and channel, got \(8, 8, 0\)"),
        ((8, 8, 3), bool, {"scale": 2}, "got bool; convert"),
        ((8, 8, 3), np.int32, {"scale": 2}, "got int32; convert"),
        ((8, 8, 3), np.float16, {"scale": 2}, "got float16; convert"),
        ((8, 8, 3), np.uint8, {"scale": True}, "scale is True; it must be a number above 0"),
        ((8, 8, 3), np.uint8, {"scale": "2"}, "scale is '2'; it must be a number above 0"),
        ((8, 8, 3), np.uint8, {"output_shape": (4.5, 4)}, r"output_shape is 4\.5; .* whole number"),
        ((8, 8, 3), np.uint8, {"output_shape": 4}, r"output_shape is 4; .* \(height, width\)"),
        ((), np.uint8, {"scale": 2}, r"got shape \(\); resize"),
    ],
)
def test_bad_input_is_named(shape, dtype, arguments, message):
    with pytest.raises(ValueError, match=message):
        imresize(np.zeros(shape, dtype), **arguments)
