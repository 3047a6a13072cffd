"""Figures for `lnln evaluate --figure`: which image, what the models made of it, and the files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lnln_jax.evaluation.figure_page import write_page
from lnln_jax.evaluation.figure_picture import draw
from lnln_jax.evaluation.figures import Box, Figure, Method, default_box
from lnln_jax.evaluation.report import describe
from lnln_jax.evaluation.results import SRCNN_BICUBIC, Result
from lnln_jax.evaluation.test_sets import Benchmark, BenchmarkImage
from lnln_jax.images.files import Photo, write_photo
from lnln_jax.runtime.files import printable


@dataclass(frozen=True)
class Panel:
    """An image of the figure, and what the models made of it."""

    benchmark: str
    image: BenchmarkImage
    box: Box | None  # None: where the results differ most
    results: list[np.ndarray] = field(default_factory=list)

    def keep(self, benchmark: Benchmark, image: BenchmarkImage, sr: np.ndarray) -> None:
        """Holds a result if it is one of this image."""
        if (self.benchmark, self.image.name) == (benchmark.name, image.name):
            self.results.append(sr)


def find_panel(text: str, benchmarks: Sequence[Benchmark]) -> Panel:
    """Finds an image: "barbara", "Set14/barbara" or "barbara:top,left,height,width".

    Raises:
      ValueError: no such image, or several, or a box that leaves it.
    """
    match = re.fullmatch(r"(.*?)(?::(-?\d+),(-?\d+),(-?\d+),(-?\d+))?", text, re.DOTALL)
    assert match is not None  # the name may be anything
    found = [
        (benchmark, name)
        for benchmark in benchmarks
        for name in benchmark.names
        if printable(match[1]) in (name, f"{benchmark.name}/{name}")
    ]
    if not found:
        names = list(dict.fromkeys(name for each in benchmarks for name in each.names))
        listing = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise ValueError(
            f"figure {text!r} names no image; write one of {listing}, with "
            ":top,left,height,width after it to choose the detail"
        )
    if len(found) > 1:
        names = [f"{benchmark.name}/{name}" for benchmark, name in found]
        raise ValueError(f"figure {text!r} names several images; write one of {', '.join(names)}")
    ((benchmark, name),) = found
    image = benchmark.image(name)
    if match[2] is None:
        return Panel(benchmark.name, image, None)
    top, left, height, width = map(int, match.groups()[1:])
    box = top, left, height, width
    try:
        Figure(name, image.hr, (Method(name, image.hr, None, None),), box)
    except ValueError as error:
        raise ValueError(f"figure {text!r}: {error}") from error
    return Panel(benchmark.name, image, box)


def write_panels(panels: Sequence[Panel], results: Sequence[Result], output: Path) -> None:
    """Writes `figure.png` and `figure.html` in a folder."""
    figures = []
    for panel in panels:
        name, hr = panel.image.name, panel.image.hr
        shown = [
            r for r in results if (r.benchmark == panel.benchmark and r.model != SRCNN_BICUBIC)
        ]
        methods = []
        for result, sr in zip(shown, panel.results, strict=True):
            score = next(score for score in result.scores if score.image == name)
            methods.append(Method(result.model, sr, score.psnr, score.ssim))
        box = panel.box or default_box(hr, methods)
        title = f"{panel.benchmark} x{results[0].scale}, {name}"
        figures.append(Figure(title, hr, tuple(methods), box))
    write_photo(Photo(draw(figures)), output / "figure.png")
    title = f"Super-resolution x{results[0].scale}"
    write_page(figures, output / "figure.html", title=title, note=describe(results[0]))
