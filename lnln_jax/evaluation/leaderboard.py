"""Measures many models on many benchmarks, and goes on where it stopped.

What is measured is kept by the SHA-256 of the model, that of the benchmark's pixels, the scale and
the settings, after each model and benchmark.
"""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from lnln_jax.evaluation.kept import Kept
from lnln_jax.evaluation.leaderboard_page import write_page
from lnln_jax.evaluation.leaderboard_report import notes, to_json, to_markdown
from lnln_jax.evaluation.leaderboard_rows import (
    TIMED_RUNS,
    TIMED_SIDE,
    Leaderboard,
    OpenSet,
    Row,
    order,
    published_rows,
    told_apart,
)
from lnln_jax.evaluation.measure import distinct_names, evaluate
from lnln_jax.evaluation.model_files import BICUBIC, ModelSource, find_models
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.test_sets import Benchmark, open_benchmark
from lnln_jax.inference.loading import load_model
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.models import MODELS, VARIANTS, create_model
from lnln_jax.models.complexity import count_multiply_adds, count_parameters
from lnln_jax.models.spec import hyper_parameters
from lnln_jax.runtime.files import (
    check_folder,
    failure_text,
    make_folder,
    printable,
    write_file,
)
from lnln_jax.runtime.progress import progress_of, remark, working
from lnln_jax.version import __version__

KEPT = "measured"  # folder below the output
_TIMED_SECONDS = 10.0  # after which no further run begins
_FAILURES = (ValueError, OSError, RuntimeError)  # of one model, which are a row


def compare(
    sources: Sequence[str],
    folders: Sequence[str | Path],
    *,
    scale: int | None = None,
    lr: str | Path = "auto",
    self_ensemble: bool = False,
    output: Path | None = None,
    with_published: bool = True,
) -> Leaderboard:
    """Measures models on benchmarks by the protocol of published tables.

    Args:
      sources: models and folders of them, as `find_models` takes them.
      folders: folders of benchmarks, for `open_benchmark`.
      scale: scale to measure at, for models that have it or any; None: each at its own, and
        bicubic at those of the others.
      lr: as for `open_benchmark`.
      self_ensemble: whether to average each result over the eight symmetries.
      output: folder whose `KEPT` holds what has been measured; None keeps nothing.
      with_published: whether to add what is published of the networks, unless `self_ensemble`.

    Raises:
      ValueError: a folder without models, a benchmark or an image that cannot be read, or an output
        that cannot be written to.
      OSError: a measurement cannot be kept.
    """
    if output is not None:
        check_folder(output)
    kept = Kept(None if output is None else output / KEPT)
    sets = functools.cache(functools.partial(_open, tuple(folders), lr=lr))
    models = find_models(sources)
    if scale is not None:
        sets(scale)  # so that a folder that cannot be used is told before anything is measured
    measuring = _Measuring(kept, sets, self_ensemble)
    rows = [measuring.row(model, scale) for model in models if model.source != BICUBIC]
    scales = sorted({row.scale for row in rows if row.scale}) or [scale or 2]
    for model in models:
        if model.source == BICUBIC:
            rows += [measuring.row(model, each) for each in scales]
    if measuring.taken:
        remark(f"measured before, and kept in {printable(output or '')}: {measuring.taken}")
    opened = {each: sets(each) for each in scales}
    names = [each.benchmark.name for each in opened[scales[0]]]
    rows = told_apart(rows)
    good = [row for row in rows if row.scores]
    if with_published and not self_ensemble:
        good += published_rows(good, names)
    good.sort(key=lambda row: order(row, names))
    failed = tuple(row for row in rows if not row.scores)
    return Leaderboard(tuple(good), failed, opened, self_ensemble)


def write_leaderboard(board: Leaderboard, environment: Mapping[str, str], output: Path) -> None:
    """Writes leaderboard.md, leaderboard.json and leaderboard.html; older ones are replaced.

    Raises:
      OSError: they cannot be written.
    """
    make_folder(output)
    facts = json.dumps(to_json(board, environment), indent=1, allow_nan=False)
    for name, text in (("md", to_markdown(board, environment)), ("json", facts + "\n")):
        # Bytes of file names that are not text are escaped.
        write_file(output / f"leaderboard.{name}", text.encode("utf-8", "backslashreplace"))
    write_page(board, notes(board, environment), output / "leaderboard.html")


def _open(folders: Sequence[str | Path], scale: int, *, lr: str | Path) -> list[OpenSet]:
    """Opens the benchmarks at a scale, under names that tell them apart, and reads all images."""
    opened = [open_benchmark(folder, scale, lr=lr) for folder in folders]
    names = distinct_names([each.name for each in opened])
    sets = []
    for benchmark, name in zip(opened, names, strict=True):
        digest = hashlib.sha256()
        with working(f"reading {name} x{scale}"):
            for image in benchmark.images():
                digest.update(repr((image.name, image.lr.shape, image.hr.shape)).encode())
                digest.update(image.lr.tobytes())
                digest.update(image.hr.tobytes())
        sets.append(OpenSet(replace(benchmark, name=name), digest.hexdigest()))
    return sets


class _Measuring:
    """What all models are measured with.

    Attributes:
      taken: number of measurements that were there already.
    """

    def __init__(
        self, kept: Kept, sets: Callable[[int], Sequence[OpenSet]], self_ensemble: bool
    ) -> None:
        self._kept, self._sets, self._self_ensemble = kept, sets, self_ensemble
        device = jax.local_devices()[0]
        self._settings = {
            "version": __version__,
            "device": f"{device.platform} {device.device_kind}",
            "self_ensemble": self_ensemble,
        }
        self.taken = 0

    def row(self, model: ModelSource, scale: int | None) -> Row:
        """Measures a model on all benchmarks, as far as that is not done yet."""
        load = functools.cache(lambda: load_model(model.source, scale=scale))
        row = Row(printable(model.name), printable(model.source))
        try:
            sha256 = model.sha256()
        except _FAILURES as error:
            return replace(row, failures=(failure_text(error),))
        row = replace(row, sha256=sha256)
        about = {"model": sha256 or model.source, **self._settings}
        facts, failure = self._value({"asked": scale, **about}, lambda: self._facts(load()))
        if failure:
            return replace(row, failures=(failure,))
        row = replace(row, **facts)
        scores, images, failures = {}, {}, []
        for each in self._sets(row.scale or 0):
            protocol = Protocol().at(each.benchmark.scale)
            key = {"set": each.sha256, "protocol": asdict(protocol), "scale": row.scale, **about}
            measure = functools.partial(self._scores, load, each.benchmark, protocol)
            value, failure = self._value(key, measure)
            if failure:
                failures.append(f"{each.benchmark.name}: {failure}")
                continue
            scores[each.benchmark.name] = (value["psnr"], value["ssim"])
            images[each.benchmark.name] = value["images"]
        return replace(row, scores=scores, images=images, failures=tuple(failures))

    def _value(self, key: Mapping[str, Any], measure: Callable[[], Any]) -> tuple[Any, str]:
        """Returns what is kept or measured, or why it cannot be measured."""
        value = self._kept.get(key)
        if value is not None:
            self.taken += 1
            return value, ""
        try:
            value = measure()
        except _FAILURES as error:
            return None, failure_text(error)
        self._kept.put(key, value)
        return value, ""

    def _facts(self, upscaler: Upscaler) -> dict[str, Any]:
        """Returns the fields of a row that do not depend on a benchmark, for JSON."""
        module = upscaler.module
        with working(f"timing {upscaler.name}"):
            facts: dict[str, Any] = {
                "scale": upscaler.scale,
                "network": BICUBIC,
                "published_size": True,
                "milliseconds": _milliseconds(upscaler, self._self_ensemble),
            }
            if module is not None:
                name, exact = _network(module)
                facts |= {"network": name, "published_size": exact}
                facts["parameters"] = count_parameters(module)
                facts["multiply_adds"] = sum(count_multiply_adds(module).values())
        return facts

    def _scores(
        self, load: Callable[[], Upscaler], benchmark: Benchmark, protocol: Protocol
    ) -> dict[str, Any]:
        """Measures a model on a benchmark, for JSON."""
        (result,) = evaluate(
            [load()],
            benchmark,
            protocol=protocol,
            self_ensemble=self._self_ensemble,
            progress=progress_of,
        )
        images = {score.image: [score.psnr, score.ssim] for score in result.scores}
        return {"psnr": result.psnr, "ssim": result.ssim, "images": images}


def _milliseconds(upscaler: Upscaler, self_ensemble: bool) -> float:
    """Returns the median time for an image of `TIMED_SIDE` squared, without compilation."""
    shape = (TIMED_SIDE, TIMED_SIDE, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    upscaler.compile(shape, self_ensemble=self_ensemble)
    upscaler.upscale(image, self_ensemble=self_ensemble)
    times: list[float] = []
    while len(times) < TIMED_RUNS and sum(times) < _TIMED_SECONDS:
        start = time.perf_counter()
        upscaler.upscale(image, self_ensemble=self_ensemble)
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def _network(module: Any) -> tuple[str, bool]:
    """Returns the name of a network as `create_model` takes it, and whether its size is that."""
    for name in (*MODELS, *VARIANTS):
        with suppress(ValueError):  # of a scale that the network does not have
            known = create_model(name, module.scale)
            if type(known) is type(module) and _shape(known) == _shape(module):
                return name, True
    return next(name for name, known in MODELS.items() if known is type(module)), False


def _shape(module: Any) -> dict[str, int | float]:
    """Returns the hyper-parameters that matter at one scale."""
    return {key: value for key, value in hyper_parameters(module).items() if key != "n_scales"}
