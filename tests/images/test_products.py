"""Flags that matrix products raise are no warnings: BLAS raises some for nothing."""

import numpy as np
import pytest

from lnln_jax.images.arrays import rgb_to_ycbcr, ycbcr_to_rgb
from lnln_jax.images.resize_blocks import Blocks, multiply_and_round


@pytest.mark.parametrize("convert", [rgb_to_ycbcr, ycbcr_to_rgb])
def test_of_colours(convert):
    image = np.full((1, 1, 3), np.inf)  # infinite less infinite raises it wherever BLAS does not
    with np.errstate(invalid="raise"):
        assert np.isnan(convert(image)).any()


def test_of_resizing():
    blocks = Blocks(1, [0], [0], np.array([[[np.inf, -np.inf]]], np.float32))
    x = np.ones((2, 1), np.uint8)
    with (
        np.errstate(invalid="raise"),
        pytest.raises(FloatingPointError, match="in cast"),  # which comes after the product
    ):
        multiply_and_round(blocks, x)
