"""Batches of patches on the host, as an endless stream.

Grain makes them ahead, in threads or processes; without these it is not needed.

What a batch holds depends on (seed, step) alone (`lnln_jax.data.sampling`). So the number of
threads, worker processes and hosts changes nothing, and the position of the stream is one number.
"""

import bisect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from lnln_jax.data.pairs import Pair
from lnln_jax.data.sampling import Sampler, offsets
from lnln_jax.images.arrays import dihedral
from lnln_jax.runtime.extras import require
from lnln_jax.runtime.numbers import whole
from lnln_jax.runtime.processes import end_with_parent

Batch = dict[str, np.ndarray]
_ENDLESS = 2**48  # steps of a training run
_PIXEL = np.dtype("V3")  # NumPy mirrors these faster than rows of three numbers


class Source(Protocol):
    """Origin of pairs: `PairSource` or `RecordSource`."""

    name: str
    scale: int

    @property
    def smallest(self) -> int:
        """Shortest LR side."""

    @property
    def largest(self) -> tuple[int, int]:
        """Longest LR height and width."""

    @property
    def identity(self) -> str:
        """Text that changes with any of the images."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Pair: ...

    def read(self, index: int, /) -> Pair:
        """Reads a pair that is read but once."""


class Stream:
    """An endless iterator over what a function returns for steps 0, 1, 2, ...

    `get_state` returns its position as JSON can hold it, and `set_state` restores it, also in a
    stream with another number of threads or workers. `close` ends those.
    """

    def __init__(
        self,
        make: Callable[[int], Any],
        *,
        num_threads: int = 0,
        num_workers: int = 0,
        prefetch: int = 8,
    ) -> None:
        """Starts at step 0; nothing is made before it is asked for."""
        self._make = make
        self._threads = min(num_threads, prefetch)
        self._workers = num_workers
        self._prefetch = prefetch
        self._next = 0
        self._iterator: Any = None

    def _start(self) -> Any:
        require("grain", "train", "making batches ahead (num_threads, num_workers)")
        import grain
        from absl import flags

        steps = grain.MapDataset.range(self._next, _ENDLESS).map(self._make)
        workers = self._workers
        options = grain.ReadOptions(
            num_threads=0 if workers else self._threads, prefetch_buffer_size=self._prefetch
        )
        dataset = steps.to_iter_dataset(options)
        if workers:
            if not flags.FLAGS.is_parsed():  # Grain reads absl's flags, which only `app.run` parses
                flags.FLAGS.mark_as_parsed()
            ahead = max(1, self._prefetch // workers)
            dataset = dataset.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead),
                worker_init_fn=end_with_parent,
            )
        return iter(dataset)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._threads or self._workers:
            if self._iterator is None:
                self._iterator = self._start()
            item = next(self._iterator)
        else:
            item = self._make(self._next)
        self._next += 1
        if self._workers:
            # A copy, since Grain gives shared memory back when nothing looks into it any more, and
            # JAX, or a program that ends, may look too long.
            item = {key: np.array(value) for key, value in item.items()}
        return item

    def get_state(self) -> dict[str, int]:
        """Returns the number of the next step."""
        return {"next_step": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to the step that `get_state` returned."""
        self.close()
        self._next = state["next_step"]

    def close(self) -> None:
        """Ends threads and worker processes; the next item starts them again."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None


def make_train_iterator(
    sources: Sequence[Source],
    *,
    lr_patch_size: int,
    batch_size: int,
    seed: int,
    weights: Sequence[float] | None = None,
    num_threads: int = 2,
    num_workers: int = 0,
    prefetch: int = 8,
    process_index: int = 0,
    process_count: int = 1,
) -> Stream:
    """Makes the endless iterator that training reads its batches from.

    `Sampler` says what is in a batch.

    Args:
      sources: training images, of one scale.
      lr_patch_size: side p of the square LR patches, in pixels; no LR image may be smaller.
      batch_size: number B of pairs of patches in a batch, of all processes together.
      seed: seed, at least 0; the same seed gives the same batches.
      weights: how often to visit each source, positive, one each; their sum does not matter. Ratios
        are kept to about 0.1 %. None visits each image as often as any other.
      num_threads: batches made at the same time; 0 makes each one when it is asked for. Has no
        effect on what they hold.
      num_workers: processes that make batches in place of the threads; 0 for none.
      prefetch: batches made ahead, at least 1; unused without threads and workers.
      process_index: index of this process among those that train together.
      process_count: number of these; each takes B / process_count rows of the batch.

    Returns:
      A stream of dictionaries of NumPy arrays: "lr", uint8 `b p p 3`, and "hr", uint8
      `b p*scale p*scale 3` with b = B / process_count, the same region with the same one of the
      eight symmetries.

    Raises:
      ValueError: an argument is out of its range, there are no images, the scales differ, or an
        image is smaller than a patch.
    """
    num_threads, num_workers = (
        whole("num_threads", num_threads, least=0),
        whole("num_workers", num_workers, least=0),
    )
    prefetch = whole("prefetch", prefetch, least=1)
    lr_patch_size, batch_size, seed = _checked(lr_patch_size, batch_size, seed)
    if not 0 <= process_index < process_count or batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} cannot be shared among {process_count} processes, of which "
            f"this is number {process_index}; choose a multiple of {process_count}"
        )
    sampler = make_sampler(
        sources, lr_patch_size=lr_patch_size, batch_size=batch_size, seed=seed, weights=weights
    )
    share = batch_size // process_count
    rows = slice(process_index * share, (process_index + 1) * share)
    cutter = _Cutter(sources, sampler, rows, lr_patch_size)
    return Stream(cutter, num_threads=num_threads, num_workers=num_workers, prefetch=prefetch)


def make_sampler(
    sources: Sequence[Source],
    *,
    lr_patch_size: int,
    batch_size: int,
    seed: int,
    weights: Sequence[float] | None = None,
) -> Sampler:
    """Makes the sampler for sources; arguments and errors as for `make_train_iterator`."""
    lr_patch_size, batch_size, seed = _checked(lr_patch_size, batch_size, seed)
    _check_sources(sources, lr_patch_size, weights)
    lengths = [len(source) for source in sources]
    return Sampler(lengths, batch_size=batch_size, seed=seed, weights=weights)


class _Cutter:
    """A function that makes the batch of a step."""

    def __init__(
        self, sources: Sequence[Source], sampler: Sampler, rows: slice, lr_patch_size: int
    ) -> None:
        self._sources = list(sources)
        self._first = [0, *itertools.accumulate(len(source) for source in sources)]
        self._sampler = sampler
        self._rows = rows
        self._size = lr_patch_size

    def __call__(self, step: int) -> Batch:
        samples = self._sampler(step, self._rows)
        pairs = [self._pair(image) for image in samples.image.tolist()]
        shapes = np.array([lr.shape[:2] for lr, _ in pairs])
        corners = offsets(samples, shapes, self._size).tolist()
        batch = {}
        for key, part, factor in (("lr", 0, 1), ("hr", 1, self._sources[0].scale)):
            side = factor * self._size
            batch[key] = np.empty((len(pairs), side, side, 3), np.uint8)
            for patch, pair, (top, left), symmetry in zip(
                batch[key], pairs, corners, samples.symmetry.tolist(), strict=True
            ):
                rows = slice(factor * top, factor * top + side)
                columns = slice(factor * left, factor * left + side)
                crop = pair[part][rows, columns].view(_PIXEL)
                patch.view(_PIXEL)[:] = dihedral(crop, symmetry)
        return batch

    def _pair(self, image: int) -> Pair:
        number = bisect.bisect_right(self._first, image) - 1
        return self._sources[number][image - self._first[number]]


def _checked(lr_patch_size: int, batch_size: int, seed: int) -> tuple[int, int, int]:
    """Returns numbers as Python's; raises ValueError for what no batch can be made of."""
    return (
        whole("lr_patch_size", lr_patch_size, least=1),
        whole("batch_size", batch_size, least=1),
        whole("seed", seed, least=0),
    )


def _check_sources(
    sources: Sequence[Source], lr_patch_size: int, weights: Sequence[float] | None
) -> None:
    """Raises ValueError for what no batch can be made of."""
    if not sources:
        raise ValueError("sources is empty; give at least one")
    if len({source.scale for source in sources}) > 1:
        scales = ", ".join(f"{source.name}: x{source.scale}" for source in sources)
        raise ValueError(f"sources must all have the same scale, got {scales}")
    for source in sources:
        if not len(source):
            raise ValueError(f"source {source.name!r} has no images; leave it out")
        if source.smallest < lr_patch_size:
            raise ValueError(
                f"lr_patch_size is {lr_patch_size}, but source {source.name!r} has an LR image "
                f"with a side of {source.smallest} pixels; use a smaller lr_patch_size, or larger "
                "images"
            )
    if weights is not None and len(weights) != len(sources):
        raise ValueError(f"got {len(weights)} weights for {len(sources)} sources; give one each")
    if weights is not None and not all(0 < weight < np.inf for weight in weights):
        raise ValueError(
            f"weights must be positive and finite, got {list(weights)}; "
            "to leave a source out, remove it from sources"
        )
