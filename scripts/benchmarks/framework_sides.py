"""One network in JAX and in PyTorch behind one interface, for frameworks.py and ceilings.py.

The sides are in jax_side.py and torch_side.py; framework_worker.py runs them.
"""

import abc
import ctypes
import gc
import time
from dataclasses import dataclass
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


def _resident() -> dict[str, float]:
    """Returns MiB: "VmRSS" now, "VmHWM" at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = [line.split() for line in lines if line.startswith(("VmRSS", "VmHWM"))]
    return {name.rstrip(":"): int(kib) / 2**10 for name, kib, _ in fields}
