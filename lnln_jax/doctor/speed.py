"""Speed of a device, and the share of it that LNLN reaches.

The ceilings are the rates of a large matrix product and of a large copy. The operations and bytes
of a network are those that `models.complexity` counts, as if every convolution read and wrote its
feature maps once and all else happened on the way; a training step is three forward passes.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.doctor.workload import Spread, time_call, workload
from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_elements_moved, count_multiply_adds
from lnln_jax.runtime.processes import available_memory


class Ceilings(NamedTuple):
    """Medians of rates in a second.

    Attributes:
      float32: operations in a product at the highest precision.
      tf32: operations in a product whose inputs are rounded to TF32; None where no GPU does that.
      bfloat16: operations in a product of bfloat16.
      bytes_per_s: bytes read and written in a copy.
    """

    float32: float
    tf32: float | None
    bfloat16: float
    bytes_per_s: float


class Size(NamedTuple):
    """An LNLN x2 and its batch.

    Attributes:
      options: hyper-parameters that are not the published ones.
      batch: number of patches.
      patch: side of the LR patches.
    """

    options: dict[str, int]
    batch: int
    patch: int


LIGHT = Size({"n_resgroups": 2, "n_resblocks": 4}, batch=8, patch=32)  # that of lnln_light_x2
PUBLISHED = Size({}, batch=16, patch=48)


class NetworkSpeed(NamedTuple):
    """One compiled program of LNLN.

    Attributes:
      what: "forward pass" or "training step".
      precision: "float32", "tf32" or "bfloat16".
      seconds: time of a call.
      ready_seconds: time of tracing and compiling, or of reading from the compilation cache.
      flop: operations of a call.
      bytes: bytes read and written in a call, at least.
      flop_share: share of the product's rate in this precision.
      bytes_share: share of the copy's rate.
      temporary_bytes: bytes that the compiler has planned, arguments and results left out.
    """

    what: str
    precision: str
    seconds: Spread
    ready_seconds: float
    flop: int
    bytes: int
    flop_share: float | None
    bytes_share: float
    temporary_bytes: int


def ceilings() -> Ceilings:
    """Measures the rates of JAX's default device."""
    return medians(measure_ceilings())


def medians(rates: Mapping[str, Spread]) -> Ceilings:
    """Returns the medians of what `measure_ceilings` returns."""
    return Ceilings(
        float32=rates["float32"].median,
        tf32=rates["tf32"].median if "tf32" in rates else None,
        bfloat16=rates["bfloat16"].median,
        bytes_per_s=rates["bytes_per_s"].median,
    )


def measure_ceilings() -> dict[str, Spread]:
    """Returns the rates that `Ceilings` holds by the names of its fields, with their ranges."""
    backend = jax.default_backend()
    rate = partial(product_rate, 2048 if backend == "cpu" else 8192)
    return {
        "float32": rate(jnp.float32, "highest"),
        **({"tf32": rate(jnp.float32, "tensorfloat32")} if backend == "gpu" else {}),
        "bfloat16": rate(jnp.bfloat16, "default"),
        "bytes_per_s": copy_rate(),
    }


def product_rate(side: int, dtype: Any, precision: str) -> Spread:
    """Returns the operations in a second of a product of two square matrices."""
    rng = np.random.default_rng(0)  # numbers that are alike would let a GPU run faster
    x = jax.device_put(rng.normal(size=(side, side)).astype(np.float32)).astype(dtype)
    product = jax.jit(partial(jnp.dot, precision=precision))
    return _rate(2 * side**3, time_call(lambda: product(x, x)))


def copy_rate() -> Spread:
    """Returns the bytes in a second, read and written, of adding 1 to a large array in place."""
    free = free_memory()
    most = 2**28 if jax.default_backend() == "cpu" else 2**30
    x = jnp.zeros(min(most, free // 8 if free else most) // 4, jnp.float32)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def call() -> jax.Array:
        nonlocal x
        x = add(x)
        return x

    return _rate(2 * x.nbytes, time_call(call))


def free_memory() -> int | None:
    """Returns the bytes that JAX's default device has left; None where nothing tells."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return available_memory()


def training_precisions() -> tuple[str, ...]:
    """Returns the precisions that training on JAX's default device would choose from."""
    return {"cpu": ("float32",), "gpu": ("tf32", "bfloat16")}.get(
        jax.default_backend(), ("bfloat16",)
    )


def default_size() -> Size:
    """Returns the size to measure: the light network on a CPU, else the published one."""
    return LIGHT if jax.default_backend() == "cpu" else PUBLISHED


def network_speeds(precision: str, limits: Ceilings, size: Size) -> list[NetworkSpeed]:
    """Measures LNLN x2, as it is trained.

    Args:
      precision: "float32" or, on a GPU, "tf32", which differ by the device alone; or "bfloat16".
      limits: ceilings of this device.
      size: size of network and batch.

    Returns:
      The forward pass and the training step.
    """
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    module = create_model("lnln", scale=2, dtype=dtype, **size.options)
    work = workload(module, size.batch, size.patch)
    ready_forward, forward = _compile(work.forward, *work.forward_arguments)
    ready_step, step = _compile(work.step, *work.step_arguments)
    row = partial(_row, precision=precision, limits=limits, size=size)
    return [
        row("forward pass", 1, work.seconds_of_forward(forward), ready_forward, forward),
        row("training step", 3, work.seconds_of_step(step), ready_step, step),
    ]


def _compile(function: Any, *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return time.perf_counter() - start, compiled


def _row(
    what: str,
    passes: int,
    seconds: Spread,
    ready_seconds: float,
    compiled: Any,
    *,
    precision: str,
    limits: Ceilings,
    size: Size,
) -> NetworkSpeed:
    module, hr = create_model("lnln", scale=2, **size.options), (2 * size.patch,) * 2
    width = 2 if precision == "bfloat16" else 4
    flop = passes * 2 * size.batch * sum(count_multiply_adds(module, hr).values())
    moved = passes * width * size.batch * count_elements_moved(module, hr)
    limit = getattr(limits, precision)
    return NetworkSpeed(
        what=what,
        precision=precision,
        seconds=seconds,
        ready_seconds=ready_seconds,
        flop=flop,
        bytes=moved,
        flop_share=flop / seconds.median / limit if limit else None,
        bytes_share=moved / seconds.median / limits.bytes_per_s,
        temporary_bytes=compiled.memory_analysis().temp_size_in_bytes,
    )


def _rate(work: float, seconds: Spread) -> Spread:
    return Spread(work / seconds.median, work / seconds.high, work / seconds.low)
