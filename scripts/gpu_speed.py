"""The JAX side of gpu.py's speed: LNLN in all forms of its kernels, and other networks.

One factor is changed at a time, from the fastest so far, so each row but the first has one
alternative. All alternatives of a factor are compiled at the same time, then measured one by one.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gpu_report import Report

from lnln_jax import kernels
from lnln_jax.complexity import count_elements_moved
from lnln_jax.config import OptimizerConfig
from lnln_jax.data import dead_leaves
from lnln_jax.doctor.networks import random_variables
from lnln_jax.doctor.speed import ceilings, seconds_of
from lnln_jax.loading import load_model
from lnln_jax.models import create_model
from lnln_jax.optim import make_optimizer, make_schedule
from lnln_jax.state import create_state, make_train_step

OPTIMIZER = OptimizerConfig()
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


class Sizes(NamedTuple):
    """What is measured.

    Attributes:
      patch: side of the LR patches.
      batches: the small and the large one.
      options: hyper-parameters that make LNLN what is measured; none: as published.
      shallow: those of the depth at which `torch.compile` is compared.
      others: other networks, with their hyper-parameters.
      photo: side of the LR photo.
      seconds: that a measurement lasts.
    """

    patch: int
    batches: tuple[int, int]
    options: dict[str, Any]
    shallow: dict[str, Any]
    others: dict[str, dict[str, Any]]
    photo: int
    seconds: float


FULL = Sizes(
    patch=48,
    batches=(16, 128),
    options={},
    shallow={"n_resgroups": 1, "n_resblocks": 4},
    others={"rcan": {}, "edsr_baseline": {}},
    photo=1000,
    seconds=0.5,
)
_TINY = {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4}
REHEARSAL = Sizes(
    patch=12,
    batches=(2, 4),
    options=_TINY,
    shallow=_TINY | {"n_resblocks": 1},
    others={"edsr_baseline": {"n_resblocks": 1, "n_feats": 8}},
    photo=100,
    seconds=0.02,
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
        """As a row of the table says it."""
        return dict(vars(self))


class Prepared(NamedTuple):
    """Compiled programs with what they take."""

    step: Any
    forward: Any
    state: Any
    batch: dict[str, jax.Array]
    compile_seconds: float


def prepare(model: str, options: dict[str, Any], setting: Setting, patch: int) -> Prepared:
    """Compiles a network's step and forward pass in one form."""
    dtype = jnp.bfloat16 if setting.precision == "bfloat16" else jnp.float32
    options = options | ({"attention": setting.attention} if model == "lnln" else {})
    module = create_model(model, dtype=dtype, **options)
    rng = np.random.default_rng(0)
    batch = {
        key: jnp.asarray(rng.integers(0, 256, (setting.batch, side, side, 3), dtype=np.uint8))
        for key, side in (("lr", patch), ("hr", 2 * patch))
    }
    optimizer, schedule = make_optimizer(OPTIMIZER), make_schedule(OPTIMIZER)
    create = jax.jit(partial(create_state, optimizer=optimizer, ema=False))
    state = create(random_variables(module, rng))
    step = make_train_step(module, optimizer, schedule=schedule)
    start = time.perf_counter()
    with (
        kernels.using(setting.form, depthwise=setting.depthwise),
        jax.default_matmul_precision(PRECISIONS[setting.precision]),
    ):
        compiled_step = step.lower(state, batch).compile()
        lr = jax.ShapeDtypeStruct(batch["lr"].shape, jnp.float32)
        forward = jax.jit(module.apply).lower(state.variables, lr).compile()
    return Prepared(compiled_step, forward, state, batch, time.perf_counter() - start)


def measure(prepared: Prepared) -> dict[str, Any]:
    """Milliseconds and planned memory of a compiled step and forward pass."""
    state, batch = prepared.state, prepared.batch
    lr = batch["lr"].astype(jnp.float32)
    forward = seconds_of(lambda: prepared.forward(state.variables, lr))

    def step() -> Any:  # each call takes over the state of the one before
        nonlocal state
        state, metrics = prepared.step(state, batch)
        return metrics["loss"]

    steps = seconds_of(step)
    memory = prepared.step.memory_analysis()
    return {
        "step_ms": 1e3 * steps.median,
        "step_range_ms": f"{1e3 * steps.low:.3g}-{1e3 * steps.high:.3g}",
        "forward_ms": 1e3 * forward.median,
        "planned_MiB": (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 2**20,
        "compile_s": prepared.compile_seconds,
    }


class Sweep:
    """Measures settings of LNLN, and remembers the fastest."""

    def __init__(self, report: Report, sizes: Sizes, bytes_per_s: float) -> None:
        """Starts with nothing measured; `bytes_per_s` is the ceiling of a copy."""
        self._report, self._sizes = report, sizes
        module = create_model("lnln", **sizes.options)
        self._moved = count_elements_moved(module, (2 * sizes.patch,) * 2)
        self._rate = bytes_per_s
        self.milliseconds: dict[Setting, float] = {}

    @property
    def best(self) -> Setting:
        """The fastest setting of those that take as many patches as the last."""
        batch = next(reversed(self.milliseconds)).batch
        taken = {key: ms for key, ms in self.milliseconds.items() if key.batch == batch}
        return min(taken, key=lambda key: taken[key])

    def run(self, table: str, settings: Sequence[Setting], needs: float) -> None:
        """Compiles all settings at once and measures each; a row each, also of what fails."""
        settings = [setting for setting in settings if setting not in self.milliseconds]
        sizes, report = self._sizes, self._report
        settings = [setting for setting in settings if report.has(needs, table, **setting.cells)]
        with ThreadPoolExecutor(4) as pool:
            compiling = {
                setting: pool.submit(prepare, "lnln", sizes.options, setting, sizes.patch)
                for setting in settings
            }
            for setting in settings:
                with report.attempt(table, **setting.cells):
                    prepared = compiling.pop(setting).result()
                    found = measure(prepared)
                    wide = 2 if setting.precision == "bfloat16" else 4
                    floor = 3 * wide * self._moved * setting.batch / self._rate
                    found["patches_s"] = 1e3 * setting.batch / found["step_ms"]
                    found["of_the_traffic_floor"] = floor / (found["step_ms"] / 1e3)
                    report.row(table, **setting.cells, **found)
                    self.milliseconds[setting] = found["step_ms"]


def run(report: Report, sizes: Sizes) -> None:
    """Measures everything of the JAX side, the most important first."""
    gpu = jax.default_backend() == "gpu"
    limits = ceilings()
    with report.attempt("ceilings"):
        for name, value in limits._asdict().items():
            if value is not None:
                report.row("ceilings", what=name, per_second=f"{value:.3g}")
    sweep = Sweep(report, sizes, limits.bytes_per_s)
    small, large = sizes.batches
    table = f"LNLN x2, LR {sizes.patch}x{sizes.patch}, JAX {jax.__version__}"
    first = Setting(batch=small)
    rounds: list[Callable[[Setting], list[Setting]]] = [
        lambda best: [best, replace(best, form="tuned")],
        lambda best: [replace(best, precision=name) for name in PRECISIONS],
        lambda best: [replace(best, depthwise="grouped")],
        lambda best: [
            replace(best, attention="chunked"),
            *([replace(best, attention="cudnn")] if gpu and best.precision == "bfloat16" else []),
        ],
        lambda best: [
            replace(best, batch=large),
            replace(best, batch=large, form="tuned" if best.form == "plain" else "plain"),
        ],
    ]
    best = first
    for settings in rounds:
        sweep.run(table, settings(best), needs=20 if gpu else 0)
        best = sweep.best if sweep.milliseconds else first
        jax.clear_caches()
    beside, sides = "beside PyTorch", replace(best, batch=small)
    compared = {"lnln": sizes.shallow, **sizes.others}
    for model, options in compared.items():
        for precision in ("tf32", "bfloat16"):
            setting = replace(sides, precision=precision, attention="dense")
            cells = {"network": model, "options": str(options), "side": f"JAX {precision}"}
            cells["batch"] = setting.batch
            if not report.has(10 if gpu else 0, beside, **cells):
                continue
            with report.attempt(beside, **cells):
                found = measure(prepare(model, options, setting, sizes.patch))
                report.row(beside, **cells, **found)
    _photo(report, sizes)


def _photo(report: Report, sizes: Sizes) -> None:
    """Times the shipped networks on a photo, the second time that they see it."""
    photo = dead_leaves(np.random.default_rng(0), sizes.photo)
    for name in ("lnln_light_x2", *(["lnln_x2"] if sizes is FULL else [])):
        cells = {"network": name, "pixels": photo.shape[0] * photo.shape[1], "side": "JAX"}
        if not report.has(10 if sizes is FULL else 0, "a photo", **cells):
            continue
        with report.attempt("a photo", **cells):
            model = load_model(name)
            seconds = []
            for _ in range(3):
                start = time.perf_counter()
                model.upscale(photo, tile=96)
                seconds.append(time.perf_counter() - start)
            report.row("a photo", **cells, first_s=seconds[0], seconds=min(seconds[1:]))
