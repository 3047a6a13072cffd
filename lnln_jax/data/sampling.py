"""Which patches make up which batch: a function of the seed and the step alone.

So neither threads, processes, hosts nor the place where patches are cut change a training run, and
its position is one number.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_PATTERN = 1000  # slots in which sources with weights take turns


class Samples(NamedTuple):
    """The patches of a batch of B; a place in an image is a share of the room there is.

    Attributes:
      image: number among the images of all sources, uint32 `B`.
      top: first row in units of 2**-32 of the room, uint32 `B`.
      left: first column, likewise.
      symmetry: one of the eight, for `lnln_jax.images.arrays.dihedral`, uint32 `B`.
    """

    image: np.ndarray
    top: np.ndarray
    left: np.ndarray
    symmetry: np.ndarray


class Sampler:
    """A function that draws the patches of any batch: `sampler(step)`.

    Each visit to an image takes one random patch, as EDSR does (Lim et al., CVPRW 2017). An epoch
    visits every image once, in random order, whatever its size. Batches run on across the end of an
    epoch. Several sources make one training set, with one epoch for all. With `weights`, each
    source has epochs of its own, and its share of every stretch of 1000 patches is its weight's.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        batch_size: int,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> None:
        """Prepares to draw.

        Args:
          lengths: number of images of each source, positive.
          batch_size: number B of patches.
          seed: seed, at least 0.
          weights: how often to visit each source, positive, one each; None for their lengths.
        """
        self._batch_size = batch_size
        self._seed = seed
        if weights is None:
            lengths, weights = [sum(lengths)], [1.0]
        self._lengths = np.asarray(lengths)
        self._first = np.cumsum([0, *lengths])[:-1]
        self._turns = _turns(np.asarray(weights, np.float64))
        # Visits of each source before each slot of the pattern, and in all of it.
        visits = self._turns[:, None] == np.arange(len(lengths))
        self._before = np.cumsum(visits, axis=0) - visits
        self._per_pattern = visits.sum(axis=0)

    def __call__(self, step: int, rows: slice = slice(None)) -> Samples:
        """Draws the batch of a step, counted from 0, or some rows of it."""
        position = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        pattern, slot = np.divmod(position, len(self._turns))
        source = self._turns[slot]
        visit = pattern * self._per_pattern[source] + self._before[slot, source]
        epoch, place = np.divmod(visit, self._lengths[source])
        image = np.empty(self._batch_size, np.uint32)
        for number, round_ in sorted(set(zip(source.tolist(), epoch.tolist(), strict=True))):
            here = (source == number) & (epoch == round_)
            order = _order(self._seed, number, round_, int(self._lengths[number]))
            image[here] = self._first[number] + order[place[here]]
        rng = np.random.default_rng([self._seed, 0, step])
        top, left = rng.integers(0, 2**32, (2, self._batch_size), np.uint32)
        symmetry = rng.integers(0, 8, self._batch_size, np.uint32)
        return Samples(*(array[rows] for array in (image, top, left, symmetry)))


def offsets(samples: Samples, shapes: np.ndarray, lr_patch_size: int) -> np.ndarray:
    """Returns the first rows and columns of patches, in LR pixels.

    Args:
      samples: samples of B patches.
      shapes: heights and widths of their LR images, `B 2`.
      lr_patch_size: side of the LR patches.

    Returns:
      uint32 `B 2`.
    """
    room = np.asarray(shapes, np.uint64) - np.uint64(lr_patch_size - 1)
    share = np.stack([samples.top, samples.left], axis=1).astype(np.uint64)
    return ((share * room) >> np.uint64(32)).astype(np.uint32)


@functools.lru_cache(maxsize=16)  # the batches being made can lie in neighbouring epochs
def _order(seed: int, source: int, epoch: int, length: int) -> np.ndarray:
    """Returns the order in which an epoch visits the images of a source."""
    return np.random.default_rng([seed, 1, source, epoch]).permutation(length)


def _turns(weights: np.ndarray) -> np.ndarray:
    """Returns the source of each slot of the pattern; those of each source lie evenly in it."""
    if len(weights) == 1:
        return np.zeros(1, np.int64)
    exact = weights / weights.sum() * _PATTERN
    counts = np.maximum(1, np.floor(exact).astype(int))
    for i in np.argsort(counts - exact)[: max(0, _PATTERN - counts.sum())]:
        counts[i] += 1
    times = [(np.arange(n) + 0.5) / n for n in counts]
    sources = np.repeat(np.arange(len(counts)), counts)
    return sources[np.argsort(np.concatenate(times), kind="stable")]
