"""Overlapping sub-images of images, with the LR images that belong to them.

LR images are made from the whole image and cut afterwards, so that a sub-image's LR pixels know
what lies beyond its borders, exactly as patches of the whole image would. Sub-images begin at
multiples of every scale, where HR and LR pixels meet.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.images.arrays import modcrop
from lnln_jax.runtime import numbers

PATCH = 48  # the LR patch that the defaults are made for


class SubImage(NamedTuple):
    """A part of an image, or all of it.

    Attributes:
      top: first row in the image, in HR pixels.
      left: first column in the image.
      hr: HR pixels, uint8 `H W 3`.
      lr: LR pixels for each scale, uint8 `H/scale W/scale 3`.
    """

    top: int
    left: int
    hr: np.ndarray
    lr: dict[int, np.ndarray]


@dataclass(frozen=True)
class Cut:
    """How images are cut.

    Attributes:
      scales: scales of the LR images that are made.
      size: side of the sub-images in HR pixels; a shorter side of an image is taken whole.
      step: from one sub-image to the next; 0 stands for `size` - 48 * the largest scale, with which
        every HR patch of 48 LR pixels lies whole in one of them.
      min_side: an image with a shorter side is too small; 0 stands for 48 * the largest scale.
      degradation: how LR images are made.

    Raises:
      ValueError: an argument is out of its range, or `size` or `step` not a multiple of the scales.
    """

    scales: tuple[int, ...] = (2,)
    size: int = 480
    step: int = 0
    min_side: int = 0
    degradation: Degradation = BICUBIC

    def __post_init__(self) -> None:
        scales = tuple(sorted({numbers.whole("scales", scale, least=1) for scale in self.scales}))
        if not scales:
            raise ValueError("scales are empty; give one or more whole numbers from 1 on")
        for name in ("size", "step", "min_side"):
            object.__setattr__(self, name, numbers.whole(name, getattr(self, name)))
        object.__setattr__(self, "scales", scales)
        patch = PATCH * scales[-1]
        if self.step == 0:
            object.__setattr__(self, "step", self.size - patch)
        if self.min_side == 0:
            object.__setattr__(self, "min_side", patch)
        unit = self.unit
        for name in ("size", "step"):
            value = getattr(self, name)
            if value < unit or value % unit:
                near = max(unit, round(value / unit) * unit)
                raise ValueError(
                    f"{name} is {value}; it must be a multiple of {unit}, to meet the LR pixels of "
                    f"all scales, such as {near}"
                )
        if self.step > self.size:
            raise ValueError(
                f"step is {self.step} and size {self.size}; a larger step would leave gaps"
            )
        if not unit <= self.min_side <= self.size:
            raise ValueError(
                f"min_side is {self.min_side}; it must be from {unit} to the size, {self.size}"
            )

    @property
    def unit(self) -> int:
        """Least common multiple of the scales, of which positions are multiples."""
        return math.lcm(*self.scales)

    @property
    def label(self) -> str:
        """Name such as x2_480_384 or x2-x3-x4_480_288_bd1.6."""
        scales = "-".join(f"x{scale}" for scale in self.scales)
        label = f"{scales}_{self.size}_{self.step}"
        return label if self.degradation == BICUBIC else f"{label}_{self.degradation.label}"

    def settings(self) -> dict[str, Any]:
        """Returns the settings for a dataset's metadata."""
        return {
            "scales": list(self.scales),
            "size": self.size,
            "step": self.step,
            "min_side": self.min_side,
            "degradation": vars(self.degradation).copy(),
        }

    def positions(self, side: int) -> list[int]:
        """Returns where sub-images begin along a side: every `step`, and one at its end."""
        last = (side - side % self.unit) - self.size
        return [*range(0, last, self.step), last] if last > 0 else [0]

    def area(self, height: int, width: int) -> int:
        """Counts the HR pixels of all the sub-images of an image."""
        sides = [
            len(self.positions(side)) * min(self.size, side - side % self.unit)
            for side in (height, width)
        ]
        return sides[0] * sides[1]


def whole(hr: np.ndarray, cut: Cut) -> SubImage:
    """Returns the image itself, uncropped, with LR images of what `modcrop` leaves of it."""
    return SubImage(0, 0, hr, _lr_images(hr, cut))


def sub_images(hr: np.ndarray, cut: Cut) -> Iterator[SubImage]:
    """Cuts an image, uint8 `H W 3` with sides of at least `cut.min_side`.

    Rows and columns beyond the last multiple of `cut.unit` are in no sub-image.
    """
    lr = _lr_images(hr, cut)
    height, width = (min(cut.size, side - side % cut.unit) for side in hr.shape[:2])
    for top in cut.positions(hr.shape[0]):
        for left in cut.positions(hr.shape[1]):

            def part(image: np.ndarray, scale: int, top: int = top, left: int = left) -> np.ndarray:
                rows = slice(top // scale, (top + height) // scale)
                return image[rows, left // scale : (left + width) // scale]

            parts = {scale: part(image, scale) for scale, image in lr.items()}
            yield SubImage(top, left, part(hr, 1), parts)


def _lr_images(hr: np.ndarray, cut: Cut) -> dict[int, np.ndarray]:
    return {
        scale: degrade(np.ascontiguousarray(modcrop(hr, scale)), scale, cut.degradation)
        for scale in cut.scales
    }
