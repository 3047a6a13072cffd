"""Some rows of what `imresize` would make."""

import numpy as np
import pytest

from lnln_jax.images.resize import imresize, imresize_rows


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("scale", [2, 3, 4, 0.5, 1.3])
@pytest.mark.parametrize("size", [(29, 13), (2, 5), (1, 1)])
def test_rows_are_those_of_the_whole(dtype, scale, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(dtype)
    whole = imresize(image, scale)
    height = len(whole)
    for start, stop in {(0, height), (0, 1), (height - 1, height), (height // 3, height // 2 + 1)}:
        rows = imresize_rows(image, scale, start, stop)
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows, whole[start:stop])


def test_rows_convert_what_they_need():
    seen = []

    def convert(rows: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return rows.astype(np.float32)

    image = np.random.default_rng(0).integers(0, 65536, (100, 7), np.uint16)
    rows = imresize_rows(image, 2, 60, 70, convert=convert)
    np.testing.assert_array_equal(rows, imresize(image.astype(np.float32), 2)[60:70])
    assert seen[0] <= 5 + 4


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (0, 9)])
def test_rows_that_are_not_there(start, stop):
    with pytest.raises(ValueError, match=f"within the 8 of the result, got {start} to {stop}"):
        imresize_rows(np.zeros((4, 4), np.uint8), 2, start, stop)
