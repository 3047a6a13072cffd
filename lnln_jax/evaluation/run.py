"""What `lnln evaluate` does: models over benchmarks, tables, and a folder with all of it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from lnln_jax.evaluation.figure_page import write_page
from lnln_jax.evaluation.figures import Box, Figure, Method, default_box, draw
from lnln_jax.evaluation.measure import (
    SRCNN_BICUBIC,
    Result,
    check_images,
    distinct_names,
    evaluate,
    published_bicubic,
)
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.report import (
    CONVENTIONS,
    describe,
    environment,
    format_table,
    to_json,
    to_markdown,
)
from lnln_jax.evaluation.test_sets import Benchmark, BenchmarkImage, open_benchmark
from lnln_jax.images.files import Photo, write_photo
from lnln_jax.inference.loading import load_model
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.runtime.distributed import is_primary
from lnln_jax.runtime.files import make_folder, write_file
from lnln_jax.runtime.progress import progress_of


def run(
    sources: Sequence[str],
    folders: Sequence[Path],
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    lr: Literal["auto", "imresize"] = "auto",
    protocol: Protocol | None = None,
    self_ensemble: bool = False,
    output: Path | None = None,
    save_images: bool = False,
    figures: Sequence[str] = (),
) -> list[Result]:
    """Evaluates models, prints a table for each benchmark and writes a report.

    Several processes (`runtime.distributed`) share the images; the first prints and writes.

    Args:
      sources: of models, for `load_model`; bicubic is always among them.
      folders: of benchmarks, for `open_benchmark`.
      scale: None for that of the first network that shows it, or 2 where bicubic stands alone.
      res_scale: for the EDSRs among the models whose weights do not show it; see `load_model`.
      lr: see `open_benchmark`.
      protocol: see `evaluate`.
      self_ensemble: see `evaluate`.
      output: folder for `results.json`, `results.md` and what the next two ask for; files that are
        there from an earlier call are replaced.
      save_images: write `images/<benchmark>_x<scale>/<model>/<image>.png`.
      figures: images to compare in `figure.png` and `figure.html`: "barbara", "Set14/barbara" or
        "barbara:top,left,height,width".

    Raises:
      ValueError: a model, an image of a benchmark, a figure or a folder that cannot be used, before
        any network runs; or as `evaluate` raises it.
    """
    if output is None and (save_images or figures):
        raise ValueError("pictures need a folder; give --output")
    if figures and jax.process_count() > 1:
        raise ValueError(
            f"figures compare results of one process, and there are {jax.process_count()}; leave "
            "out --figure or --distributed"
        )
    say = print if is_primary() else _say_nothing
    protocol = protocol or Protocol()
    models = _load(sources, scale, res_scale)
    names = distinct_names([model.name for model in models])
    named_sources = dict(zip(names[1:], (s for s in sources if s != "bicubic"), strict=True))
    benchmarks = _open(folders, models[0].scale, lr, protocol)
    panels = [_find_panel(text, benchmarks) for text in figures]
    with nullcontext() if output is None else _made(output, benchmarks):
        baselines = [_baseline(benchmark, protocol) for benchmark in benchmarks]
        for name, model in zip(names, models, strict=True):
            if name != model.name:
                say(f"{name}: {named_sources[name]}")
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
            say(format_table(of_benchmark), end="\n\n", flush=True)
            results += of_benchmark
        if protocol.is_published(models[0].scale):
            say(CONVENTIONS)

        if output is not None and is_primary():
            _write_report(output, results, named_sources, panels)
            print(f"written to {output}")
    return results


def _say_nothing(*_: object, **__: object) -> None:
    pass


def _load(sources: Sequence[str], scale: int | None, res_scale: float | None) -> list[Upscaler]:
    """Bicubic, and the others in order, all of one scale."""
    if res_scale is not None and not res_scale > 0:
        raise ValueError(f"res_scale is {res_scale}; it must be a number above 0")
    networks: dict[int, Upscaler] = {}
    refused: dict[int, ValueError] = {}
    named = dict(enumerate(source for source in sources if source != "bicubic"))
    for i, source in named.items():
        try:
            networks[i] = _load_network(source, scale, res_scale)
            scale = networks[i].scale
        except ValueError as error:
            if scale is not None:
                raise
            refused[i] = error  # perhaps for want of a scale, which the next may show
    for i, refusal in refused.items():
        if scale is None:
            raise refusal
        networks[i] = _load_network(named[i], scale, res_scale)
    in_order = [networks[i] for i in named]
    if res_scale is not None and not any(_res_scale(network) == res_scale for network in in_order):
        raise ValueError(
            f"res_scale is {res_scale}, but there is no EDSR that takes it; leave it out "
            "(--res-scale)"
        )
    return [load_model("bicubic", scale=scale), *in_order]


def _load_network(source: str, scale: int | None, res_scale: float | None) -> Upscaler:
    """Loads a network, with `res_scale` if it takes it."""
    try:
        return load_model(source, scale=scale, res_scale=res_scale)
    except ValueError:
        if res_scale is None:
            raise
        return load_model(source, scale=scale)  # it has none, or shows its own


def _res_scale(network: Upscaler) -> float | None:
    return getattr(network.module, "res_scale", None)


def _baseline(benchmark: Benchmark, protocol: Protocol) -> list[Result]:
    """The bicubic row of published tables, if any; in any case, every image has been read."""
    if protocol.is_published(benchmark.scale):
        return [published_bicubic(benchmark, progress=progress_of)]
    check_images(benchmark, protocol)
    return []


def _open(
    folders: Sequence[Path], scale: int, lr: Literal["auto", "imresize"], protocol: Protocol
) -> list[Benchmark]:
    """The benchmarks, under names that tell them apart."""
    benchmarks = [
        open_benchmark(folder, scale, lr=lr, degradation=protocol.degradation) for folder in folders
    ]
    names = distinct_names([benchmark.name for benchmark in benchmarks])
    return [replace(each, name=name) for each, name in zip(benchmarks, names, strict=True)]


@contextmanager
def _made(output: Path, benchmarks: Sequence[Benchmark]) -> Iterator[None]:
    """Makes the output folder; after a failure, empty folders that this has made go again."""
    for benchmark in benchmarks:
        if output.resolve().is_relative_to(benchmark.folder.resolve()):
            raise ValueError(
                f"{output} lies in {benchmark.folder}, whose images would include its pictures the "
                "next time; choose another --output"
            )
    new = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        try:
            make_folder(output)
        except OSError as error:
            raise ValueError(
                f"{output} cannot be written to ({error.strerror}); choose another --output"
            ) from error
        yield
    except BaseException:
        with suppress(OSError):  # a folder that is not empty
            for folder in new:
                folder.rmdir()
        raise


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


def _write_report(
    output: Path,
    results: Sequence[Result],
    sources: Mapping[str, str],
    panels: Sequence[_Panel],
) -> None:
    about = {"sources": sources, "environment": environment()}
    _write_text(output / "results.json", json.dumps(to_json(results, **about), indent=2) + "\n")
    _write_text(output / "results.md", to_markdown(results, **about))
    if panels:
        _write_figure(panels, results, output)


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
    write_photo(Photo(picture), path)


def _write_text(path: Path, text: str) -> None:
    """Bytes in file names that are no text are escaped."""
    write_file(path, text.encode("utf-8", "backslashreplace"))
