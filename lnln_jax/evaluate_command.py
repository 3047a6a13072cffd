"""What `lnln evaluate` does: models over benchmarks, tables, and a folder with all of it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lnln_jax.benchmarks import Benchmark, BenchmarkImage, open_benchmark
from lnln_jax.evaluate import SRCNN_BICUBIC, Result, distinct_names, evaluate, published_bicubic
from lnln_jax.figure_page import write_page
from lnln_jax.figures import Box, Figure, Method, default_box, draw
from lnln_jax.files import make_folder, write_file
from lnln_jax.image_files import Photo, write_photo
from lnln_jax.inference import Resolver
from lnln_jax.loading import load_model
from lnln_jax.protocol import Protocol
from lnln_jax.reporting import progress_of
from lnln_jax.tables import CONVENTIONS, describe, environment, format_table, to_json, to_markdown


def run(
    sources: Sequence[str],
    folders: Sequence[Path],
    *,
    scale: int | None = None,
    lr: Literal["auto", "imresize"] = "auto",
    protocol: Protocol | None = None,
    self_ensemble: bool = False,
    output: Path | None = None,
    save_images: bool = False,
    figures: Sequence[str] = (),
) -> list[Result]:
    """Evaluates models, prints a table for each benchmark and writes a report.

    Args:
      sources: of models, for `load_model`; bicubic is always among them.
      folders: of benchmarks, for `open_benchmark`.
      scale: None for that of the first network, or 2 where bicubic stands alone.
      lr: see `open_benchmark`.
      protocol: see `evaluate`.
      self_ensemble: see `evaluate`.
      output: folder for `results.json`, `results.md` and what the next two ask for.
      save_images: write `images/<benchmark>_x<scale>/<model>/<image>.png`.
      figures: images to compare in `figure.png` and `figure.html`: "barbara", "Set14/barbara" or
        "barbara:top,left,height,width".

    Raises:
      ValueError: a model, benchmark, figure or folder that cannot be used, before anything is
        evaluated; or as `evaluate` raises it.
    """
    if output is None and (save_images or figures):
        raise ValueError("pictures need a folder; give --output")
    protocol = protocol or Protocol()
    models = _load(sources, scale)
    names = distinct_names([model.name for model in models])
    named_sources = dict(zip(names[1:], (s for s in sources if s != "bicubic"), strict=True))
    benchmarks = _open(folders, models[0].scale, lr)
    panels = [_find_panel(text, benchmarks) for text in figures]
    if output is not None:
        _make_output(output, folders)

    # This reads every HR image, so that a damaged one is found before any network runs.
    baselines: list[list[Result]] = [
        [published_bicubic(benchmark, progress=progress_of)]
        if protocol.is_published(benchmark.scale)
        else []
        for benchmark in benchmarks
    ]
    for name, model in zip(names, models, strict=True):
        if name != model.name:
            print(f"{name}: {named_sources[name]}")
    results = []
    images = output / "images" if output is not None and save_images else None
    for benchmark, baseline in zip(benchmarks, baselines, strict=True):
        bicubic, *networks = evaluate(
            models,
            benchmark,
            protocol=protocol,
            self_ensemble=self_ensemble,
            done=partial(_keep, benchmark, images, panels),
            progress=progress_of,
        )
        of_benchmark = [bicubic, *baseline, *networks]
        print(format_table(of_benchmark), end="\n\n", flush=True)
        results += of_benchmark
    if protocol.is_published(models[0].scale):
        print(CONVENTIONS)

    if output is not None:
        about = {"sources": named_sources, "environment": environment()}
        _write_text(output / "results.json", json.dumps(to_json(results, **about), indent=2) + "\n")
        _write_text(output / "results.md", to_markdown(results, **about))
        if panels:
            _write_figure(panels, results, output)
        print(f"written to {output}")
    return results


def _load(sources: Sequence[str], scale: int | None) -> list[Resolver]:
    """Bicubic, and the others in order, all of one scale."""
    networks = []
    for source in sources:
        if source != "bicubic":
            networks.append(load_model(source, scale=scale))
            scale = networks[-1].scale
    return [load_model("bicubic", scale=scale), *networks]


def _open(folders: Sequence[Path], scale: int, lr: Literal["auto", "imresize"]) -> list[Benchmark]:
    """The benchmarks, under names that tell them apart."""
    benchmarks = [open_benchmark(folder, scale, lr=lr) for folder in folders]
    names = distinct_names([benchmark.name for benchmark in benchmarks])
    return [replace(each, name=name) for each, name in zip(benchmarks, names, strict=True)]


def _make_output(output: Path, folders: Sequence[Path]) -> None:
    for folder in folders:
        searched = folder / "HR" if (folder / "HR").is_dir() else folder
        if output.resolve().is_relative_to(searched.resolve()):
            raise ValueError(
                f"{output} lies in {searched}, whose images would include its pictures the next "
                "time; choose another --output"
            )
    try:
        make_folder(output)
    except OSError as error:
        raise ValueError(
            f"{output} cannot be written to ({error.strerror}); choose another --output"
        ) from error


@dataclass(frozen=True)
class _Panel:
    """An image of the figure, and what the models made of it."""

    benchmark: str
    image: BenchmarkImage
    box: Box | None  # None: where the results differ most
    results: list[np.ndarray] = field(default_factory=list)


def _find_panel(text: str, benchmarks: Sequence[Benchmark]) -> _Panel:
    """Reads `[set/]image[:top,left,height,width]`.

    Raises:
      ValueError: no such image, or several, or a box that leaves it.
    """
    match = re.fullmatch(r"(.*?)(?::(-?\d+),(-?\d+),(-?\d+),(-?\d+))?", text, re.DOTALL)
    assert match is not None  # the name may be anything
    found = [
        (benchmark, name)
        for benchmark in benchmarks
        for name in benchmark.names
        if match[1] in (name, f"{benchmark.name}/{name}")
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
        return _Panel(benchmark.name, image, None)
    top, left, height, width = map(int, match.groups()[1:])
    box = top, left, height, width
    try:
        Figure(name, image.hr, (Method(name, image.hr, None, None),), box)
    except ValueError as error:
        raise ValueError(f"figure {text!r}: {error}") from error
    return _Panel(benchmark.name, image, box)


def _keep(
    benchmark: Benchmark,
    images: Path | None,
    panels: Sequence[_Panel],
    model: str,
    image: BenchmarkImage,
    sr: np.ndarray,
) -> None:
    """Saves a result below `images`, and holds it for the figure."""
    if images is not None:
        folder = images / f"{benchmark.name}_x{benchmark.scale}" / model
        folder.mkdir(parents=True, exist_ok=True)
        _write_png(sr, folder / f"{image.name}.png")
    for panel in panels:
        if (panel.benchmark, panel.image.name) == (benchmark.name, image.name):
            panel.results.append(sr)


def _write_figure(panels: Sequence[_Panel], results: Sequence[Result], output: Path) -> None:
    """Writes `figure.png` and `figure.html`."""
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
    _write_png(draw(figures), output / "figure.png")
    title = f"Super-resolution x{results[0].scale}"
    write_page(figures, output / "figure.html", title=title, note=describe(results[0]))


def _write_png(picture: np.ndarray, path: Path) -> None:
    write_photo(Photo(picture.astype(np.float32)), path)


def _write_text(path: Path, text: str) -> None:
    """Bytes in file names that are no text are escaped."""
    write_file(path, text.encode("utf-8", "backslashreplace"))
