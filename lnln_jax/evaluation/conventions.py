"""PSNR and SSIM of one result under every convention that papers use, from one pass over it.

A convention is what the images are compared in (luma of several kinds, or RGB) and how many pixels
of each border are left out. Squares of errors and similarities are made once for each plane of the
whole image; a border is then left out of these maps, which is the same as leaving it out of the
images. All arithmetic is float64 in NumPy: images of many sizes would each be compiled for JAX.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lnln_jax.images.arrays import Y_OFFSET, Y_WEIGHTS
from lnln_jax.images.metrics import C1, C2, PEAK, WINDOW
from lnln_jax.images.resize import round_to_uint8

_STUDIO = np.array(Y_WEIGHTS) / 255.0
_FULL_RANGE = np.array([0.299, 0.587, 0.114])  # BT.601 without offset, as JPEG has it
_STRIP_HEIGHT = 64  # of rows whose sums stay in the cache
_REACH = len(WINDOW) // 2
_SWAPPED = "of images whose red and blue were swapped (OpenCV reads BGR)"


class Colours(NamedTuple):
    """What images are compared in.

    Attributes:
      name: name in tables.
      users: who measures so.
    """

    name: str
    users: str


COLOURS = (
    Colours("Y", "MATLAB's rgb2ycbcr of im2double images, EDSR's and BasicSR's code: most papers"),
    Colours("Y, rounded", "MATLAB's rgb2ycbcr of uint8 images: SRCNN's code"),
    Colours("full-range Y", "gray or YCbCr of torchvision and kornia"),
    Colours(
        "full-range Y, rounded",
        "OpenCV's gray or YCrCb, Pillow's L or YCbCr (to 0.001 dB, as their weights are rounded)",
    ),
    Colours("Y of BGR", f"Y {_SWAPPED}"),
    Colours("Y of BGR, rounded", f"rounded Y {_SWAPPED}"),
    Colours("full-range Y of BGR", f"full-range Y {_SWAPPED}"),
    Colours("full-range Y of BGR, rounded", f"OpenCV's or Pillow's Y {_SWAPPED}"),
    Colours("RGB", "error averaged over the channels: DIV2K and NTIRE"),
    Colours("RGB, mean of channels", "PSNR of each channel, averaged"),
)
AS_STORED = (
    Colours("Y, gray as it is", "as Y, but gray images are compared as they are stored"),
    Colours("Y, rounded, gray as it is", "SRCNN's code: rounded Y, but gray images as stored"),
)
_AS_STORED_OTHERWISE = [0, 1]  # rows of COLOURS that AS_STORED are for other than gray images
_GRAY_ITSELF = 2  # row of COLOURS in which a gray image is what it was


def measure(sr: np.ndarray, hr: np.ndarray, shaves: Sequence[int], *, gray: bool) -> np.ndarray:
    """Measures one result under every convention.

    Args:
      sr: result to judge, uint8 `H W 3`.
      hr: original, likewise.
      shaves: numbers of pixels to leave out at each border.
      gray: whether the file of the original stores one channel.

    Returns:
      PSNR in dB and SSIM, float64, by colours (`COLOURS`, then `AS_STORED`), shave, and metric:
      `12 len(shaves) 2`. PSNR is infinite for identical images; what shaving leaves nothing of is
      NaN.

    Raises:
      ValueError: the images are smaller than the 11x11 pixels that SSIM needs.
    """
    height, width = hr.shape[:2]
    if min(height, width) < len(WINDOW):
        raise ValueError(
            f"images must be of 11x11 pixels or more for SSIM, got {width}x{height}; give larger "
            "ones"
        )
    lumas = zip(_lumas(sr), _lumas(hr), strict=True)
    channels = zip(np.moveaxis(sr, -1, 0), np.moveaxis(hr, -1, 0), strict=True)
    rows = np.array([_scores(*pair, shaves) for pair in (*lumas, *channels)])
    errors, similarities = rows[..., 0], rows[..., 1]
    of_rgb = [_psnr(errors[-3:].mean(axis=0)), _psnr(errors[-3:]).mean(axis=0)]
    psnr = np.concatenate([_psnr(errors[:-3]), of_rgb])
    ssim = np.concatenate([similarities[:-3], [similarities[-3:].mean(axis=0)] * 2])
    scores = np.stack([psnr, ssim], axis=-1)
    as_stored = scores[[_GRAY_ITSELF] * 2] if gray else scores[_AS_STORED_OTHERWISE]
    return np.concatenate([scores, as_stored])


def _psnr(errors: np.ndarray) -> np.ndarray:
    """Returns the PSNR of mean squared errors."""
    with np.errstate(divide="ignore"):  # of identical images
        return 10.0 * np.log10(PEAK**2 / errors)


def _lumas(image: np.ndarray) -> list[np.ndarray]:
    """Returns the lumas of an RGB image, `H W` each, in the order of `COLOURS`."""
    lumas = []
    for rgb in (image, image[..., ::-1]):
        for weights, offset in ((_STUDIO, Y_OFFSET), (_FULL_RANGE, 0.0)):
            luma = offset + sum(rgb[..., i] * weights[i] for i in range(3))
            lumas += [luma, round_to_uint8(luma)]
    return lumas


def _scores(sr: np.ndarray, hr: np.ndarray, shaves: Sequence[int]) -> list[tuple[float, float]]:
    """Returns the mean squared error and SSIM of two planes for each shave."""
    difference = sr.astype(np.float64) - hr
    total = difference + 2.0 * hr
    reach = len(WINDOW) - 1
    similarity = np.empty([size - reach for size in sr.shape])
    for start in range(0, len(similarity), _STRIP_HEIGHT):
        strip = slice(start, start + _STRIP_HEIGHT)
        seen = slice(start, start + _STRIP_HEIGHT + reach)
        similarity[strip] = _similarity(difference[seen], total[seen])
    squares = difference**2
    return [(_inner_mean(squares, shave), _inner_mean(similarity, shave)) for shave in shaves]


def _inner_mean(values: np.ndarray, shave: int) -> float:
    height, width = values.shape
    inner = values[shave : height - shave, shave : width - shave]
    return float(inner.mean()) if inner.size else np.nan


def _similarity(difference: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Returns the structural similarity of each window, `H-10 W-10`, as `images.metrics.ssim` does.

    Args:
      difference: difference of two planes, `H W`, float64.
      total: their sum.
    """
    mean_d, mean_s = _windowed(difference), _windowed(total)
    variance_d = _windowed(difference**2) - mean_d**2
    variance_s = _windowed(total**2) - mean_s**2
    a = 2.0 * mean_d**2 / (mean_s**2 + mean_d**2 + 2.0 * C1)
    b = 2.0 * variance_d / (variance_s + variance_d + 2.0 * C2)
    return (1.0 - a) * (1.0 - b)


def _windowed(plane: np.ndarray) -> np.ndarray:
    """Returns the Gaussian-weighted mean of each window that fits in: `H-10 W-10`."""
    for _ in range(2):  # rows, then columns; the window is symmetric
        size = len(plane) - 2 * _REACH
        mean = WINDOW[_REACH] * plane[_REACH : _REACH + size]
        for i in range(_REACH):
            mean += WINDOW[i] * (plane[i : i + size] + plane[2 * _REACH - i :][:size])
        plane = mean.T
    return plane
