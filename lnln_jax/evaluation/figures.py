"""Figures that compare methods on a detail of an image, as papers print them.

An image here is a uint8 `H W 3` array; a box is (top, left, height, width) in its pixels.
`figure_picture` draws figures as one picture, `figure_page` as a page with a before/after slider.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lnln_jax.images.arrays import rgb_to_y

Box = tuple[int, int, int, int]

ORIGINAL = "original"
NO_SCORE = "–"

_LARGEST_CROP = 320  # the longer side of an enlarged crop, unless the box itself is longer


@dataclass(frozen=True, eq=False)
class Method:
    """One column of a figure.

    Attributes:
      name: name such as "bicubic" or "LNLN".
      image: whole SR image, uint8 `H W 3` like the original.
      psnr: PSNR in dB, as the evaluation measured it; None where there is none.
      ssim: SSIM, likewise.

    Raises:
      ValueError: a score is NaN.
    """

    name: str
    image: np.ndarray
    psnr: float | None
    ssim: float | None

    def __post_init__(self) -> None:
        for field, value in (("psnr", self.psnr), ("ssim", self.ssim)):
            if value is not None and math.isnan(value):
                raise ValueError(f"{field} of {self.name} is NaN; give None where there is none")


@dataclass(frozen=True, eq=False)
class Figure:
    """One image, what methods made of it, and the detail to look at.

    Attributes:
      name: name such as "Set14 x2, barbara".
      hr: original, uint8 `H W 3`.
      methods: one method or more, in the order of display.
      box: detail, inside `hr`.

    Raises:
      ValueError: an image that is not uint8 `H W 3` or differs from `hr` in size, no methods, or a
        box that leaves the image.
    """

    name: str
    hr: np.ndarray
    methods: tuple[Method, ...]
    box: Box

    def __post_init__(self) -> None:
        _check_images(self.hr, self.methods)
        top, left, height, width = self.box
        if min(top, left, height - 1, width - 1) < 0 or (
            top + height > self.hr.shape[0] or left + width > self.hr.shape[1]
        ):
            raise ValueError(
                f"box is {self.box}, which does not lie inside an image of {self.hr.shape[:2]}; "
                "give top, left, height and width"
            )

    @property
    def columns(self) -> tuple[Method, ...]:
        """The methods, and the original after them."""
        return (*self.methods, Method(ORIGINAL, self.hr, None, None))


def default_box(hr: np.ndarray, methods: Sequence[Method]) -> Box:
    """Finds the square, a sixth of the shorter side, where the methods differ most.

    The difference is the variance of luma among the methods that have a PSNR (all of them where
    none has one), summed over the square; a single method is compared with the original.

    Args:
      hr: original, uint8 `H W 3`.
      methods: one method or more, with images of the size of `hr`.

    Raises:
      ValueError: images that no `Figure` takes.
    """
    _check_images(hr, methods)
    compared = [m.image for m in methods if m.psnr is not None] or [m.image for m in methods]
    if len(compared) == 1:
        compared.append(hr)
    total, squares = np.zeros(hr.shape[:2]), np.zeros(hr.shape[:2])
    for image in compared:
        luma = rgb_to_y(image)
        total += luma
        squares += luma * luma
    variance = squares / len(compared) - (total / len(compared)) ** 2
    side = max(1, round(min(variance.shape) / 6))
    sums = np.pad(variance, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(top), int(left), side, side


def crop_factor(box: Box) -> int:
    """Returns by how much the inside of a box is enlarged."""
    return max(1, _LARGEST_CROP // max(box[2:]))


def enlarged_crop(image: np.ndarray, box: Box) -> np.ndarray:
    """Cuts out the inside of the box and makes each of its pixels a square of `crop_factor`."""
    top, left, height, width = box
    factor = crop_factor(box)
    crop = image[top : top + height, left : left + width]
    return crop.repeat(factor, axis=0).repeat(factor, axis=1)


class ShownScore(NamedTuple):
    """A score as text, and whether no other method's text has a larger value."""

    text: str
    best: bool


def shown_scores(methods: Sequence[Method]) -> list[tuple[ShownScore, ShownScore]]:
    """Formats PSNR and SSIM of each method as tables do; the best of two or more is marked."""
    psnr = _shown([m.psnr for m in methods], digits=2)
    ssim = _shown([m.ssim for m in methods], digits=4)
    return list(zip(psnr, ssim, strict=True))


def _check_images(hr: np.ndarray, methods: Sequence[Method]) -> None:
    if hr.ndim != 3 or hr.shape[2] != 3 or hr.size == 0 or hr.dtype != np.uint8:
        raise ValueError(f"hr must be uint8 of shape (H, W, 3), got {hr.dtype} {hr.shape}")
    if not methods:
        raise ValueError("methods is empty; give at least one")
    for method in methods:
        if method.image.shape != hr.shape or method.image.dtype != np.uint8:
            raise ValueError(
                f"the image of {method.name} is {method.image.dtype} {method.image.shape}, but hr "
                f"is uint8 {hr.shape}; give SR and HR of one image"
            )


def _shown(values: Sequence[float | None], digits: int) -> list[ShownScore]:
    rounded = [None if value is None else round(value, digits) for value in values]
    present = [value for value in rounded if value is not None]
    best = max(present) if len(present) > 1 else None
    return [
        ShownScore(NO_SCORE, False)
        if value is None
        else ShownScore(f"{value:.{digits}f}", value == best)
        for value in rounded
    ]
