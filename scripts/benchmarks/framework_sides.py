"""One network in JAX and in PyTorch behind one interface, for frameworks.py and ceilings.py.

Each side lives in a process of its own, so that memory is its own, nothing is compiled already, and
no framework's threads wait beside the other's. PyTorch's side is in torch_side.py.
"""

import abc
import ctypes
import gc
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lnln_jax.config import OptimizerConfig
from scripts.benchmarks.common import timed, watch_others

Kind = Literal["forward", "step"]

MEASURED_SECONDS = 0.5  # a measurement repeats a call until it lasts about as long
WARM_UP = 2  # calls between the first and those that count
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


@dataclass(frozen=True)
class Job:
    """What all sides work on: `batches` hold "lr" and "hr", uint8 `B H W 3`."""

    model: str
    scale: int
    options: dict[str, Any]
    device: Literal["cpu", "cuda"]
    variables: dict[str, Any]  # arrays, Flax's tree
    state_dict: dict[str, np.ndarray]  # the same for PyTorch
    batches: list[dict[str, np.ndarray]]
    optimizer: OptimizerConfig
    loss: Literal["l1", "l2"]
    n_colors: int
    tf32: bool  # whether float32 products may be made in TensorFloat-32, on a GPU
    cache: str = ""  # a folder for what XLA compiles; without one nothing is kept


@dataclass(frozen=True)
class Variant:
    """A way of running a network; the fields beyond `dtype` are about PyTorch."""

    framework: Literal["jax", "torch"]
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    compile_mode: Literal["", "default", "reduce-overhead"] = ""
    captured: bool = False  # whether a step is replayed as a CUDA graph
    channels_last: bool = False
    huge_pages: bool = True  # whether glibc is asked for them (GLIBC_TUNABLES)


class Side(abc.ABC):
    """A network with its training state and batches on the device; `run` is all that differs."""

    @abc.abstractmethod
    def run(self, kind: Kind, calls: int, batch: int = 0) -> Any:
        """Calls, and waits for the last result: the framework's own output, or loss."""

    @abc.abstractmethod
    def output(self) -> np.ndarray:
        """Returns what the forward pass makes of the first batch, float32 `B H W C`."""

    @abc.abstractmethod
    def parameters(self) -> dict[str, np.ndarray]:
        """Returns arrays by PyTorch's keys; PyTorch gives the trainable ones alone."""

    def peak_memory(self, kind: Kind) -> float | None:
        """Returns MiB; on a CPU how far the resident memory rises in a warm call.

        From here on the allocator gives large blocks back at once, so that a call cannot live on
        what an earlier one left; this costs time, so all times must have been taken before.
        """
        allocator = ctypes.CDLL(None)
        for threshold in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            allocator.mallopt(threshold, 2**16)
        self.run(kind, 1)
        gc.collect()
        time.sleep(0.2)  # JAX frees in the background
        allocator.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        before = _resident()["VmRSS"]
        self.run(kind, 1)
        return _resident()["VmHWM"] - before

    def plan(self, kind: Kind) -> float | None:
        """Returns the MiB that the compiler plans for beyond the arguments, where it says so."""
        return None

    def prepare(self, kind: Kind) -> dict[str, float | None]:
        """Makes the first call, with all that it compiles, and some more to warm up."""
        _, seconds = timed(lambda: self.run(kind, 1))
        self.run(kind, WARM_UP)
        return {"first_seconds": seconds, "planned_mib": self.plan(kind)}

    def measure(self, kind: Kind) -> tuple[float, float]:
        """Returns the seconds of a call, and how many cores other processes kept busy meanwhile.

        The seconds are the mean of several calls that follow one to warm up.
        """
        _, seconds = timed(lambda: self.run(kind, 1))
        calls = min(max(round(MEASURED_SECONDS / seconds), 1), 100)
        elsewhere = watch_others()
        _, seconds = timed(lambda: self.run(kind, calls))
        return seconds / calls, elsewhere()

    def train(self, batch: int) -> tuple[float, dict[str, np.ndarray]]:
        """Takes a step; returns the loss before it and the parameters after it."""
        return float(self.run("step", 1, batch)), self.parameters()


class _JaxSide(Side):
    """The jitted functions of lnln_jax."""

    def __init__(self, job: Job, variant: Variant) -> None:
        import jax

        jax.config.update("jax_platforms", job.device)
        jax.config.update("jax_enable_compilation_cache", bool(job.cache))
        jax.config.update(
            "jax_default_matmul_precision", "tensorfloat32" if job.tf32 else "highest"
        )
        from lnln_jax.images.arrays import rgb_to_y
        from lnln_jax.models import create_model
        from lnln_jax.runtime.compilation_cache import enable_compilation_cache
        from lnln_jax.training.optimizer import make_optimizer, make_schedule
        from lnln_jax.training.state import create_state
        from lnln_jax.training.step import make_train_step

        if job.cache:
            os.environ["JAX_COMPILATION_CACHE_DIR"] = job.cache
            enable_compilation_cache()
        self.jax, self.model = jax, job.model
        module = create_model(job.model, job.scale, dtype=variant.dtype, **job.options)
        optimizer, schedule = make_optimizer(job.optimizer), make_schedule(job.optimizer)
        self.state = create_state(jax.device_put(job.variables), optimizer, ema=False)
        self.batches = jax.device_put(job.batches)
        lr = job.batches[0]["lr"].astype(np.float32)
        self.lr = jax.device_put(rgb_to_y(lr)[..., None] if job.n_colors == 1 else lr)
        self.jitted = {
            "forward": jax.jit(module.apply),
            "step": make_train_step(module, optimizer, schedule=schedule, loss=job.loss),
        }
        self.compiled: dict[Kind, Any] = {}

    def arguments(self, kind: Kind, batch: int = 0) -> tuple[Any, Any]:
        if kind == "forward":
            return self.state.variables, self.lr
        return self.state, self.batches[batch]

    def run(self, kind: Kind, calls: int, batch: int = 0) -> Any:
        if kind not in self.compiled:
            self.compiled[kind] = self.jitted[kind].lower(*self.arguments(kind)).compile()
        for _ in range(calls):
            result = self.compiled[kind](*self.arguments(kind, batch))
            if kind == "step":
                self.state, metrics = result
                result = metrics["loss"]
        return self.jax.block_until_ready(result)

    def output(self) -> np.ndarray:
        return np.asarray(self.run("forward", 1), np.float32)

    def parameters(self) -> dict[str, np.ndarray]:
        from lnln_jax.weights.torch_port import to_torch

        return to_torch(self.jax.device_get(self.state.variables), name=self.model)

    def peak_memory(self, kind: Kind) -> float | None:
        if self.jax.default_backend() == "cpu":
            return super().peak_memory(kind)
        if kind == "forward":
            return None  # the peak cannot be reset, and that of the steps is higher
        return self.jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20

    def plan(self, kind: Kind) -> float | None:
        plan = self.compiled[kind].memory_analysis()
        new = plan.output_size_in_bytes - plan.alias_size_in_bytes
        return (plan.temp_size_in_bytes + new) / 2**20


def _resident() -> dict[str, float]:
    """Returns MiB: "VmRSS" now, "VmHWM" at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = [line.split() for line in lines if line.startswith(("VmRSS", "VmHWM"))]
    return {name.rstrip(":"): int(kib) / 2**10 for name, kib, _ in fields}


_side: Side | None = None  # of this process


def _start(job: Job, variant: Variant) -> None:
    global _side
    if variant.framework == "jax":
        _side = _JaxSide(job, variant)
    else:
        from scripts.benchmarks.torch_side import TorchSide

        _side = TorchSide(job, variant)


def _call(method: str, *arguments: Any) -> Any:
    return getattr(_side, method)(*arguments)


class Worker:
    """A side in a process of its own: `worker.call("measure", "step")`."""

    def __init__(self, job: Job, variant: Variant) -> None:
        os.environ["GLIBC_TUNABLES"] = f"glibc.malloc.hugetlb={int(variant.huge_pages)}"
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self.started = self.pool.submit(_start, job, variant)

    def call(self, method: str, *arguments: Any) -> Any:
        """Returns or raises what a method of the side does."""
        self.started.result()  # raises what its start raised
        return self.pool.submit(_call, method, *arguments).result()

    def close(self) -> None:
        """Ends the process."""
        self.pool.shutdown()
