"""The rows of a leaderboard: models that were measured, and what is published beside them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lnln_jax.evaluation.published import PublishedRow, PublishedScores, published
from lnln_jax.evaluation.test_sets import Benchmark

TIMED_SIDE, TIMED_RUNS = 96, 5  # side of the LR image that is timed, and how often


class OpenSet(NamedTuple):
    """A benchmark at one scale, and the hash of the names and pixels of its images."""

    benchmark: Benchmark
    sha256: str


@dataclass(frozen=True)
class Row:
    """What is known of a model, measured or published.

    Attributes:
      model: name in the table.
      source: path or name that it was loaded from; of a published row, where the scores are from.
      scale: scale; None for a model that cannot be loaded.
      network: name as `create_model` takes it, or "bicubic"; "" where it is not known.
      published_size: whether it has the size that is published under that name.
      parameters: number of parameters.
      multiply_adds: multiply-adds for an output of 1280x720, those of attention included.
      milliseconds: time for an LR image of `TIMED_SIDE` squared, the median of `TIMED_RUNS`.
      sha256: SHA-256, as `ModelSource.sha256` returns it.
      scores: name of the benchmark -> mean PSNR and SSIM.
      images: name of the benchmark -> name of the image -> PSNR and SSIM.
      failures: why it cannot be loaded or measured.
      published: what is published, of a published row.
    """

    model: str
    source: str
    scale: int | None = None
    network: str = ""
    published_size: bool = False
    parameters: int | None = None
    multiply_adds: int | None = None
    milliseconds: float | None = None
    sha256: str = ""
    scores: Mapping[str, PublishedScores] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    published: PublishedRow | None = None


@dataclass(frozen=True)
class Leaderboard:
    """All rows, and how they were measured.

    Attributes:
      rows: measured and published rows, by scale and then by PSNR on the first benchmark.
      failed: rows of models that could not be measured on any benchmark.
      sets: benchmarks by scale, always in the same order.
      self_ensemble: whether results are averages over the eight symmetries.
    """

    rows: tuple[Row, ...]
    failed: tuple[Row, ...]
    sets: Mapping[int, Sequence[OpenSet]]
    self_ensemble: bool

    @property
    def names(self) -> list[str]:
        """Names of the benchmarks."""
        return [each.benchmark.name for each in next(iter(self.sets.values()))]

    @property
    def measured(self) -> list[Row]:
        """Rows of models that were measured."""
        return [row for row in self.rows if row.published is None]


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows, in which models of one name from several places are called by these."""
    sources: dict[str, set[str]] = {}
    for row in rows:
        sources.setdefault(row.model, set()).add(row.source)
    return [replace(row, model=row.source) if len(sources[row.model]) > 1 else row for row in rows]


def published_rows(rows: Sequence[Row], names: Sequence[str]) -> Iterator[Row]:
    """Yields what is published of the networks that were measured, on these benchmarks."""
    for network, scale in dict.fromkeys((row.network, row.scale or 0) for row in rows):
        known = published(network, scale)
        scores = {name: both for name in names if known and (both := known.score(name))}
        if known and scores:
            gigas = known.multiply_adds
            yield Row(
                f"{network} (published{'' if known.certain else ', from memory'})",
                known.source,
                scale,
                network,
                published_size=True,
                parameters=known.parameters,
                multiply_adds=None if gigas is None else round(gigas * 1e9),
                scores=scores,
                published=known,
            )


def order(row: Row, names: Sequence[str]) -> tuple[int, list[float], bool, str]:
    """Returns what rows are sorted by; a published row follows a measured one of its PSNR."""
    psnr = [-row.scores[name][0] if name in row.scores else 0.0 for name in names]
    return row.scale or 0, psnr, row.published is not None, row.model
