"""Programs that make LR images, and which of them made given ones.

Each is defined here by its kernel, its borders and its rounding, and gives what the program itself
gives: all pixels, or (PyTorch) all but a few that lie between two integers.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
from PIL import Image

from lnln_jax.images.resize import cubic, imresize, resize_axis, round_to_uint8

NEARLY = 0.98  # share of equal pixels from which rounding explains the others, if they differ by 1


class Maker(NamedTuple):
    """A way to make LR images.

    Attributes:
      name: name in tables.
      make: function from HR, uint8 `H W 3` of a size that the scale divides, and the scale to LR.
    """

    name: str
    make: Callable[[np.ndarray, int], np.ndarray]


class Agreement(NamedTuple):
    """How far LR images are those of a maker.

    Attributes:
      name: name of the maker.
      pixels: number of pixels, of one image or several.
      equal: number of these that are equal in all channels.
      largest: largest difference of a sample.
    """

    name: str
    pixels: int
    equal: int
    largest: int

    @property
    def share(self) -> float:
        """Share of equal pixels."""
        return self.equal / self.pixels


def compare(lr: np.ndarray, hr: np.ndarray, scale: int) -> list[Agreement]:
    """Compares an LR image with what each of `MAKERS` makes of its HR image.

    Args:
      lr: LR image, uint8 `h w 3`.
      hr: HR image, uint8 `h*scale w*scale 3`.
      scale: scale, at least 2.
    """
    agreements = []
    for maker in MAKERS:
        made = maker.make(hr, scale)
        difference = np.maximum(lr, made) - np.minimum(lr, made)  # no uint8 below 0
        equal = int((difference == 0).all(axis=-1).sum())
        agreements.append(
            Agreement(maker.name, lr.shape[0] * lr.shape[1], equal, int(difference.max()))
        )
    return agreements


def together(images: Sequence[Sequence[Agreement]]) -> list[Agreement]:
    """Returns the agreements over all images, from what `compare` returned for each."""
    return [
        Agreement(
            of_maker[0].name,
            sum(each.pixels for each in of_maker),
            sum(each.equal for each in of_maker),
            max(each.largest for each in of_maker),
        )
        for of_maker in zip(*images, strict=True)
    ]


def verdict(agreements: Sequence[Agreement]) -> tuple[list[str], str]:
    """Says who made LR images.

    Returns:
      Names of the makers that it may be, none or, where they give the same, several; and a
      sentence.
    """
    best = max(agreements, key=lambda each: (each.equal, -each.largest))
    names = [each.name for each in agreements if each[1:] == best[1:]]
    shown = " or ".join(names)
    if best.equal == best.pixels:
        return names, f"LR was made by {shown}: all pixels are equal."
    found = f"{percent(best.share)} of the pixels are equal, the largest difference is"
    if best.share >= NEARLY and best.largest == 1:
        return names, f"LR was made by {shown}, but for rounding: {found} 1."
    return [], f"LR was made by none of these. The nearest is {shown}: {found} {best.largest}."


def percent(share: float) -> str:
    """Formats a share; 100 % is all."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"


def _bicubic_without_antialiasing(hr: np.ndarray, scale: int) -> np.ndarray:
    """Halves are rounded to even: all sums are exact for the scales 2, 3, 4 and 8."""
    resized = _resize(hr, scale, a=-0.75, antialias=False)
    return np.rint(resized).clip(0, 255).astype(np.uint8)


def _bicubic_of_pytorch(hr: np.ndarray, scale: int) -> np.ndarray:
    return round_to_uint8(_resize(hr, scale, a=-0.5, antialias=True))


def _area(hr: np.ndarray, scale: int) -> np.ndarray:
    """OpenCV rounds halves up at x2, where it has a program of its own, and to even elsewhere."""
    height, width = (size // scale for size in hr.shape[:2])
    mean = hr.reshape(height, scale, width, scale, -1).mean(axis=(1, 3))
    return round_to_uint8(mean) if scale == 2 else np.rint(mean).astype(np.uint8)


def _bicubic_of_pillow(hr: np.ndarray, scale: int) -> np.ndarray:
    height, width = (size // scale for size in hr.shape[:2])
    resized = Image.fromarray(hr).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def _imresize_unrounded(hr: np.ndarray, scale: int) -> np.ndarray:
    return round_to_uint8(imresize(hr.astype(np.float64), 1 / scale))


def _resize(image: np.ndarray, scale: int, *, a: float, antialias: bool) -> np.ndarray:
    """Makes `H W C` smaller in float64 by the cubic kernel of Keys with a parameter `a`."""
    for axis in (0, 1):
        image = resize_axis(image, axis, _matrix(image.shape[axis], scale, a, antialias))
    return image


def _matrix(size: int, scale: int, a: float, antialias: bool) -> scipy.sparse.csr_array:
    """Returns the `size/scale size` matrix that resizes one axis.

    With antialiasing the kernel is widened, and what it would see beyond the edges is left out;
    without, the edge pixel goes on.
    """
    stretch = scale if antialias else 1
    outputs = np.arange(size // scale)
    centre = (outputs + 0.5) * scale - 0.5
    taps = (np.floor(centre) - 2 * stretch)[:, None] + np.arange(4 * stretch + 2)
    weights = cubic((centre[:, None] - taps) / stretch, a)
    if antialias:
        weights[(taps < 0) | (taps >= size)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    rows, columns = np.broadcast_to(outputs[:, None], taps.shape), taps.clip(0, size - 1)
    places = rows.ravel(), columns.astype(int).ravel()
    return scipy.sparse.coo_array((weights.ravel(), places), (len(outputs), size)).tocsr()


MAKERS = (
    Maker("MATLAB's imresize", lambda hr, scale: imresize(hr, 1 / scale)),
    Maker(
        "MATLAB's imresize of old versions (replicated borders)",
        lambda hr, scale: imresize(hr, 1 / scale, border="replicate"),
    ),
    Maker("imresize in floating point (BasicSR's and KAIR's Python)", _imresize_unrounded),
    Maker("Pillow's bicubic", _bicubic_of_pillow),
    Maker("PyTorch's bicubic with antialias=True", _bicubic_of_pytorch),
    Maker(
        "OpenCV's INTER_CUBIC or PyTorch's bicubic (no antialiasing)",
        _bicubic_without_antialiasing,
    ),
    Maker("OpenCV's INTER_AREA", _area),
)
