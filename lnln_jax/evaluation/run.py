"""Evaluates models on benchmarks for `lnln evaluate`: tables, and a folder with all of it."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

from lnln_jax.evaluation.file_names import file_name, file_names
from lnln_jax.evaluation.measure import (
    Done,
    check_images,
    distinct_names,
    evaluate,
    published_bicubic,
)
from lnln_jax.evaluation.panels import Panel, find_panel, write_panels
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.report import (
    CONVENTIONS,
    environment,
    format_table,
    to_json,
    to_markdown,
)
from lnln_jax.evaluation.results import Result
from lnln_jax.evaluation.stored import StoredResults
from lnln_jax.evaluation.test_sets import Benchmark, BenchmarkImage, open_benchmark
from lnln_jax.images.files import Photo, write_photo
from lnln_jax.inference.loading import load_model
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.runtime.distributed import is_primary, say
from lnln_jax.runtime.files import make_folder, printable, write_file
from lnln_jax.runtime.progress import progress_of


def run(
    sources: Sequence[str],
    folders: Sequence[str | Path],
    *,
    stored: Mapping[str, Path] | None = None,
    scale: int | None = None,
    res_scale: float | None = None,
    lr: str | Path = "auto",
    protocol: Protocol | None = None,
    self_ensemble: bool = False,
    output: Path | None = None,
    save_images: bool = False,
    figures: Sequence[str] = (),
) -> list[Result]:
    """Evaluates models, prints a table for each benchmark and writes a report.

    Several processes (`runtime.distributed`) share the images; the first prints and writes.

    Args:
      sources: sources of models, for `load_model`; bicubic is always among them.
      folders: folders of benchmarks, for `open_benchmark`.
      stored: name -> folder or .zip file of results to measure beside those of models.
      scale: scale; None for that of the first network that shows it, or 2 for bicubic alone.
      res_scale: `res_scale` of the EDSRs whose weights do not show it; see `load_model`.
      lr: as for `open_benchmark`.
      protocol: as for `evaluate`.
      self_ensemble: as for `evaluate`.
      output: folder for `results.json`, `results.md` and what the next two ask for; files that are
        there from an earlier call are replaced.
      save_images: whether to write `images/<benchmark>_x<scale>/<model>/<image>.png`.
      figures: images to compare in `figure.png` and `figure.html`, as `find_panel` reads them.

    Raises:
      ValueError: as `evaluate`; or a model, an image, a figure or a folder that cannot be used.
    """
    _check_pictures(output, save_images, figures)
    protocol = protocol or Protocol()
    loaded = _load(sources, scale, res_scale)
    results_of = _results_of(stored or {}, scale, loaded)
    models: list[Upscaler | StoredResults] = [*loaded, *results_of]
    origins = [source for source in sources if source != "bicubic"]
    named_sources = _named_sources(models, [*origins, *(each.root for each in results_of)])
    scale = loaded[0].scale
    benchmarks = _open(folders, scale, lr, protocol)
    panels = [find_panel(text, benchmarks) for text in figures]
    with nullcontext() if output is None else _made(output, benchmarks):
        baselines = [_baseline(benchmark, protocol, results_of) for benchmark in benchmarks]
        _say_renamed(models, named_sources)
        results = []
        for benchmark, baseline in zip(benchmarks, baselines, strict=True):
            pictures = _pictures(output, benchmark) if output and save_images else None
            done = partial(_keep, benchmark, pictures, panels)
            results += _measured(models, benchmark, baseline, protocol, self_ensemble, done)
        if protocol.is_published(scale):
            say(CONVENTIONS, file=sys.stdout)
        if output is not None and is_primary():
            _write_report(output, results, named_sources, panels)
    return results


def _measured(
    models: Sequence[Upscaler | StoredResults],
    benchmark: Benchmark,
    baseline: Sequence[Result],
    protocol: Protocol,
    self_ensemble: bool,
    done: Done,
) -> list[Result]:
    """Measures all models on a benchmark, and prints the table."""
    measured = evaluate(
        models,
        benchmark,
        protocol=protocol,
        self_ensemble=self_ensemble,
        done=done,
        progress=progress_of,
    )
    measured[1:1] = baseline
    say(format_table(measured) + "\n", file=sys.stdout)
    return measured


def _results_of(
    stored: Mapping[str, Path], scale: int | None, loaded: Sequence[Upscaler]
) -> list[StoredResults]:
    """Opens stored results, which are of the scale of the models."""
    if stored and scale is None and len(loaded) == 1:
        raise ValueError("results do not tell their scale; give scale (--scale)")
    return [StoredResults(name, root, loaded[0].scale) for name, root in stored.items()]


def _say_renamed(models: Sequence[Upscaler | StoredResults], sources: Mapping[str, str]) -> None:
    """Prints what the models are that others with their names have made `name#2`."""
    for (name, source), model in zip(sources.items(), models[1:], strict=True):
        if name != printable(model.name):
            say(f"{name}: {source}", file=sys.stdout)


def _named_sources(
    models: Sequence[Upscaler | StoredResults], origins: Sequence[str | Path]
) -> dict[str, str]:
    """Returns what each model but bicubic, the first, comes from, by the name that it gets."""
    names = distinct_names([model.name for model in models])
    return {name: printable(origin) for name, origin in zip(names[1:], origins, strict=True)}


def _check_pictures(output: Path | None, save_images: bool, figures: Sequence[str]) -> None:
    if output is None and (save_images or figures):
        raise ValueError("pictures need a folder; give --output")
    if figures and jax.process_count() > 1:
        raise ValueError(
            f"figures compare results of one process, and there are {jax.process_count()}; leave "
            "out --figure or --distributed"
        )


def _load(sources: Sequence[str], scale: int | None, res_scale: float | None) -> list[Upscaler]:
    """Loads bicubic, and the others in order, all of one scale."""
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


def _baseline(
    benchmark: Benchmark, protocol: Protocol, stored: Sequence[StoredResults]
) -> list[Result]:
    """Returns the bicubic row of published tables, if any; in any case reads every image."""
    published = protocol.is_published(benchmark.scale)
    if stored or not published:
        check_images(benchmark, protocol, stored)
    return [published_bicubic(benchmark, progress=progress_of)] if published else []


def _open(
    folders: Sequence[str | Path], scale: int, lr: str | Path, protocol: Protocol
) -> list[Benchmark]:
    """Opens the benchmarks, under names that tell them apart."""
    benchmarks = [
        open_benchmark(folder, scale, lr=lr, degradation=protocol.degradation) for folder in folders
    ]
    names = distinct_names([benchmark.name for benchmark in benchmarks])
    return [replace(each, name=name) for each, name in zip(benchmarks, names, strict=True)]


@contextmanager
def _made(output: Path, benchmarks: Sequence[Benchmark]) -> Iterator[None]:
    """Makes the output folder; after a failure, empty folders that this made are removed."""
    for benchmark in benchmarks:
        if output.resolve().is_relative_to(benchmark.folder.resolve()):
            raise ValueError(
                f"{printable(output)} lies in {printable(benchmark.folder)}, whose images would "
                "include its pictures the next time; choose another --output"
            )
    new = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        try:
            make_folder(output)
        except OSError as error:
            raise ValueError(
                f"{printable(output)} cannot be written to ({error.strerror}); choose another "
                "--output"
            ) from error
        yield
    except BaseException:
        with suppress(OSError):  # a folder that is not empty
            for folder in new:
                folder.rmdir()
        raise


def _pictures(output: Path, benchmark: Benchmark) -> Callable[[str, str], Path]:
    """Returns a function of a model and an image that returns the file of the result."""
    folder = output / "images" / file_name(f"{benchmark.name}_x{benchmark.scale}")
    names = file_names(benchmark.names)
    return lambda model, image: folder / file_name(model) / f"{names[image]}.png"


def _keep(
    benchmark: Benchmark,
    pictures: Callable[[str, str], Path] | None,
    panels: Sequence[Panel],
    model: str,
    image: BenchmarkImage,
    sr: np.ndarray,
) -> None:
    """Saves a result, if there is a place for it, and holds it for the figure."""
    if pictures is not None:
        path = pictures(model, image.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_photo(Photo(sr), path)
    for panel in panels:
        panel.keep(benchmark, image, sr)


def _write_report(
    output: Path,
    results: Sequence[Result],
    sources: Mapping[str, str],
    panels: Sequence[Panel],
) -> None:
    about = {"sources": sources, "environment": environment()}
    _write_text(output / "results.json", json.dumps(to_json(results, **about), indent=2) + "\n")
    _write_text(output / "results.md", to_markdown(results, **about))
    if panels:
        write_panels(panels, results, output)
    print(f"written to {printable(output)}")


def _write_text(path: Path, text: str) -> None:
    """Writes a text, in which bytes of file names that are not text are escaped."""
    write_file(path, text.encode("utf-8", "backslashreplace"))
