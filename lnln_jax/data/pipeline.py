"""The training pipeline: from pairs of images to an endless stream of batches of patches.

Everything random in batch k comes from (seed, k) alone. So the number of threads changes nothing,
and the position of the iterator is one number: to resume a run, restore it with `set_state`, or
let Orbax do it with `grain.checkpoint`.
"""

import functools
from collections.abc import Sequence

import grain
import numpy as np

from lnln_jax.data.sources import Pair, PairSource
from lnln_jax.image import dihedral

# Images in a training. Grain adds the lengths of sources up, which must stay below 2**63.
_ENDLESS = 2**48


def make_train_iterator(
    sources: Sequence[PairSource],
    *,
    lr_patch_size: int,
    batch_size: int,
    seed: int,
    weights: Sequence[float] | None = None,
    num_threads: int = 2,
    prefetch: int = 8,
) -> grain.DatasetIterator:
    """Makes the endless iterator that training reads its batches from.

    Each visit to an image takes one random crop, as EDSR does (Lim et al., CVPRW 2017). An epoch
    visits every image once, in random order, whatever its size: a pixel of T91's small images is
    seen more often than a pixel of a large one. Batches run on across the end of an epoch, so all
    have the full size.

    Several sources make one training set, with one epoch for all. With `weights`, each source has
    epochs of its own instead, and its share of every stretch of the stream is its weight's.

    Args:
      sources: the training images; one scale for all.
      lr_patch_size: side p of the square LR patches, in pixels; no LR image may be smaller.
      batch_size: B, the pairs of patches in a batch.
      seed: at least 0; the same seed gives the same batches.
      weights: how often to read each source, positive, one each; their sum does not matter. Ratios
        are kept to about 1 %.
      num_threads: batches made at the same time; 0 makes each one when it is asked for. Has no
        effect on what they hold.
      prefetch: batches made ahead, at least 1; unused when `num_threads` is 0.

    Returns:
      A Grain iterator over dictionaries of NumPy arrays: "lr", uint8 `B p p 3`, and "hr", uint8
      `B p*scale p*scale 3`, the same region with the same one of the eight symmetries. `get_state`
      gives the position, `set_state` restores it in an iterator made with the same arguments
      (other than the last two) and images, `close` ends the threads.

    Raises:
      ValueError: an argument is out of its range, there are no images, the scales differ, or an
        image is smaller than a patch.
    """
    _check_arguments(sources, lr_patch_size, batch_size, seed, weights, num_threads, prefetch)
    if weights is None:
        dataset = _endless([pair for source in sources for pair in source], (seed,))
    else:
        endless = [_endless(list(source), (seed, number)) for number, source in enumerate(sources)]
        dataset = grain.MapDataset.mix(endless, weights)

    def crop(pair: Pair, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return random_patch(pair, rng, lr_patch_size=lr_patch_size, scale=sources[0].scale)

    dataset = dataset.random_map(crop, seed=seed).batch(batch_size)
    options = grain.ReadOptions(
        num_threads=min(num_threads, prefetch), prefetch_buffer_size=prefetch
    )
    return iter(dataset.to_iter_dataset(options))


def _endless(pairs: Sequence[Pair], seed: tuple[int, ...]) -> grain.MapDataset:
    """Visits every pair once in each epoch, in an order that depends on the seed and the epoch.

    `MapDataset.shuffle` would do the same, but walks through up to 2**16 numbers to find one index,
    which takes longer than a crop where there are few images.
    """

    @functools.lru_cache(maxsize=4)  # the batches being made can lie in neighbouring epochs
    def order(epoch: int) -> list[int]:
        return np.random.default_rng([*seed, epoch]).permutation(len(pairs)).tolist()

    def visit(index: int) -> Pair:
        epoch, position = divmod(index, len(pairs))
        return pairs[order(epoch)[position]]

    return grain.MapDataset.range(_ENDLESS).map(visit)


def random_patch(
    pair: Pair, rng: np.random.Generator, *, lr_patch_size: int, scale: int
) -> dict[str, np.ndarray]:
    """Takes a random crop of a pair and applies one of the eight symmetries to both parts.

    Args:
      pair: LR image `H W 3` and HR image `H*scale W*scale 3`.
      rng: chooses the position, at a whole LR pixel, and the symmetry, all uniformly.
      lr_patch_size: side p of the LR patch, at most H and W.
      scale: the factor between the two images.

    Returns:
      "lr", `p p 3`, and "hr", `p*scale p*scale 3`: views of the images.
    """
    lr, hr = pair
    top = int(rng.integers(lr.shape[0] - lr_patch_size + 1))
    left = int(rng.integers(lr.shape[1] - lr_patch_size + 1))
    symmetry = int(rng.integers(8))

    def crop(image: np.ndarray, factor: int) -> np.ndarray:
        rows = slice(factor * top, factor * (top + lr_patch_size))
        columns = slice(factor * left, factor * (left + lr_patch_size))
        return dihedral(image[rows, columns], symmetry)

    return {"lr": crop(lr, 1), "hr": crop(hr, scale)}


def _check_arguments(
    sources: Sequence[PairSource],
    lr_patch_size: int,
    batch_size: int,
    seed: int,
    weights: Sequence[float] | None,
    num_threads: int,
    prefetch: int,
) -> None:
    """Raises ValueError for what `make_train_iterator` cannot work with."""
    for name, value, least in (
        ("lr_patch_size", lr_patch_size, 1),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("num_threads", num_threads, 0),
        ("prefetch", prefetch, 1),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if not sources:
        raise ValueError("sources is empty; give at least one")
    if len({source.scale for source in sources}) > 1:
        scales = ", ".join(f"{source.name}: x{source.scale}" for source in sources)
        raise ValueError(f"sources must all have the same scale, got {scales}")
    for source in sources:
        if not len(source):
            raise ValueError(f"source {source.name!r} has no images; leave it out")
        smallest = min(min(lr.shape[:2]) for lr, _ in source)
        if smallest < lr_patch_size:
            raise ValueError(
                f"lr_patch_size is {lr_patch_size}, but source {source.name!r} has an LR image "
                f"with a side of {smallest} pixels; use a smaller lr_patch_size, or load the "
                f"source with min_lr_size={lr_patch_size}"
            )
    if weights is not None and len(weights) != len(sources):
        raise ValueError(f"got {len(weights)} weights for {len(sources)} sources; give one each")
    if weights is not None and not all(0 < weight < np.inf for weight in weights):
        raise ValueError(
            f"weights must be positive and finite, got {list(weights)}; "
            "to leave a source out, remove it from sources"
        )
