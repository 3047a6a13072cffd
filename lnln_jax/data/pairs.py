"""Training pairs in memory, and synthetic images as such.

A pair is (lr, hr), two RGB images: uint8 `H W 3` and uint8 `H*scale W*scale 3`. A source holds all
its pairs decoded in memory, each LR image made once, so that taking a patch costs one array slice.
That is about 4 bytes per HR pixel: 0.2 GB for BSDS400, 9 GB for the 800 images of DIV2K.
"""

import concurrent.futures
import itertools
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lnln_jax.data.dead_leaves import dead_leaves
from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.shared_memory import SharedMemory
from lnln_jax.images.arrays import modcrop
from lnln_jax.runtime.numbers import whole
from lnln_jax.runtime.processes import usable_cores

Pair = tuple[np.ndarray, np.ndarray]
Progress = Callable[[int, int], None]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_sharing = threading.Lock()


def checksum_of(images: Iterable[np.ndarray]) -> str:
    """Returns the CRC-32 of images, which changes with any pixel, shape, or their order."""
    crc = 0
    for image in images:
        crc = zlib.crc32(repr(image.shape).encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(image).data, crc)
    return f"{crc:08x}"


def check_room(name: str, pixels: int, scale: int, memory: int) -> None:
    """Checks, before any image is decoded, that pairs with so many HR pixels fit into memory.

    Raises:
      ValueError: they need more than `memory`, in bytes.
    """
    needed = 3 * pixels * (1 + 1 / scale**2)
    if needed > memory:
        raise ValueError(
            f"the images of {name} take {needed / 2**30:.1f} GiB in memory, and "
            f"{memory / 2**30:.1f} GiB are free; take fewer, or build a dataset of them with `lnln "
            "prepare`, which is read from disk"
        )


class PairSource:
    """The (lr, hr) pairs of one origin, in memory: `len`, an index, iteration.

    Attributes:
      name: name of the source in logs and errors.
      scale: HR size / LR size.
      skipped: image files left out, with the reason for each.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        *,
        name: str,
        scale: int,
        skipped: Sequence[tuple[Path, str]] = (),
    ) -> None:
        """Takes the pairs as they are.

        Args:
          pairs: LR images, uint8 `H W 3`, and HR images, uint8 `H*scale W*scale 3`.
          name: as in the class.
          scale: as in the class.
          skipped: as in the class.

        Raises:
          ValueError: a pair does not have these shapes and dtypes.
        """
        scale = whole("scale", scale, least=1)
        self._pairs = list(pairs)
        self._shared: Any = None
        self.name = name
        self.scale = scale
        self.skipped = list(skipped)
        for index, (lr, hr) in enumerate(self._pairs):
            shape = (lr.shape[0] * scale, lr.shape[1] * scale, 3)
            if lr.shape[2:] != (3,) or hr.shape != shape or not lr.dtype == hr.dtype == np.uint8:
                raise ValueError(
                    f"pair {index} of source {name!r} must be uint8 (H, W, 3) and uint8 "
                    f"(H*{scale}, W*{scale}, 3), got {lr.dtype} {lr.shape} and {hr.dtype} "
                    f"{hr.shape}"
                )

    @property
    def smallest(self) -> int:
        """Shortest LR side of a pair; 0 where there is none."""
        return min((min(lr.shape[:2]) for lr, _ in self._pairs), default=0)

    @property
    def largest(self) -> tuple[int, int]:
        """Longest LR height and width."""
        shapes = [lr.shape for lr, _ in self._pairs]
        return max(height for height, _, _ in shapes), max(width for _, width, _ in shapes)

    @property
    def identity(self) -> str:
        """CRC-32 of the images, which changes with any pixel, or their order."""
        return checksum_of(itertools.chain.from_iterable(self._pairs))

    def __getstate__(self) -> dict[str, Any]:
        """Moves the pixels, for worker processes, to memory that they share."""
        with _sharing:  # Grain starts several workers at the same time
            if self._shared is None:
                self._share()
        shapes = [lr.shape for lr, _ in self._pairs]
        return self.__dict__ | {"_pairs": shapes}

    def _share(self) -> None:
        images = list(itertools.chain.from_iterable(self._pairs))
        memory = SharedMemory(sum(image.size for image in images))
        start, shared = 0, []
        for image in images:
            shared.append(memory.array(start, image.shape))
            shared[-1][:] = image
            start += image.size
        self._pairs = list(zip(shared[::2], shared[1::2], strict=True))
        self._shared = memory

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        start, pairs = 0, []
        for height, width, channels in state["_pairs"]:
            lr = self._shared.array(start, (height, width, channels))
            shape = (self.scale * height, self.scale * width, channels)
            hr = self._shared.array(start + lr.size, shape)
            pairs.append((lr, hr))
            start += lr.size + hr.size
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        return self._pairs[index]

    def read(self, index: int) -> Pair:
        """Returns the same pair; a source on disk would keep nothing of it."""
        return self._pairs[index]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __repr__(self) -> str:
        return f"PairSource(name={self.name!r}, scale={self.scale}, {len(self)} pairs)"


def dead_leaves_pairs(
    count: int,
    *,
    size: int | tuple[int, int],
    scale: int,
    seed: int,
    degradation: Degradation = BICUBIC,
    progress: Progress | None = None,
) -> PairSource:
    """Draws synthetic images, so that training needs no files.

    Args:
      count: number of images, at least 1. The first ones stay the same when it grows.
      size: side of the HR images, or (height, width); cropped to a multiple of `scale`.
      scale: HR size / LR size, at least 1 and at most the shorter side.
      seed: seed, at least 0.
      degradation: how LR images are made.
      progress: function called with (images done, `count`) after each image.

    Returns:
      The source, named "dead leaves".

    Raises:
      ValueError: an argument is out of its range.
    """
    count, seed = whole("count", count, least=1), whole("seed", seed, least=0)
    scale = whole("scale", scale, least=1)

    def draw(index: int) -> Pair:
        hr = dead_leaves(np.random.default_rng([seed, index]), size)
        hr = np.ascontiguousarray(modcrop(hr, scale))
        return degrade(hr, scale, degradation), hr

    pairs = map_in_threads(draw, range(count), progress)
    return PairSource(pairs, name="dead leaves", scale=scale)


def map_in_threads(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], progress: Progress | None
) -> list[ResultT]:
    """Applies a function to all items, several at a time; results in the order of the items."""
    results = []
    with concurrent.futures.ThreadPoolExecutor(min(8, usable_cores())) as pool:
        for result in pool.map(function, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    return results
