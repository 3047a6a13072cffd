"""Overlapping tiles of one shape: cutting an image into them, and joining their results.

All tiles are squares of one size, taken in batches of one size, so a compiled function needs one
program for images of any size.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np


def tiled_bands(
    upscale: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    scale: int,
    tile: int,
    overlap: int,
    batch: int,
    border: int = 0,
) -> Iterator[np.ndarray]:
    """Applies a function to an image, tile by tile, and yields its results row by row of tiles.

    Tiles go to the function in raster order. An image that is smaller than a tile is mirrored at
    the bottom and the right, and the last batch is filled up by repeating its last tile; what came
    of these pixels is left out again.

    Args:
      upscale: function of `batch tile tile C` in the dtype of the image that returns
        `batch tile*scale tile*scale D` of any dtype.
      image: image `H W C`.
      scale: factor of `upscale`.
      tile: side of a tile.
      overlap: pixels that neighbouring tiles share, at most half a tile. Seams run through their
        middle.
      batch: number of tiles that `upscale` takes at once.
      border: pixels by which the image is mirrored beyond its edges, for the function to see.

    Yields:
      The result from top to bottom, in bands `h W*scale D` whose heights may differ.
    """
    height, width = image.shape[:2]
    rows, columns = (spans(side, tile, overlap, border) for side in (height, width))
    band = None
    for group in _batched(itertools.product(rows, columns), batch):
        tiles = [mirrored(image, top, left, tile, tile) for (top, _, _), (left, _, _) in group]
        tiles += [tiles[-1]] * (batch - len(tiles))
        for ((top, y_start, y_stop), (left, x_start, x_stop)), sr in zip(
            group, upscale(np.stack(tiles)), strict=False
        ):
            if band is None:
                shape = ((y_stop - y_start) * scale, width * scale, sr.shape[-1])
                band = np.empty(shape, sr.dtype)
            band[:, x_start * scale : x_stop * scale] = sr[
                (y_start - top) * scale : (y_stop - top) * scale,
                (x_start - left) * scale : (x_stop - left) * scale,
            ]
            if x_stop == width:
                yield band
                band = None


def spans(size: int, tile: int, overlap: int, border: int = 0) -> Iterator[tuple[int, int, int]]:
    """Cuts one axis: yields (where the tile begins, what it decides: start, stop).

    Tiles cover the axis and `border` pixels before and behind it, which no tile decides. The last
    one is moved inwards to end with them. A length that is shorter than a tile is decided by the
    one tile that begins with it.
    """
    length = size + 2 * border
    begins = [*range(0, max(length - tile, 0), tile - overlap), max(length - tile, 0)]
    seams = [(begin + previous + tile) // 2 for previous, begin in itertools.pairwise(begins)]
    for begin, start, stop in zip(begins, [0, *seams], [*seams, length], strict=True):
        start, stop = max(start - border, 0), min(stop - border, size)
        if start < stop:
            yield begin - border, start, stop


def mirrored(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Cuts a part out of the plane that an image `H W C` and its mirror images fill."""
    if min(top, left) >= 0 and top + height <= len(image) and left + width <= image.shape[1]:
        return image[top : top + height, left : left + width]
    rows, columns = (
        _reflect(np.arange(begin, begin + length), size)
        for begin, length, size in zip((top, left), (height, width), image.shape, strict=False)
    )
    return image[rows[:, None], columns]


def _reflect(places: np.ndarray, size: int) -> np.ndarray:
    """Returns the places on an axis that places beyond its ends are the mirror images of."""
    places = places % (2 * size)
    return np.minimum(places, 2 * size - 1 - places)


Place = tuple[tuple[int, int, int], tuple[int, int, int]]


def _batched(places: Iterable[Place], size: int) -> Iterator[list[Place]]:
    """Does what `itertools.batched` does, which Python 3.11 lacks."""
    places = iter(places)
    while group := list(itertools.islice(places, size)):
        yield group
