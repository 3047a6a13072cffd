"""The degradations of super-resolution benchmarks: how an LR image is made from an HR image.

Besides bicubic shrinking there are two that papers report, both mostly at scale 3: BD, blur and
direct downsampling, and DN, bicubic and noise (IRCNN, Zhang et al., CVPR 2017; SRMD, Zhang et al.,
CVPR 2018; RDN, Zhang et al., CVPR 2018; RCAN, Zhang et al., ECCV 2018). JPEG has no settled
protocol; the one here is bicubic and compression.
"""

import io
import math
import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from lnln_jax.images.arrays import to_uint8
from lnln_jax.images.resize import imresize
from lnln_jax.runtime.numbers import real, whole

Kind = Literal["bicubic", "bd", "dn", "jpeg"]
# Which field is whose strength.
STRENGTHS = {"bd": "blur_sigma", "dn": "noise_level", "jpeg": "jpeg_quality"}

# Far above what float64 sums in one order or another differ by, far below any other distance.
_TIE = 1e-9


@dataclass(frozen=True)
class Degradation:
    """A degradation and its strength; the defaults are those of the benchmarks.

    Attributes:
      kind: "bicubic"; "bd", Gaussian blur and direct downsampling; "dn", bicubic and Gaussian
        noise; "jpeg", bicubic and JPEG compression.
      blur_sigma: standard deviation of the blur of "bd" in HR pixels, 0.1..20.
      noise_level: standard deviation of the noise of "dn" in units of 0..255, above 0, up to 255.
      jpeg_quality: Pillow's quality of "jpeg", 1..100; above 95 files grow and hardly improve.

    A strength that the kind has no use for goes back to its default.

    Raises:
      ValueError: a value is not one of these, whether or not the kind uses it.
    """

    kind: Kind = "bicubic"
    blur_sigma: float = 1.6
    noise_level: float = 30.0
    jpeg_quality: int = 40

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        for name, value in (
            ("blur_sigma", real("blur_sigma", self.blur_sigma)),
            ("noise_level", real("noise_level", self.noise_level)),
            ("jpeg_quality", whole("jpeg_quality", self.jpeg_quality)),
        ):
            object.__setattr__(self, name, value)
        if not 0.1 <= self.blur_sigma <= 20:
            raise ValueError(
                f"blur_sigma must be between 0.1 and 20 HR pixels, got {self.blur_sigma}; "
                "benchmarks use 1.6"
            )
        if not 0 < self.noise_level <= 255:
            raise ValueError(
                f"noise_level must be above 0 and at most 255, got {self.noise_level}; benchmarks "
                "use 30, and kind 'bicubic' is the one without noise"
            )
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(
                f"jpeg_quality must be a whole number between 1 and 100, got {self.jpeg_quality}; "
                "95 is the highest that is of use"
            )
        # So that equal degradations are equal.
        for kind, name in STRENGTHS.items():
            if kind != self.kind:
                object.__setattr__(self, name, getattr(type(self), name))

    @property
    def label(self) -> str:
        """Short name for datasets and tables: "bicubic", "bd1.6", "dn30", "jpeg40".

        Degradations that differ in what they do differ in their labels.
        """
        if self.kind not in STRENGTHS:
            return self.kind
        strength = getattr(self, STRENGTHS[self.kind])
        return self.kind + repr(float(strength)).removesuffix(".0")


BICUBIC = Degradation()


def degrade(hr: np.ndarray, scale: int, degradation: Degradation = BICUBIC) -> np.ndarray:
    """Makes the LR image of an HR image. Nothing is random: equal arguments give equal images.

    - "bicubic": `imresize(hr, 1 / scale)`.
    - "bd": blurs with a normalized Gaussian kernel, the border pixels repeated, keeps one pixel of
      each block of `scale x scale`, and rounds, halves up. As in the MATLAB scripts of IRCNN, RDN
      and RCAN, an odd scale has a kernel of odd size n = 2 ceil(3 sigma) + 1 (but 7 for scale 3
      with sigma 1.6, the benchmark) and keeps the middle of the block; an even scale has
      n = 2 ceil(3 sigma) + 2 and a kernel centred between the pixels, on the middle of the block.
      So pixels lie where bicubic shrinking has them, at every scale. MATLAB may break exact ties
      otherwise (its order of summation is not documented); they are rare in photographs.
    - "dn": the bicubic LR image, plus independent Gaussian noise in every channel of every pixel,
      rounded and clipped. The seed is the CRC-32 of the HR pixels with their shape and the scale,
      so an image has its noise whatever the machine, the order and the number of workers, and
      another image another noise; two noise levels scale the same noise. (The public scripts draw
      from MATLAB's generator: these are not their very images.) A release of NumPy with another
      normal generator would change the noise.
    - "jpeg": the bicubic LR image, encoded and decoded as a baseline JPEG with 4:2:0 chroma, which
      is Pillow's default.

    Args:
      hr: RGB image, uint8 `H W 3`; H and W are multiples of `scale`. Its memory layout has no
        effect.
      scale: HR size / LR size, at least 1.
      degradation: how the LR image is made.

    Returns:
      uint8 `H/scale W/scale 3`.

    Raises:
      ValueError: `hr` or `scale` is not as described.
    """
    scale = whole("scale", scale)
    _check(hr, scale)
    if degradation.kind == "bd":
        return _blur_down(hr, scale, degradation.blur_sigma)
    lr = imresize(hr, 1 / scale)
    if degradation.kind == "dn":
        seed = (zlib.crc32(hr.tobytes()), *hr.shape, scale)
        noise = np.random.default_rng(seed).standard_normal(lr.shape)
        return to_uint8(lr + degradation.noise_level * noise)
    if degradation.kind == "jpeg":
        return _compress(lr, degradation.jpeg_quality)
    return lr


def _check(hr: np.ndarray, scale: int) -> None:
    if hr.dtype != np.uint8 or hr.ndim != 3 or hr.shape[2] != 3 or 0 in hr.shape:
        raise ValueError(
            f"hr must be uint8 of shape (H, W, 3), RGB with at least one pixel, got {hr.dtype} of "
            f"shape {hr.shape}; convert it first"
        )
    if scale < 1:
        raise ValueError(f"scale must be at least 1 (HR size / LR size), got {scale}")
    if hr.shape[0] % scale or hr.shape[1] % scale:
        raise ValueError(
            f"the sides of hr must be multiples of scale {scale}, got {hr.shape[0]}x{hr.shape[1]}; "
            "crop it first: lnln_jax.images.arrays.modcrop(hr, scale)"
        )


def _blur_down(hr: np.ndarray, scale: int, sigma: float) -> np.ndarray:
    weights = _gaussian(scale, sigma)
    heights = _blur_down_axis(hr, scale, weights)
    blurred = _blur_down_axis(heights.swapaxes(0, 1), scale, weights).swapaxes(0, 1)
    # An even kernel on the middle of a step edge gives a tie that rounding errors must not break.
    return np.floor(blurred + (0.5 + _TIE)).astype(np.uint8, order="C")


def _gaussian(scale: int, sigma: float) -> np.ndarray:
    """Returns one axis of the kernel of BD, float64 `n`: its size is odd or even as the scale is.

    The square kernel is the outer product of this one with itself.
    """
    is_benchmark = scale == 3 and sigma == 1.6
    size = 7 if is_benchmark else 2 * math.ceil(3 * sigma) + 2 - scale % 2
    offsets = np.arange(size) - (size - 1) / 2
    weights = np.exp(-((offsets / sigma) ** 2) / 2)
    return weights / weights.sum()


def _blur_down_axis(image: np.ndarray, scale: int, weights: np.ndarray) -> np.ndarray:
    """Blurs along the first axis, only where a pixel is kept; returns float64 `H/scale W 3`."""
    height, size = image.shape[0], len(weights)
    margin = size // 2
    padded = np.pad(image, [(margin, margin), (0, 0), (0, 0)], mode="edge")
    first = margin + (scale - size) // 2  # centres a window of `size` pixels on the first block
    blurred = np.zeros((height // scale, *image.shape[1:]))
    for tap, weight in enumerate(weights, first):
        blurred += weight * padded[tap : tap + height : scale]
    return blurred


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(file, formats=["JPEG"]) as decoded:
        return np.array(decoded)
