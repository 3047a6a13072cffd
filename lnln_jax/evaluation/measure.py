"""Measures models on benchmarks by the protocol that reproduces published numbers.

An HR image is cropped to a multiple of the scale; the LR image is a file of the benchmark or made
by `imresize`; the network's result is rounded to uint8; PSNR and SSIM are taken on luma (Y) after
shaving `scale` pixels from each border. `Protocol` has the switches.

The bicubic rows of published tables follow another convention, that of SRCNN's code, except for
Manga109: `published_bicubic`.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from lnln_jax.evaluation.protocol import Channel, Protocol
from lnln_jax.evaluation.results import SRCNN_BICUBIC, Result, Score
from lnln_jax.evaluation.stored import StoredResults
from lnln_jax.evaluation.test_sets import Benchmark, BenchmarkImage
from lnln_jax.images.arrays import rgb_to_y, to_uint8
from lnln_jax.images.metrics import psnr, ssim
from lnln_jax.images.resize import imresize, round_to_uint8
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.models.spec import hyper_parameters
from lnln_jax.runtime.distributed import gather
from lnln_jax.runtime.files import printable

Done = Callable[[str, BenchmarkImage, np.ndarray], None]
Progress = Callable[[str], Callable[[int, int], None]]


def evaluate(
    models: Sequence[Upscaler | StoredResults],
    benchmark: Benchmark,
    *,
    protocol: Protocol | None = None,
    self_ensemble: bool = False,
    done: Done | None = None,
    progress: Progress | None = None,
    give_up: Callable[[], bool] | None = None,
) -> list[Result]:
    """Measures models on a benchmark, whose images are all read before and held meanwhile.

    Several processes (`runtime.distributed`) share the images, and all of them get the results.

    Args:
      models: models of the benchmark's scale, and stored results. Of two with one name, the second
        is called `name#2`.
      benchmark: benchmark, as `open_benchmark` returns it.
      protocol: how to measure; None for the published protocol.
      self_ensemble: whether to average each result over the eight symmetries.
      done: function called with the model's name, the image and its SR (uint8 `H W 3`) after each
        image that this process upscales.
      progress: function called with what is going to be done; what it returns is called with how
        many of how many images are done (`runtime.progress.progress_of`).
      give_up: function asked before each image, in one process alone; if it says True, nothing is
        returned.

    Returns:
      One result for each model.

    Raises:
      ValueError: a model of another scale, an image that cannot be read, upscaled or measured, or
        a network that returns NaN.
    """
    protocol = protocol or Protocol()
    _check_scales(models, benchmark)
    images = list(benchmark.images(protocol.border))
    mine = images[jax.process_index() :: jax.process_count()]
    results = []
    names = distinct_names([model.name for model in models])
    for model, name in zip(models, names, strict=True):
        show = progress(f"{benchmark.name} x{benchmark.scale}, {name}") if progress else None
        scores: list[Score] = []
        peak = 0
        for image in mine:
            if give_up is not None and give_up():
                return []
            if isinstance(model, StoredResults):
                score, sr, memory = _stored_score(model, benchmark, image, protocol)
            else:
                score, sr, memory = _score(model, image, protocol, self_ensemble, first=not scores)
            scores.append(score)
            peak = max(peak, memory)
            if done is not None:
                done(name, image, sr)
            if show is not None:
                show(len(scores), len(mine))
        scores, peak = _of_all_processes(scores, peak, [image.name for image in images])
        results.append(_result(model, name, benchmark, protocol, self_ensemble, scores, peak))
    return results


def _check_scales(models: Sequence[Upscaler | StoredResults], benchmark: Benchmark) -> None:
    for model in models:
        if model.scale != benchmark.scale:
            raise ValueError(
                f"{model.name} upscales x{model.scale}, but the benchmark is x{benchmark.scale}; "
                f"open it with scale={model.scale}"
            )


def _result(
    model: Upscaler | StoredResults,
    name: str,
    benchmark: Benchmark,
    protocol: Protocol,
    self_ensemble: bool,
    scores: Sequence[Score],
    peak: int,
) -> Result:
    module = model.module
    return Result(
        model=name,
        network="" if module is None else type(module).__name__,
        benchmark=benchmark.name,
        scale=benchmark.scale,
        lr_origin=benchmark.lr_origin(protocol.border),
        protocol=protocol.at(benchmark.scale),
        self_ensemble=self_ensemble and not isinstance(model, StoredResults),
        peak_memory_bytes=peak,
        scores=tuple(scores),
        options={} if module is None else hyper_parameters(module),
        device_peak_memory_bytes=None if module is None else _device_peak(),
    )


def check_images(
    benchmark: Benchmark, protocol: Protocol, stored: Sequence[StoredResults] = ()
) -> None:
    """Reads every image and stored result, and compiles metrics, before any network runs.

    Raises:
      ValueError: an image or a result that cannot be read or is too small to be measured, or a
        result that is missing.
    """
    dtype, shave = "uint8" if protocol.rounding else "float32", protocol.at(benchmark.scale).shave
    for image in benchmark.images(protocol.border):
        _metrics_of(image.name, image.hr.shape, dtype, shave or 0, protocol.channel)
        for results in stored:
            results.result(benchmark, image)


def published_bicubic(benchmark: Benchmark, *, progress: Progress | None = None) -> Result:
    """Measures bicubic interpolation as the bicubic rows of published tables have it.

    They come from the code of SRCNN (Dong et al., 2014): luma is rounded to integers, made smaller
    and larger again without rounding, then clipped and rounded, and compared as it is. LR files
    play no part, and a grayscale image is its own luma instead of three equal channels. The row of
    Manga109 is another: uint8 RGB made smaller and larger again, and luma rounded afterwards.

    Raises:
      ValueError: an image that cannot be read or is too small to be measured.
    """
    scale = benchmark.scale
    show = progress(f"{benchmark.name} x{scale}, {SRCNN_BICUBIC}") if progress else None
    scores = []
    for image in benchmark:
        luma = image.hr[..., 0] if image.gray else round_to_uint8(rgb_to_y(image.hr))
        start = time.perf_counter()
        lr = imresize(luma.astype(np.float64), 1 / scale)
        sr = round_to_uint8(imresize(lr, scale))
        seconds = time.perf_counter() - start
        values, metrics_seconds = _measure(image.name, sr, luma, scale, "y")
        scores.append(Score(image.name, *values, seconds, 0.0, metrics_seconds))
        if show is not None:
            show(len(scores), len(benchmark))
    return Result(
        model=SRCNN_BICUBIC,
        network="Bicubic",
        benchmark=benchmark.name,
        scale=scale,
        lr_origin="luma of HR made smaller by imresize, unrounded",
        protocol=Protocol().at(scale),
        self_ensemble=False,
        peak_memory_bytes=0,
        scores=tuple(scores),
    )


def distinct_names(names: Sequence[str]) -> list[str]:
    """Returns the names as text, of which the second of one name becomes `name#2`, and so on."""
    distinct: list[str] = []
    for name in map(printable, names):
        number, candidate = 1, name
        while candidate in distinct:
            number += 1
            candidate = f"{name}#{number}"
        distinct.append(candidate)
    return distinct


def _score(
    model: Upscaler,
    image: BenchmarkImage,
    protocol: Protocol,
    self_ensemble: bool,
    *,
    first: bool,
) -> tuple[Score, np.ndarray, int]:
    """Upscales and measures one image; also returns the uint8 SR and the peak memory in bytes."""
    shave = protocol.at(model.scale).shave or 0
    if protocol.rounding:
        upscale = functools.partial(model.upscale, image.lr)
    else:
        upscale = functools.partial(model.upscale_float, image.lr.astype(np.float32))
    try:
        start = time.perf_counter()
        memory = model.compile(image.lr.shape, self_ensemble=self_ensemble)
        if first:
            upscale(self_ensemble=self_ensemble)
        compiled = time.perf_counter()
        sr = upscale(self_ensemble=self_ensemble)
        end = time.perf_counter()
    except ValueError as error:
        raise ValueError(f"{image.name}: {error}") from error
    values, metrics_seconds = _measure(image.name, sr, image.hr, shave, protocol.channel)
    score = Score(image.name, *values, end - compiled, compiled - start, metrics_seconds)
    return score, to_uint8(sr), memory


def _stored_score(
    results: StoredResults, benchmark: Benchmark, image: BenchmarkImage, protocol: Protocol
) -> tuple[Score, np.ndarray, int]:
    """Measures one stored result; also returns it, and no memory."""
    sr = results.result(benchmark, image)
    shave = protocol.at(results.scale).shave or 0
    values, metrics_seconds = _measure(image.name, sr, image.hr, shave, protocol.channel)
    return Score(image.name, *values, 0.0, 0.0, metrics_seconds), sr, 0


def _of_all_processes(
    scores: list[Score], peak: int, names: Sequence[str]
) -> tuple[list[Score], int]:
    """Gathers the scores of all images in their order, and the largest peak, of all processes."""
    count = jax.process_count()
    if count == 1:
        return scores, peak
    most = -(-len(names) // count)
    rows = np.zeros((most, 5))
    for row, score in zip(rows, scores, strict=False):
        row[:] = dataclasses.astuple(score)[1:]
    gathered = gather([peak, *rows.ravel()])
    table = gathered[:, 1:].reshape(count, most, 5)
    everyone = [Score(name, *table[i % count, i // count].tolist()) for i, name in enumerate(names)]
    return everyone, int(gathered[:, 0].max())


def _measure(
    name: str, sr: np.ndarray, hr: np.ndarray, shave: int, channel: Channel
) -> tuple[tuple[float, float], float]:
    """Returns PSNR and SSIM, and the seconds that they took once they were compiled."""
    metrics = _metrics_of(name, sr.shape, str(sr.dtype), shave, channel)
    start = time.perf_counter()
    psnr_value, ssim_value = jax.device_get(metrics(sr, hr))
    return (float(psnr_value), float(ssim_value)), time.perf_counter() - start


def _metrics_of(
    name: str, shape: tuple[int, ...], dtype: str, shave: int, channel: Channel
) -> jax.stages.Compiled:
    """Compiles the metrics; errors name the image."""
    try:
        return _compiled_metrics(shape, dtype, shave, channel)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


@functools.cache
def _compiled_metrics(
    shape: tuple[int, ...], dtype: str, shave: int, channel: Channel
) -> jax.stages.Compiled:
    """Compiles both metrics as one program, for SR of this shape and dtype and a uint8 HR."""

    def metrics(sr: jax.Array, hr: jax.Array) -> tuple[jax.Array, jax.Array]:
        luma = channel == "y"
        return psnr(sr, hr, shave=shave, y_channel=luma), ssim(sr, hr, shave=shave, y_channel=luma)

    sr, hr = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(shape, np.uint8)
    return jax.jit(metrics).lower(sr, hr).compile()


def _device_peak() -> int | None:
    stats = jax.local_devices()[0].memory_stats()
    return stats.get("peak_bytes_in_use") if stats else None  # CPUs have none
