"""Array-level helpers for images: luma, cropping, the dihedral group, conversion to uint8.

An image here is an array of shape `... H W C` (any leading axes, channels last) with values in
0..255, either uint8 or floating; three channels mean RGB. Every function takes NumPy and JAX
arrays alike, returns the kind it was given, leaves its input as it is and can be traced by
`jax.jit`. Crops and symmetries keep the dtype, and on NumPy arrays they return views.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.images.arguments import check_array
from lnln_jax.images.products import quiet_products
from lnln_jax.runtime.numbers import whole

ImageT = TypeVar("ImageT", np.ndarray, jax.Array)

# ITU-R BT.601 in studio range: Y = Y_OFFSET + (Y_WEIGHTS . RGB) / 255, 16 black to 235 white.
Y_WEIGHTS = (65.481, 128.553, 24.966)
Y_OFFSET = 16.0

_YCBCR_OFFSET = np.array([Y_OFFSET, 128.0, 128.0])
_YCBCR_FROM_RGB = (
    np.array([Y_WEIGHTS, (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214)]) / 255.0
)


def rgb_to_y(image: ImageT) -> ImageT:
    """Returns the luma of RGB images: ITU-R BT.601, studio range, unrounded.

    The same formula as MATLAB's `rgb2ycbcr`, which super-resolution papers measure with:
    16 + (65.481 R + 128.553 G + 24.966 B) / 255.

    Args:
      image: RGB image, `... H W 3`, uint8 or floating in 0..255.

    Returns:
      Luma in 16..235, `... H W` (the channel axis is gone). Floating input keeps its dtype; uint8
      becomes float64 in NumPy, where the result is exact to rounding, and float32 in JAX.

    Raises:
      ValueError: the image does not have three channels, or is neither uint8 nor floating.
    """
    _check_channels(image)
    _check_dtype(image)
    if image.dtype == np.uint8:
        image = image.astype(np.float64 if isinstance(image, np.ndarray) else np.float32)
    red, green, blue = (image[..., channel] * Y_WEIGHTS[channel] for channel in range(3))
    return Y_OFFSET + (red + green + blue) / 255.0


@quiet_products()
def rgb_to_ycbcr(image: ImageT) -> ImageT:
    """Returns luma and chroma of RGB images: ITU-R BT.601, studio range, unrounded.

    As MATLAB's `rgb2ycbcr`; the first channel is `rgb_to_y`.

    Args:
      image: RGB image, `... H W 3`, floating in 0..255.

    Returns:
      `... H W 3` of the same dtype: Y in 16..235, Cb and Cr in 16..240.

    Raises:
      ValueError: the image does not have three channels, or is not floating.
    """
    _check_rgb(image)
    return image @ _matrix(_YCBCR_FROM_RGB.T, image) + _matrix(_YCBCR_OFFSET, image)


@quiet_products()
def ycbcr_to_rgb(image: ImageT) -> ImageT:
    """Undoes `rgb_to_ycbcr`, up to rounding; neither rounded nor clipped.

    Raises:
      ValueError: the image does not have three channels, or is not floating.
    """
    _check_rgb(image)
    rgb_from_ycbcr = np.linalg.inv(_YCBCR_FROM_RGB).T
    return (image - _matrix(_YCBCR_OFFSET, image)) @ _matrix(rgb_from_ycbcr, image)


def modcrop(image: ImageT, scale: int) -> ImageT:
    """Crops the bottom and the right so that height and width are multiples of `scale`.

    Args:
      image: image, `... H W C`.
      scale: HR size / LR size, at least 1.

    Returns:
      The top left `... H' W' C` with H' = H - H mod scale, W' = W - W mod scale.

    Raises:
      ValueError: scale is below 1 or larger than the image, or the image has under three axes.
    """
    _check_image(image)
    scale = whole("scale", scale)
    height, width = image.shape[-3:-1]
    if not 1 <= scale <= min(height, width):
        raise ValueError(
            f"scale must be between 1 and the shorter side of the image, got scale {scale} for "
            f"{height}x{width}; use a smaller scale or a larger image"
        )
    return image[..., : height - height % scale, : width - width % scale, :]


def dihedral(image: ImageT, index: int) -> ImageT:
    """Applies one of the eight symmetries of the square to the H and W axes.

    The bits of the index say what happens, in this order: 1 mirrors left and right, 2 mirrors top
    and bottom, 4 swaps the H and W axes. Index 0 is the identity.

    Args:
      image: image, `... H W C`; it need not be square.
      index: which symmetry, 0..7; known (not traced) also under `jax.jit`.

    Returns:
      The transformed image: `... H W C` for index 0..3, `... W H C` for index 4..7.

    Raises:
      ValueError: index is not in 0..7, or the image has under three axes.
    """
    _check_image(image)
    index = whole("index", index, least=0, most=7)
    if index & 1:
        image = image[..., ::-1, :]
    if index & 2:
        image = image[..., ::-1, :, :]
    if index & 4:
        image = image.swapaxes(-3, -2)
    return image


def inverse_dihedral(image: ImageT, index: int) -> ImageT:
    """Undoes `dihedral`: `inverse_dihedral(dihedral(image, index), index)` equals `image`.

    Args:
      image: image, `... H W C`, as `dihedral` returned it (or a network's answer to that).
      index: the index given to `dihedral`, 0..7.

    Returns:
      The image turned back: `... H W C` for index 0..3, `... W H C` for index 4..7.

    Raises:
      ValueError: index is not in 0..7, or the image has under three axes.
    """
    _check_image(image)
    index = whole("index", index, least=0, most=7)
    if index & 4:
        image = image.swapaxes(-3, -2)
    return dihedral(image, index & 3)  # the mirrors commute and undo themselves


def to_uint8(image: ImageT) -> ImageT:
    """Rounds to the nearest integer (halves to even), clips to 0..255 and converts to uint8.

    Args:
      image: array of any shape, floating (values outside 0..255 are clipped) or uint8.

    Returns:
      uint8 array of the same shape; uint8 input comes back as it is.

    Raises:
      ValueError: the array is neither uint8 nor floating.
    """
    _check_dtype(image)
    if image.dtype == np.uint8:
        return image
    return image.round().clip(0, 255).astype(np.uint8)


def to_float32(image: np.ndarray) -> np.ndarray:
    """Returns samples as float32 in 0..255; a uint16 value v becomes v / 257.

    Args:
      image: array of any shape, uint8, uint16 or float32, which comes back as it is.

    Raises:
      ValueError: the array has another dtype.
    """
    check_array("image", image)
    if image.dtype == np.uint16:
        return image.astype(np.float32) / np.float32(257)
    if image.dtype == np.uint8:
        return image.astype(np.float32)
    if image.dtype != np.float32:
        raise ValueError(f"image must be uint8, uint16 or float32, got {image.dtype}")
    return image


def from_float32(image: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Undoes `to_float32`, rounded (halves to even) and clipped to the range of an integer dtype.

    Args:
      image: array of any shape, float32; values outside 0..255 are clipped.
      dtype: uint8, uint16, or float32, which returns the array as it is.

    Raises:
      ValueError: another dtype.
    """
    check_array("image", image)
    if dtype == np.uint8:
        return to_uint8(image)
    if dtype == np.uint16:
        return (image.clip(0, 255) * np.float32(257)).round().astype(np.uint16)
    if dtype != np.float32:
        raise ValueError(f"dtype must be uint8, uint16 or float32, got {np.dtype(dtype)}")
    return image


def _check_image(image: np.ndarray | jax.Array) -> None:
    check_array("image", image)
    if image.ndim < 3:
        raise ValueError(
            f"image must have shape (..., H, W, C), got shape {image.shape}; "
            "give a grayscale image a channel axis: image[..., None]"
        )


def _check_channels(image: np.ndarray | jax.Array) -> None:
    _check_image(image)
    if image.shape[-1] != 3:
        raise ValueError(
            f"image must have 3 channels (RGB) on its last axis, got shape {image.shape}; "
            "a one-channel image is its own luma"
        )


def _check_rgb(image: np.ndarray | jax.Array) -> None:
    _check_channels(image)
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"image must be floating with values in 0..255, got dtype {image.dtype}; "
            "convert it first"
        )


def _matrix(values: np.ndarray, image: ImageT) -> ImageT:
    """Constants as the kind of array, and in the dtype, of the image."""
    if isinstance(image, np.ndarray):
        return values.astype(image.dtype)
    return jnp.asarray(values, image.dtype)


def _check_dtype(image: np.ndarray | jax.Array) -> None:
    check_array("image", image)
    if image.dtype != np.uint8 and not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"image must be uint8 or floating with values in 0..255, got dtype {image.dtype}; "
            "convert it first"
        )
