"""PSNR and SSIM as super-resolution papers measure them, in JAX.

Both compare two images of the same shape with values in 0..255 (peak 255), uint8 or floating:
`H W`, `H W C` or `B H W C` with one channel or three (RGB). Both return one float32 scalar per
image: shape `()`, or `(B,)` for a batch. They run on JAX's default device and are compiled once
per shape; they can also be called inside `jax.jit`.

All arithmetic is float32, and the values still agree with float64 to about 1e-5 dB and 1e-7 SSIM,
because no step subtracts two large, nearly equal numbers: errors come from the difference of the
images, variances from distances to the pixel in the middle, and XLA's reductions sum in trees.
There are no products that a GPU would run in TF32.

Floating images whose values all lie in 0..1 get a UserWarning, for they are most likely in another
range: the PSNR would be 48 dB too high. Inside `jax.jit` no values are known, and none is given.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.images.arguments import check_array, warn_of_unit_range
from lnln_jax.images.arrays import Y_OFFSET, Y_WEIGHTS
from lnln_jax.runtime.numbers import whole

ImageLike = np.ndarray | jax.Array

_IMAGE_AXES = (-3, -2, -1)  # C H W, as the images are laid out inside
PEAK = 255.0
_WINDOW_SIZE = 11
WINDOW = np.exp(-0.5 * ((np.arange(_WINDOW_SIZE) - _WINDOW_SIZE // 2) / 1.5) ** 2)  # of SSIM
WINDOW /= WINDOW.sum()
_STRIP_HEIGHT = 64
C1 = (0.01 * PEAK) ** 2
C2 = (0.03 * PEAK) ** 2


def psnr(sr: ImageLike, hr: ImageLike, *, shave: int = 0, y_channel: bool = True) -> jax.Array:
    """Returns the peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared error).

    Args:
      sr: image or batch to judge, `H W`, `H W C` or `B H W C` with C 1 or 3, uint8 or floating in
        0..255. A floating image is neither rounded nor clipped.
      hr: original, of the same shape; the dtype may differ.
      shave: pixels to leave out at each of the four borders, usually the scale factor.
      y_channel: whether to measure RGB images on their luma (see `arrays.rgb_to_y`), which is not
        rounded. Otherwise the error is averaged over all channels.

    Returns:
      PSNR of each image, float32, `()` or `(B,)`; infinite for identical images.

    Raises:
      ValueError: an image is not an array, shapes differ or are not one of the above, a dtype is
        neither uint8 nor floating, `shave` is not a whole number from 0 on, or shaving leaves no
        pixels.
    """
    shave = _checked_shave(sr, hr, shave=shave, min_size=1)
    warn_of_unit_range(sr=sr, hr=hr, stacklevel=2)
    return _psnr(sr, hr, shave=shave, y_channel=y_channel)


def ssim(sr: ImageLike, hr: ImageLike, *, shave: int = 0, y_channel: bool = True) -> jax.Array:
    """Returns the mean structural similarity (Wang et al., 2004).

    An 11x11 Gaussian window of sigma 1.5 at all positions where it fits into the (shaved) image,
    K1 = 0.01, K2 = 0.03, window-weighted (biased) variances, as in the authors' `ssim.m`.

    Args:
      sr: image or batch to judge, `H W`, `H W C` or `B H W C` with C 1 or 3, uint8 or floating in
        0..255. A floating image is neither rounded nor clipped.
      hr: original, of the same shape; the dtype may differ.
      shave: pixels to leave out at each of the four borders, usually the scale factor.
      y_channel: whether to measure RGB images on their luma (see `arrays.rgb_to_y`), which is not
        rounded. Otherwise the result is the mean over the channels, each measured alone.

    Returns:
      SSIM of each image, float32, `()` or `(B,)`; exactly 1 for identical images.

    Raises:
      ValueError: an image is not an array, shapes differ or are not one of the above, a dtype is
        neither uint8 nor floating, `shave` is not a whole number from 0 on, or shaving leaves less
        than the window's 11x11 pixels.
    """
    shave = _checked_shave(sr, hr, shave=shave, min_size=_WINDOW_SIZE)
    warn_of_unit_range(sr=sr, hr=hr, stacklevel=2)
    return _ssim(sr, hr, shave=shave, y_channel=y_channel)


@functools.partial(jax.jit, static_argnames=("shave", "y_channel"))
def _psnr(sr: jax.Array, hr: jax.Array, *, shave: int, y_channel: bool) -> jax.Array:
    difference, _ = _difference_and_sum(sr, hr, shave, y_channel)
    return 10.0 * jnp.log10(PEAK**2 / jnp.mean(difference**2, axis=_IMAGE_AXES))


@functools.partial(jax.jit, static_argnames=("shave", "y_channel"))
def _ssim(sr: jax.Array, hr: jax.Array, *, shave: int, y_channel: bool) -> jax.Array:
    """Computes SSIM from the difference d and the sum s of the two images.

    With 2 xy = (s^2 - d^2) / 2 and x^2 + y^2 = (s^2 + d^2) / 2, for means as for (co)variances, the
    two factors of SSIM are 1 - a and 1 - b, where

      a = 2 mean(d)^2 / (mean(s)^2 + mean(d)^2 + 2 C1),
      b = 2 var(d)    / (var(s)    + var(d)    + 2 C2).

    Rounding errors are then relative to the dissimilarity, and there is no covariance to compute.
    """
    pair = jnp.stack(_difference_and_sum(sr, hr, shave, y_channel))
    height, width = (size - _WINDOW_SIZE + 1 for size in pair.shape[-2:])
    strip_height = min(_STRIP_HEIGHT, height)
    row = jnp.arange(strip_height)[:, None]

    def add_strip(i: jax.Array, total: jax.Array) -> jax.Array:
        start = jnp.minimum(i * strip_height, height - strip_height)
        strip = jax.lax.dynamic_slice_in_dim(pair, start, strip_height + _WINDOW_SIZE - 1, axis=-2)
        (mean_d, mean_s), (variance_d, variance_s) = _windowed_mean_and_variance(strip)
        a = 2.0 * mean_d**2 / (mean_s**2 + mean_d**2 + 2.0 * C1)
        b = 2.0 * variance_d / (variance_s + variance_d + 2.0 * C2)
        # The last strip begins early, with rows of the one before.
        return total + jnp.where(start + row >= i * strip_height, a + b - a * b, 0.0)

    # In strips the values between the passes stay in the cache of a CPU.
    nothing = jnp.zeros((*pair.shape[1:-2], strip_height, width), jnp.float32)
    total = jax.lax.fori_loop(0, -(-height // strip_height), add_strip, nothing)
    return 1.0 - jnp.sum(total, axis=_IMAGE_AXES) / (pair.shape[-3] * height * width)


def _difference_and_sum(
    sr: jax.Array, hr: jax.Array, shave: int, y_channel: bool
) -> tuple[jax.Array, jax.Array]:
    """Returns sr - hr and sr + hr of the shaved images or of their luma: `... C H W`, float32."""
    sr, hr = _shaved_planes(sr, shave), _shaved_planes(hr, shave)
    difference, total = sr - hr, sr + hr
    if y_channel and sr.shape[-3] == 3:
        # Luma is affine: taking it afterwards spares the difference the rounding of two lumas.
        difference, total = _luma(difference), _luma(total) + 2.0 * Y_OFFSET
    return difference, total


def _shaved_planes(image: jax.Array, shave: int) -> jax.Array:
    """Returns the inner pixels of `H W` or `... H W C` as `... C H W`, float32."""
    planes = image[None] if image.ndim == 2 else jnp.moveaxis(image, -1, -3)
    height, width = planes.shape[-2:]
    planes = planes[..., shave : height - shave, shave : width - shave]
    return planes.astype(jnp.float32)


def _luma(planes: jax.Array) -> jax.Array:
    """Returns the luma of RGB planes, without its offset: `... 3 H W` to `... 1 H W`."""
    red, green, blue = (planes[..., i : i + 1, :, :] * Y_WEIGHTS[i] for i in range(3))
    return (red + green + blue) / 255.0


def _windowed_mean_and_variance(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns Gaussian-weighted mean and biased variance of each window: `... H-10 W-10`.

    The variance follows from the law of total variance, mean(row variances) + var(row means), so
    the window stays separable.
    """
    row_mean, row_variance = _mean_and_variance(x, jnp.zeros_like(x), axis=-1)
    return _mean_and_variance(row_mean, row_variance, axis=-2)


def _mean_and_variance(
    x: jax.Array, within: jax.Array, *, axis: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the weighted mean of x, and its variance plus the mean of `within`, along an axis.

    Both come from the distances u to the window's central pixel: mean(x) = centre + mean(u) and
    var(x) = mean(u^2) - mean(u)^2. This difference does not cancel: the central pixel, of weight
    w = 0.27, is itself mean(u) away from the mean, hence var(x) is at least w mean(u^2).
    """
    weights = WINDOW.tolist()
    positions = x.shape[axis] - _WINDOW_SIZE + 1

    def pixel(of: jax.Array, i: int) -> jax.Array:
        return jax.lax.slice_in_dim(of, i, i + positions, axis=axis)

    last, middle = _WINDOW_SIZE - 1, _WINDOW_SIZE // 2
    centre = pixel(x, middle)
    mean = jnp.zeros_like(centre)
    mean_square = weights[middle] * pixel(within, middle)
    for i in range(middle):  # the window is symmetric
        left, right = pixel(x, i) - centre, pixel(x, last - i) - centre
        mean += weights[i] * (left + right)
        mean_square += weights[i] * (
            left**2 + right**2 + pixel(within, i) + pixel(within, last - i)
        )
    return centre + mean, mean_square - mean**2


def _checked_shave(sr: ImageLike, hr: ImageLike, *, shave: int, min_size: int) -> int:
    """Checks the arguments of a metric, and returns `shave` as Python's number."""
    for name, image in (("sr", sr), ("hr", hr)):
        check_array(name, image)
    shape = sr.shape
    if hr.shape != shape:
        raise ValueError(
            f"sr and hr must have the same shape, got {shape} and {hr.shape}; "
            "modcrop hr to a multiple of the scale, and give both the same channels"
        )
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"sr and hr must be H W, H W C or B H W C, got shape {shape}")
    if len(shape) > 2 and shape[-1] not in (1, 3):
        raise ValueError(
            f"sr and hr must have 1 or 3 channels on the last axis, got shape {shape}; "
            "give a batch of grayscale images a channel axis: image[..., None]"
        )
    for name, dtype in (("sr", sr.dtype), ("hr", hr.dtype)):
        if dtype != np.uint8 and not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"{name} must be uint8 or floating with values in 0..255, got dtype {dtype}; "
                "convert it first"
            )
    height, width = shape if len(shape) == 2 else shape[-3:-1]
    shave = whole("shave", shave, least=0)
    if min(height, width) - 2 * shave < min_size:
        raise ValueError(
            f"shave must leave {min_size}x{min_size} pixels or more, got shave {shave} for "
            f"{height}x{width}; use a smaller shave or a larger image"
        )
    return shave
