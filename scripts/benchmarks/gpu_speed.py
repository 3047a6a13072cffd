"""The JAX side of the part `speed` of gpu.py: LNLN in all forms of its kernels, other networks.

First each form in each precision, and the networks that PyTorch is compared with; then the fastest
of these with one thing changed at a time. What is compared is compiled at the same time, then
measured one by one.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax import kernels
from lnln_jax.data import dead_leaves
from lnln_jax.doctor.speed import ceilings
from lnln_jax.doctor.workload import Workload, workload
from lnln_jax.inference.loading import load_model
from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_elements_moved
from scripts.benchmarks.common import timed
from scripts.benchmarks.gpu_report import Report

PRECISIONS = {"bfloat16": "default", "tf32": "tensorfloat32", "float32": "highest"}


class Sizes(NamedTuple):
    """What is measured.

    Attributes:
      patch: side of the LR patches.
      batches: the small and the large one.
      precisions: in which all forms of the kernels are compared, the fastest first.
      options: hyper-parameters that make LNLN what is measured.
      shallow: those of the depth at which `torch.compile` is compared.
      others: other networks, with their hyper-parameters.
      photo: side of the LR photo.
    """

    patch: int
    batches: tuple[int, int]
    precisions: tuple[str, ...]
    options: dict[str, Any]
    shallow: dict[str, Any]
    others: dict[str, dict[str, Any]]
    photo: int


# Each group is a program of its own for the compiler, and they are all alike: on a GPU the forms of
# all five groups were not compiled within two minutes, so it is one of them that is compared.
FULL = Sizes(
    patch=48,
    batches=(16, 128),
    precisions=("bfloat16", "tf32"),
    options={"n_resgroups": 1},
    shallow={"n_resgroups": 1, "n_resblocks": 4},
    others={"rcan": {"n_resgroups": 2}, "edsr_baseline": {}},
    photo=1000,
)
_TINY = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "reduction": 4}
REHEARSAL = Sizes(
    patch=12,
    batches=(2, 4),
    precisions=("bfloat16", "float32"),
    options=_TINY,
    shallow=_TINY | {"n_feats": 8},
    others={"edsr_baseline": {"n_resblocks": 1, "n_feats": 8}},
    photo=100,
)


@dataclass(frozen=True)
class Setting:
    """A form of a network's training step and forward pass."""

    form: kernels.Form = "plain"
    depthwise: kernels.Depthwise = "shifted"
    precision: str = "tf32"
    attention: str = "dense"
    batch: int = 16

    @property
    def cells(self) -> dict[str, Any]:
        """The cells of its row."""
        return dict(vars(self))


class Prepared(NamedTuple):
    """Compiled programs, with what they take."""

    work: Workload
    forward: Any
    step: Any
    step_compile_seconds: float
    forward_compile_seconds: float


def prepare(model: str, options: dict[str, Any], setting: Setting, patch: int) -> Prepared:
    """Compiles a network's step and forward pass in one form."""
    dtype = jnp.bfloat16 if setting.precision == "bfloat16" else jnp.float32
    options = options | ({"attention": setting.attention} if model == "lnln" else {})
    work = workload(create_model(model, dtype=dtype, **options), setting.batch, patch)
    with (
        kernels.using(setting.form, depthwise=setting.depthwise),
        jax.default_matmul_precision(PRECISIONS[setting.precision]),
    ):
        step, step_seconds = timed(lambda: work.step.lower(*work.step_arguments).compile())
        forward, forward_seconds = timed(
            lambda: work.forward.lower(*work.forward_arguments).compile()
        )
    return Prepared(work, forward, step, step_seconds, forward_seconds)


def measure(prepared: Prepared) -> dict[str, Any]:
    """Measures a compiled step and forward pass; the peak is the memory that the step plans for.

    The results of a step take the place of its arguments.
    """
    forward = prepared.work.seconds_of_forward(prepared.forward)
    step = prepared.work.seconds_of_step(prepared.step)
    memory = prepared.step.memory_analysis()
    return {
        "step_ms": 1e3 * step.median,
        "step_range_ms": f"{1e3 * step.low:.3g}-{1e3 * step.high:.3g}",
        "forward_ms": 1e3 * forward.median,
        "peak_MiB": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20,
        "compile_s": prepared.step_compile_seconds + prepared.forward_compile_seconds,
    }


@dataclass(frozen=True, eq=False)
class Job:
    """A network in one form, and the row that it gets."""

    table: str
    cells: dict[str, Any]
    model: str
    options: dict[str, Any]
    setting: Setting


def measure_all(report: Report, jobs: Sequence[Job], patch: int, moved_per_s: float) -> list[float]:
    """Compiles all jobs at the same time, then measures one after the other.

    Args:
      report: gets a row for each, also for what fails.
      jobs: the most important first.
      patch: side of the LR patches.
      moved_per_s: numbers of four bytes that a copy moves.

    Returns:
      Milliseconds of each step; infinity for what failed.
    """
    pool = ThreadPoolExecutor(8)
    compiling = {
        job: pool.submit(prepare, job.model, job.options, job.setting, patch) for job in jobs
    }
    wait(compiling.values(), 0.5 * report.left)  # compilers try kernels out, which disturbs
    times = dict.fromkeys(jobs, math.inf)
    while compiling:
        job = next((job for job, future in compiling.items() if future.done()), None)
        job = job or next(iter(compiling))
        future = compiling.pop(job)
        wait([future], max(0.0, report.left - 2))
        if not future.done():
            report.row(job.table, **job.cells, left_out="still being compiled at the limit")
            continue
        if not report.has(2, job.table, **job.cells):
            continue
        with report.attempt(job.table, **job.cells):
            busy = sum(not other.done() for other in compiling.values())
            cells = measure(future.result())
            times[job] = cells["step_ms"]
            module = create_model(job.model, **job.options)
            moved = 3 * job.setting.batch * count_elements_moved(module, (2 * patch,) * 2)
            floor = moved / moved_per_s / (2 if job.setting.precision == "bfloat16" else 1)
            cells["patches_s"] = 1e3 * job.setting.batch / times[job]
            cells["of_the_traffic_floor"] = 1e3 * floor / times[job]
            cells |= {"compiling_meanwhile": busy} if busy else {}
            report.row(job.table, **job.cells, **cells)
    pool.shutdown(wait=False, cancel_futures=True)
    return list(times.values())


def run(report: Report, sizes: Sizes) -> None:
    """Measures everything of the JAX side, the most important first."""
    limits = ceilings()
    for name, value in limits._asdict().items():
        report.row("ceilings", what=name, per_second=value)
    measure_jobs = partial(
        measure_all, report, patch=sizes.patch, moved_per_s=limits.bytes_per_s / 4
    )
    small, large = sizes.batches
    what = "".join(f", {key} {value}" for key, value in sizes.options.items())
    table = f"LNLN x2{what}, LR {sizes.patch}x{sizes.patch}, JAX {jax.__version__}"

    def job(setting: Setting) -> Job:
        return Job(table, setting.cells, "lnln", sizes.options, setting)

    settings = [
        Setting(form, precision=precision, batch=small)
        for precision in sizes.precisions
        for form in ("plain", "tuned")
    ]
    others = [
        Job(
            "beside PyTorch",
            {"network": model, "options": str(options), "side": f"JAX {precision}", "batch": small},
            model,
            options,
            Setting("auto", "auto", precision, batch=small),
        )
        for model, options in {"lnln": sizes.shallow, **sizes.others}.items()
        for precision in sizes.precisions
    ]
    times = measure_jobs([*map(job, settings), *others])[: len(settings)]
    best = settings[times.index(min(times))]
    cudnn = jax.default_backend() == "gpu" and best.precision == "bfloat16"
    changed = [
        replace(best, batch=large),
        replace(best, batch=large, form="tuned" if best.form == "plain" else "plain"),
        replace(best, depthwise="grouped"),
        replace(best, attention="chunked"),
        *([replace(best, attention="cudnn")] if cudnn else []),
    ]
    jax.clear_caches()
    measure_jobs(list(map(job, changed)))
    _photo(report, sizes)


def _photo(report: Report, sizes: Sizes) -> None:
    """Times the shipped networks on a photo, the second time that they see it."""
    photo = dead_leaves(np.random.default_rng(0), sizes.photo)
    for name in ("lnln_light_x2", *(["lnln_grown_x2"] if sizes is FULL else [])):
        cells = {"network": name, "pixels": photo.shape[0] * photo.shape[1], "side": "JAX"}
        if not report.has(10 if sizes is FULL else 0, "a photo", **cells):
            continue
        with report.attempt("a photo", **cells):
            model = load_model(name)
            upscale = partial(model.upscale, photo, tile=96)
            seconds = [timed(upscale)[1] for _ in range(3)]
            report.row("a photo", **cells, first_s=seconds[0], seconds=min(seconds[1:]))
