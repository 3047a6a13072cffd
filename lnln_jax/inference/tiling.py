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

    Yields:
      The result from top to bottom, in bands `h W*scale D` whose heights may differ.
    """
    height, width = image.shape[:2]
    places = itertools.product(spans(height, tile, overlap), spans(width, tile, overlap))
    band = None
    for group in _batched(places, batch):
        tiles = [_cut(image, top, left, tile) for (top, _, _), (left, _, _) in group]
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


def spans(size: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int]]:
    """Cuts one axis: yields (where the tile begins, what it decides: start, stop).

    The last tile is moved inwards to end with the axis. An axis that is shorter than a tile is
    decided by the one tile that begins with it.
    """
    begins = [*range(0, max(size - tile, 0), tile - overlap), max(size - tile, 0)]
    seams = [(begin + previous + tile) // 2 for previous, begin in itertools.pairwise(begins)]
    yield from zip(begins, [0, *seams], [*seams, size], strict=True)


def _cut(image: np.ndarray, top: int, left: int, tile: int) -> np.ndarray:
    part = image[top : top + tile, left : left + tile]
    height, width = part.shape[:2]
    if height == width == tile:
        return part
    return np.pad(part, ((0, tile - height), (0, tile - width), (0, 0)), mode="symmetric")


Place = tuple[tuple[int, int, int], tuple[int, int, int]]


def _batched(places: Iterable[Place], size: int) -> Iterator[list[Place]]:
    """Does what `itertools.batched` does, which Python 3.11 lacks."""
    places = iter(places)
    while group := list(itertools.islice(places, size)):
        yield group
