"""Resizing of uint8 images by small dense products in float32, where that changes no result."""

from typing import NamedTuple

import numpy as np

from lnln_jax.images.products import quiet_products

_BLOCK = 8  # outputs in a block: in larger ones more weights are zeros
_MAX_PRODUCT = 2**18  # multiplications in a product: within a core's cache, too few for threads


class Blocks(NamedTuple):
    """A resize matrix cut in blocks of some outputs and the inputs that they need.

    Attributes:
      out_size: number of outputs in all.
      outputs: first output of each block.
      inputs: first input of each block.
      weights: weights `block out in`, float32.
    """

    out_size: int
    outputs: list[int]
    inputs: list[int]
    weights: np.ndarray


def multiply_and_round(blocks: Blocks, x: np.ndarray) -> np.ndarray:
    """Resizes the first axis of `N M`, uint8, by columns; the result is laid out as `x`."""
    in_columns = max(1, _MAX_PRODUCT // blocks.weights[0].size)
    result = np.empty_like(x, shape=(blocks.out_size, x.shape[1]))
    buffer = np.empty_like(x, np.float32, shape=(blocks.out_size, min(in_columns, x.shape[1])))
    for start in range(0, x.shape[1], in_columns):
        columns = slice(start, start + in_columns)
        pixels = x[:, columns].astype(np.float32)
        pixels += np.float32(0.5)  # weights sum to 1, so this adds 0.5 to the results
        sums = buffer[:, : pixels.shape[1]]
        with quiet_products():
            for i, j, weights in zip(blocks.outputs, blocks.inputs, blocks.weights, strict=True):
                out, taps = weights.shape
                np.matmul(weights, pixels[j : j + taps], out=sums[i : i + out])
        result[:, columns] = np.clip(sums, 0, 255, out=sums)
    return result


def dense_blocks(
    weights: np.ndarray, columns: np.ndarray, in_size: int, channels: int
) -> Blocks | None:
    """Returns the blocks that resize an axis of interleaved channels, None if float32 won't do.

    Float32 sums of uint8 pixels round to the integers of the float64 sums for factors 2, 3, 4, 8,
    1/2, 1/3 and 1/4, among others, in whatever order they are made. The absolute weights of an
    output sum to less than 2, so:

    - Weights that are multiples of 2^-14 make sums that are multiples of 2^-15, with the 0.5 for
      rounding, and below 2 * 255.5: float32's 24 bits hold them, and float64 has the same.
    - Weights that are multiples of 1/81 make sums that are at least 1/162 away from a half,
      because 81 is odd; the errors of float32 are below 1/1000.

    Args:
      weights: weights `out_size taps`, float64.
      columns: input that each is for, as `weights`.
      in_size: size of the axis.
      channels: number of channels that are interleaved along it.
    """
    out_size = len(weights)
    exact = np.array_equal(weights * 2**14, np.rint(weights * 2**14))
    if not exact and np.abs(weights * 81 - np.rint(weights * 81)).max() > 1e-6:
        return None
    block = min(_BLOCK, out_size)
    outputs = np.minimum(np.arange(0, out_size, block), out_size - block)
    members = outputs[:, None] + np.arange(block)
    columns = np.where(weights == 0, columns[:, [columns.shape[1] // 2]], columns)[members]
    first, last = columns.min(axis=(1, 2)), columns.max(axis=(1, 2))
    reach = (last - first).max() + 1
    first = np.minimum(first, in_size - reach)
    dense = np.zeros((len(outputs), block, reach))
    i, j = np.ogrid[: len(outputs), :block]
    np.add.at(dense, (i[..., None], j[..., None], columns - first[:, None, None]), weights[members])
    return Blocks(
        out_size * channels,
        (outputs * channels).tolist(),
        (first * channels).tolist(),
        np.kron(dense, np.eye(channels)).astype(np.float32),
    )
