"""MATLAB's bicubic `imresize`, bit for bit on uint8 images.

Super-resolution benchmarks make their low-resolution images with it, so a network trained on any
other bicubic (Pillow, OpenCV, `jax.image.resize`) is measured on a degradation it has not seen.
`imresize` runs on the CPU in NumPy: it belongs to data preparation and evaluation. What a network
needs of it, `bicubic_upsample`, runs in JAX.
"""

import functools
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax

from lnln_jax.images.arguments import check_array
from lnln_jax.images.resize_blocks import Blocks, dense_blocks, multiply_and_round
from lnln_jax.runtime.numbers import real, whole

Border = Literal["symmetric", "replicate"]

_SUPPORT = 4.0  # width of the cubic kernel, which is zero from |x| = 2 on
_MAX_CHANNELS = 4  # a block of interleaved channels is a fraction 1 / channels full


def imresize(
    image: np.ndarray,
    scale: float | None = None,
    *,
    output_shape: tuple[int, int] | None = None,
    border: Border = "symmetric",
) -> np.ndarray:
    """Resizes an image as MATLAB's `imresize(image, scale)` or `imresize(image, output_shape)`.

    The kernel is the Keys cubic with a = -0.5 (Keys, "Cubic convolution interpolation for digital
    image processing", 1981); when shrinking it is widened by 1 / scale against aliasing. The two
    axes are resized one after the other: the axis with the smaller scale factor first, and heights
    first when the factors are equal, as they are when `scale` is given. A uint8 image is clipped
    and rounded, halves away from zero, after each of the two passes; a floating image is neither
    rounded nor clipped, so it can leave the range of its input a little.

    Args:
      image: image `H W` or `H W C`, uint8, float32 or float64, with any number of channels.
      scale: factor for both axes, above 0; below 1 it shrinks. A float32 scalar stands for the
        number that it was made of, as in `np.float32(1 / 3)` (`runtime.numbers`). Exactly one of
        `scale` and `output_shape` is given.
      output_shape: output height and width; the factor of an axis is output size / input size.
      border: how the image goes on beyond its edges. "symmetric" mirrors it with the edge pixel
        repeated, as MATLAB does; "replicate" repeats the edge pixel, as old versions did (the
        LR files of the SelfExSR collection were made so).

    Returns:
      The resized image with the dtype and the channels of the input. With `scale`, a side of n
      pixels becomes ceil(scale * n); a product within 1e-9 of an integer counts as that integer,
      so that factors such as 1/3 or 1.1 have no surprises. All sums are made in float64.

    Raises:
      ValueError: the image is not an array, has another dtype or number of axes, or no pixels;
        both or none of `scale` and `output_shape` are given, or one is not positive; the border
        is unknown.
    """
    check_array("image", image)
    image = np.asarray(image)  # of JAX
    _check_image(image)
    if border not in ("symmetric", "replicate"):
        raise ValueError(f"border must be 'symmetric' or 'replicate', got {border!r}")
    sizes, scales = _sizes_and_scales(image.shape[:2], scale, output_shape)

    resized = image if image.ndim == 3 else image[..., None]
    for axis in sorted((0, 1), key=scales.__getitem__):  # stable: heights first on a tie
        size, factor = sizes[axis], scales[axis]
        if image.dtype == np.uint8:
            resized = _resize_uint8_axis(resized, axis, size, factor, border)
        else:
            matrix = _resize_matrix(image.shape[axis], size, factor, border)
            resized = resize_axis(resized, axis, matrix)
    return resized.reshape(*resized.shape[:2], *image.shape[2:]).astype(image.dtype, copy=False)


def imresize_rows(
    image: np.ndarray,
    scale: float,
    start: int,
    stop: int,
    *,
    convert: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Computes some rows of `imresize(image, scale)`, bit for bit, at the cost of these rows.

    Args:
      image: image as for `imresize`, or anything that `convert` makes such an image of.
      scale: factor for both axes.
      start: first row of the result.
      stop: row of the result after the last.
      convert: function applied to the rows of the image that the result depends on, and to no
        others; the result is then that of `imresize(convert(image), scale)`.

    Returns:
      `imresize(image, scale)[start:stop]`.

    Raises:
      ValueError: as for `imresize`, or there are no such rows.
    """
    sizes, scales = _sizes_and_scales(image.shape[:2], scale, None)
    start, stop = whole("start", start), whole("stop", stop)
    if not 0 <= start < stop <= sizes[0]:
        raise ValueError(f"rows must be within the {sizes[0]} of the result, got {start} to {stop}")
    heights = _resize_matrix(image.shape[0], sizes[0], scales[0], "symmetric")[start:stop]
    first, last = heights.indices.min(), heights.indices.max() + 1
    rows = image[first:last] if convert is None else convert(image[first:last])
    _check_image(rows)
    heights = scipy.sparse.csr_array(
        (heights.data, heights.indices - first, heights.indptr), shape=(stop - start, last - first)
    )
    resized = resize_axis(rows if rows.ndim == 3 else rows[..., None], 0, heights)
    if rows.dtype == np.uint8:
        resized = _resize_uint8_axis(round_to_uint8(resized), 1, sizes[1], scales[1], "symmetric")
    else:
        widths = _resize_matrix(image.shape[1], sizes[1], scales[1], "symmetric")
        resized = resize_axis(resized, 1, widths)
    return resized.reshape(*resized.shape[:2], *rows.shape[2:]).astype(rows.dtype, copy=False)


def _check_image(image: np.ndarray) -> None:
    if image.ndim not in (2, 3):
        raise ValueError(
            f"image must have shape (H, W) or (H, W, C), got shape {image.shape}; "
            "resize the images of a batch one by one"
        )
    if 0 in image.shape:
        raise ValueError(f"image must have at least one pixel and channel, got {image.shape}")
    if image.dtype not in (np.uint8, np.float32, np.float64):
        raise ValueError(
            f"image must be uint8, float32 or float64, got {image.dtype}; convert it first"
        )


def _sizes_and_scales(
    input_shape: tuple[int, ...], scale: float | None, output_shape: tuple[int, int] | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Returns the output size and the scale factor of each axis."""
    if scale is not None and output_shape is None:
        scale = real("scale", scale, above=0)
        sizes = tuple(max(1, math.ceil(round(scale * size, 9))) for size in input_shape)
        return sizes, (scale, scale)
    if output_shape is not None and scale is None:
        if np.shape(output_shape) != (2,):
            raise ValueError(f"output_shape is {output_shape!r}; it must be (height, width)")
        height, width = (whole("output_shape", size, least=1) for size in output_shape)
        return (height, width), (height / input_shape[0], width / input_shape[1])
    raise ValueError(
        f"give exactly one of scale and output_shape, got scale={scale} and "
        f"output_shape={output_shape}"
    )


def resize_axis(image: np.ndarray, axis: int, matrix: scipy.sparse.csr_array) -> np.ndarray:
    """Resizes one axis of `H W C`; returns float64."""
    moved = np.moveaxis(image, axis, 0).astype(np.float64, order="C")
    resized = matrix @ moved.reshape(moved.shape[0], -1)
    return np.moveaxis(resized.reshape(-1, *moved.shape[1:]), 0, axis)


def round_to_uint8(image: np.ndarray) -> np.ndarray:
    """Clips to 0..255 and rounds to uint8 as MATLAB does: halves go up."""
    return np.floor(image.clip(0, 255) + 0.5).astype(np.uint8)


def _resize_uint8_axis(
    image: np.ndarray, axis: int, out_size: int, scale: float, border: Border
) -> np.ndarray:
    """Resizes one axis of `H W C`, uint8, and rounds; in float32 where that makes no difference."""
    height, width, channels = image.shape
    blocks = None
    if axis == 0 or channels <= _MAX_CHANNELS:
        together = channels if axis else 1
        blocks = _dense_blocks(image.shape[axis], out_size, scale, border, together)
    if blocks is None:
        matrix = _resize_matrix(image.shape[axis], out_size, scale, border)
        return round_to_uint8(resize_axis(image, axis, matrix))
    rows = image.reshape(height, width * channels)
    if axis == 0:
        return multiply_and_round(blocks, rows).reshape(out_size, width, channels)
    return multiply_and_round(blocks, rows.T).T.reshape(height, out_size, channels)


@functools.lru_cache(maxsize=32)
def _dense_blocks(
    in_size: int, out_size: int, scale: float, border: Border, channels: int
) -> Blocks | None:
    return dense_blocks(*_weights(in_size, out_size, scale, border), in_size, channels)


@functools.lru_cache(maxsize=64)
def _resize_matrix(
    in_size: int, out_size: int, scale: float, border: Border
) -> scipy.sparse.csr_array:
    """Returns the `out_size in_size` matrix, float64, that resizes one axis.

    Rows list their weights from left to right, and an input pixel that the border rule meets twice
    is listed twice, so that sums run in MATLAB's order.
    """
    weights, columns = _weights(in_size, out_size, scale, border)
    row_starts = np.arange(out_size + 1, dtype=np.int32) * weights.shape[1]
    matrix = scipy.sparse.csr_array(
        (weights.ravel(), columns.ravel(), row_starts), shape=(out_size, in_size)
    )
    matrix.eliminate_zeros()
    return matrix


def _weights(
    in_size: int, out_size: int, scale: float, border: Border
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights of each output, float64, and of which inputs: `out_size taps`."""
    stretch = min(scale, 1.0)  # below 1: the kernel is widened against aliasing
    support = _SUPPORT / stretch
    # Pixel centres are at integers from 0; the centre of output pixel i seen by the input:
    centre = (np.arange(out_size) + 0.5) / scale - 0.5
    taps = np.floor(centre - support / 2)[:, None] + np.arange(math.ceil(support) + 2)
    weights = cubic((centre[:, None] - taps) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)

    columns = taps.astype(np.int32)
    if border == "symmetric":
        columns %= 2 * in_size
        columns = np.minimum(columns, 2 * in_size - 1 - columns)
    else:
        columns = columns.clip(0, in_size - 1)
    return weights, columns


def cubic(x: np.typing.ArrayLike, a: float = -0.5) -> np.ndarray:
    """Evaluates the cubic convolution kernel of Keys (1981)."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x**2 + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


def bicubic_upsample(x: jax.Array, factor: int) -> jax.Array:
    """Upsamples by a whole factor with MATLAB's bicubic, as `imresize` of a float image.

    Args:
      x: images `B H W C`, floating.
      factor: whole factor, at least 1.

    Returns:
      `B H*factor W*factor C` in the dtype of `x`.

    Raises:
      ValueError: the factor is not a whole number from 1 on.
    """
    factor = whole("factor", factor, least=1)
    return _upsample_axis(_upsample_axis(x, 1, factor), 2, factor)


def _upsample_axis(x: jax.Array, axis: int, factor: int) -> jax.Array:
    """Sums four inputs for each output pixel, with weights that depend on its phase alone."""
    size, reach = x.shape[axis], 2
    padding = [(reach, reach) if i == axis else (0, 0) for i in range(x.ndim)]
    padded = jnp.pad(x, padding, mode="symmetric")
    phases = []
    for phase in range(factor):
        centre = (phase + 0.5) / factor - 0.5
        first = math.floor(centre) - 1
        taps = [
            cubic(centre - tap).item()
            * lax.slice_in_dim(padded, reach + tap, reach + tap + size, axis=axis)
            for tap in range(first, first + 4)
        ]
        phases.append(sum(taps[1:], taps[0]))
    shape = [size * factor if i == axis else n for i, n in enumerate(x.shape)]
    return jnp.stack(phases, axis=axis + 1).reshape(shape)
