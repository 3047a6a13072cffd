import itertools

import numpy as np
import pytest

from lnln_jax.inference import tiling


@pytest.mark.parametrize("border", [1, 8, 40])
def test_spans_with_a_border_decide_the_axis_alone(border):
    for size in range(1, 80):
        spans = list(tiling.spans(size, 16, 6, border))
        decided = [i for _, start, stop in spans for i in range(start, stop)]
        assert decided == list(range(size))
        for begin, start, stop in spans:
            assert -border <= begin <= start < stop <= begin + 16
            assert start - begin >= min(border, 3)
            assert min(begin + 16, size + border) - stop >= min(border, 3)


def test_an_image_goes_on_as_its_mirror_images():
    image = np.arange(12).reshape(3, 4, 1)
    around = np.pad(image, ((20, 20), (20, 20), (0, 0)), "symmetric")
    for top, left, height, width in ((0, 0, 3, 4), (-1, -2, 5, 9), (2, 3, 7, 9), (-7, -9, 20, 30)):
        part = tiling.mirrored(image, top, left, height, width)
        expected = around[20 + top :, 20 + left :][:height, :width]
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize(("tile", "overlap"), [(16, 0), (16, 7), (16, 8), (2, 0), (2, 1)])
def test_spans_cover_an_axis_once_with_margins(tile, overlap):
    for size in range(1, 80):
        spans = list(tiling.spans(size, tile, overlap))
        decided = [i for _, start, stop in spans for i in range(start, stop)]
        assert decided == list(range(size))
        for begin, start, stop in spans:
            end = begin + min(tile, size)
            assert 0 <= begin <= start < stop <= end <= size
            assert begin == 0 or start - begin >= overlap // 2
            assert end == size or end - stop >= overlap // 2


@pytest.mark.parametrize("size", [(40, 57), (16, 16), (3, 30), (1, 1), (33, 17)])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_function_of_single_pixels_is_applied_once_to_each(size, batch):
    calls = []

    def enlarge(tiles: np.ndarray) -> np.ndarray:
        calls.append(tiles.shape)
        assert tiles.dtype == np.uint8
        return tiles.repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)

    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    bands = list(tiling.tiled_bands(enlarge, image, scale=2, tile=16, overlap=6, batch=batch))
    np.testing.assert_array_equal(np.concatenate(bands), image.repeat(2, 0).repeat(2, 1))
    assert set(calls) == {(batch, 16, 16, 3)}
    rows, columns = (len(list(tiling.spans(side, 16, 6))) for side in size)
    assert len(bands) == rows
    assert len(calls) == -(-rows * columns // batch)


def test_a_band_is_there_before_the_next_is_computed():
    calls = itertools.count()

    def enlarge(tiles: np.ndarray) -> np.ndarray:
        next(calls)
        return tiles

    image = np.zeros((40, 40, 1), np.uint8)
    bands = tiling.tiled_bands(enlarge, image, scale=1, tile=16, overlap=4, batch=1)
    assert next(calls) == 0
    next(bands)
    assert next(calls) == 1 + 3
