import math

import jax
import numpy as np
import pytest
from PIL import Image

from lnln_jax.images import arrays as image_lib
from lnln_jax.images.products import quiet_products
from lnln_jax.images.resize import (
    _dense_blocks,
    _weights,
    bicubic_upsample,
    imresize,
)

NUMPY_PAD_MODE = {"symmetric": "symmetric", "replicate": "edge"}


def _read_rgb(path):
    with Image.open(path) as file:
        return np.array(file.convert("RGB"))


def _random(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x < 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


@quiet_products()
def _reference_rows(image, out_size, scale, border):
    """Resizes the rows of a float64 image: one output row at a time, over the padded image."""
    pad = math.ceil(2 / min(scale, 1)) + 2
    padded = np.pad(image, [(pad, pad)] + [(0, 0)] * (image.ndim - 1), NUMPY_PAD_MODE[border])
    rows = []
    for i in range(1, out_size + 1):  # MATLAB counts from 1
        position = i / scale + (1 - 1 / scale) / 2
        weights = [
            _keys((position - j) * min(scale, 1)) for j in range(1 - pad, len(image) + pad + 1)
        ]
        rows.append(np.tensordot(weights, padded, 1) / sum(weights))
    return np.stack(rows)


def _reference(image, sizes, scales, border):
    rows = _reference_rows(image.astype(np.float64), sizes[0], scales[0], border)
    return _reference_rows(rows.swapaxes(0, 1), sizes[1], scales[1], border).swapaxes(0, 1)


def _uint8_reference(image, sizes, scales, border):
    """Clips and rounds after each pass; also tells, for each pass, which results are no ties."""
    resized, clear = image, []
    for axis in sorted((0, 1), key=scales.__getitem__):
        rows = resized.swapaxes(0, axis).astype(np.float64)
        rows = _reference_rows(rows, sizes[axis], scales[axis], border).swapaxes(0, axis)
        # 1e-11 is some 100 ulps of 255, more than the order of a sum changes.
        clear.append(np.abs(rows % 1 - 0.5) > 1e-11)
        resized = np.floor(rows.clip(0, 255) + 0.5)
    return resized, clear


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("dataset", "count"), [("Set5", 5), ("Set14", 14)])
def test_matlab_files_bit_for_bit(published_dir, dataset, count, scale):
    paths = sorted((published_dir / dataset / "HR").glob("*.png"))
    assert len(paths) == count
    for path in paths:
        hr = image_lib.modcrop(_read_rgb(path), scale)
        lr = _read_rgb(published_dir / dataset / f"LRx{scale}" / path.name)
        np.testing.assert_array_equal(imresize(hr, 1 / scale), lr, err_msg=path.name)


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 0.5, 0.7, 1, 1.5, 2, 3, 4])
@pytest.mark.parametrize("shape", [(13, 18, 3), (17, 12)])
def test_float_images_match_a_direct_sum(shape, scale, border):
    image = np.random.default_rng(1).uniform(0, 255, shape)
    sizes = [math.ceil(round(scale * size, 6)) for size in shape[:2]]
    resized = imresize(image, scale, border=border)
    assert resized.dtype == np.float64
    # Both sum in float64; only the order differs. 1e-11 is some 100 ulps of 255.
    expected = _reference(image, sizes, (scale, scale), border)
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("output_shape", [(5, 30), (20, 4), (13, 18), (1, 1)])
def test_output_shape_matches_a_direct_sum(output_shape):
    image = np.random.default_rng(2).uniform(0, 255, (13, 18, 2))
    scales = (output_shape[0] / 13, output_shape[1] / 18)
    expected = _reference(image, output_shape, scales, "symmetric")
    resized = imresize(image, output_shape=output_shape)
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5, 1), (2, 3)])
@pytest.mark.parametrize("border", ["symmetric", "replicate"])
def test_borders_of_images_smaller_than_the_kernel(shape, border):
    # np.pad reflects as often as it takes, so the reference covers windows wider than the image.
    image = np.random.default_rng(3).uniform(0, 255, shape)
    sizes = [math.ceil(size / 4) for size in shape[:2]]
    expected = _reference(image, sizes, (0.25, 0.25), border)
    resized = imresize(image, 0.25, border=border)
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-11)


def test_borders_differ_only_at_the_edges():
    image = _random((24, 24, 3)).astype(np.float64)
    symmetric, replicate = (imresize(image, 2, border=b) for b in ("symmetric", "replicate"))
    # Enlarging, a window covers two pixels on each side: outputs 0..2 (of 48) reach outside.
    np.testing.assert_array_equal(symmetric[3:-3, 3:-3], replicate[3:-3, 3:-3])
    assert np.all(np.any(symmetric[0] != replicate[0], axis=0))


def test_uint8_rounds_halves_away_from_zero_after_each_pass():
    # The weights of factor 1/2 are dyadic and symmetric: the mean of 2, 3, 2, 3 ... is 2.5 exactly.
    row = np.tile(np.array([2, 3], np.uint8), 8)
    image = np.tile(row, (16, 1))
    exact = imresize(image.astype(np.float64), 0.5)
    assert np.all(exact[:, 3:5] == 2.5)
    assert np.all(imresize(image, 0.5)[:, 3:5] == 3)


def test_uint8_rounds_between_heights_and_widths():
    image = _random((32, 24, 3))
    heights = _reference_rows(image.astype(np.float64), 16, 0.5, "symmetric")
    heights = np.floor(heights.clip(0, 255) + 0.5)
    widths = _reference_rows(heights.swapaxes(0, 1), 12, 0.5, "symmetric").swapaxes(0, 1)
    resized = imresize(image, 0.5)
    np.testing.assert_array_equal(resized, np.floor(widths.clip(0, 255) + 0.5))
    once = np.floor(imresize(image.astype(np.float64), 0.5).clip(0, 255) + 0.5)
    assert np.mean(resized != once) > 0.05  # it matters


def test_uint8_with_output_shape_takes_the_smaller_scale_first():
    # Factors 2 and 1/2 have dyadic weights: both sums are exact, so their ties agree.
    image = _random((20, 24, 3))
    widths = _reference_rows(image.astype(np.float64).swapaxes(0, 1), 12, 0.5, "symmetric")
    widths = np.floor(widths.clip(0, 255) + 0.5).swapaxes(0, 1)
    both = _reference_rows(widths, 40, 2, "symmetric")
    expected = np.floor(both.clip(0, 255) + 0.5)
    np.testing.assert_array_equal(imresize(image, output_shape=(40, 12)), expected)


EXACT_FACTORS = (1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4, 8)


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("scale", EXACT_FACTORS)
@pytest.mark.parametrize(
    "shape", [(37, 41, 3), (50, 23, 1), (9, 13, 7), (24, 31), (1, 1, 3), (2, 5)]
)
def test_uint8_images_match_a_direct_sum(shape, scale, border):
    # Bit for bit, ties included: with these factors float64 sums round alike in any order.
    sizes = [math.ceil(round(scale * size, 6)) for size in shape[:2]]
    noise = _random(shape)
    black_and_white = np.where(noise < 128, np.uint8(0), np.uint8(255))
    steps = np.where(noise < 128, np.uint8(127), np.uint8(128))
    for image in (noise, black_and_white, steps, noise[::-1, ::-1]):
        expected, _ = _uint8_reference(image, sizes, (scale, scale), border)
        resized = imresize(image, scale, border=border)
        assert resized.dtype == np.uint8
        np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize("scale", [0.7, 1.5, 1 / 8, 1 / 6, 6])
def test_uint8_images_match_a_direct_sum_but_for_ties(scale):
    # The order of a sum decides ties of these factors. The widths stay: they have no ties.
    image = _random((120, 16, 3))
    height = round(scale * 120)
    expected, clear = _uint8_reference(image, (height, 16), (scale, 1.0), "symmetric")
    resized = imresize(image, output_shape=(height, 16))
    clear = clear[0] & clear[1] if scale < 1 else clear[1]
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(resized[clear], expected[clear])


@pytest.mark.parametrize("output_shape", [(111, 20), (19, 123), (37, 41), (74, 30), (1, 1)])
def test_uint8_output_shape_matches_a_direct_sum(output_shape):
    image = _random((37, 41, 3))
    scales = (output_shape[0] / 37, output_shape[1] / 41)
    expected, clear = _uint8_reference(image, output_shape, scales, "symmetric")
    resized = imresize(image, output_shape=output_shape)
    assert clear[0].all()  # a tie would enter the second pass
    np.testing.assert_array_equal(resized[clear[1]], expected[clear[1]])


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("scale", EXACT_FACTORS)
@pytest.mark.parametrize("in_size", [1, 7, 480, 5000])
def test_float32_is_proved_exact(in_size, scale, border):
    out_size = math.ceil(round(scale * in_size, 9))
    weights, _ = _weights(in_size, out_size, scale, border)
    assert np.abs(weights).sum(axis=1).max() < 2  # the proof in _dense_blocks needs it
    blocks = _dense_blocks(in_size, out_size, scale, border, 3)
    assert blocks is not None
    assert blocks.weights.dtype == np.float32


@pytest.mark.parametrize("scale", [1 / 8, 1 / 6, 6, 0.7, 1.5, 5])
def test_other_factors_are_summed_in_float64(scale):
    assert _dense_blocks(40, math.ceil(scale * 40), scale, "symmetric", 1) is None


def test_uint8_images_need_not_be_contiguous():
    image = _random((40, 60, 3))
    view = image[3:37, 5:55:2, ::-1].swapaxes(0, 1)
    for scale in (0.5, 3):
        np.testing.assert_array_equal(imresize(view, scale), imresize(view.copy(), scale))


def test_large_uint8_images_take_several_products():
    # More columns than a product takes, on both axes: rows repeat, so that a narrow image suffices.
    narrow = _random((64, 3000, 3))
    tall = np.tile(narrow, (6, 1, 1))
    np.testing.assert_array_equal(
        imresize(tall, output_shape=(384, 1500))[:64],
        imresize(narrow, output_shape=(64, 1500)),
    )
    wide = imresize(narrow, output_shape=(32, 3000))
    parts = [imresize(part, output_shape=(32, 250)) for part in np.split(narrow, 12, axis=1)]
    np.testing.assert_array_equal(wide, np.concatenate(parts, axis=1))


def test_float_images_are_not_clipped():
    edge = np.repeat([0.0, 255.0], 8)[None].repeat(4, 0)
    resized = imresize(edge, 2)
    assert resized.min() < -1
    assert resized.max() > 256
    assert imresize(edge.astype(np.uint8), 2).min() == 0


def test_float32_accumulates_in_float64():
    image = np.random.default_rng(4).uniform(0, 255, (21, 16, 3)).astype(np.float32)
    resized = imresize(image, 1 / 3)
    assert resized.dtype == np.float32
    exact = imresize(image.astype(np.float64), 1 / 3)
    np.testing.assert_array_equal(resized, exact.astype(np.float32))


def test_the_input_is_left_alone():
    image = _random((9, 12, 3))
    copy = image.copy()
    same = imresize(image, 1)
    np.testing.assert_array_equal(same, copy)
    same[:] = 0
    np.testing.assert_array_equal(image, copy)


@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 5, 1), (7, 4, 3)])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_bicubic_upsample_is_imresize(shape, factor):
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
    expected = [imresize(image, factor) for image in images]
    # imresize sums in float64; two times four products of up to 255: some units of 255 * 2**-24.
    actual = jax.jit(bicubic_upsample, static_argnums=1)(images, factor)
    np.testing.assert_allclose(actual, expected, atol=1e-4)
