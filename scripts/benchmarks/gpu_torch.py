"""The PyTorch side of the part `speed` of gpu.py: steps in eager mode, captured, compiled.

It runs in a process of its own, so that JAX's memory is free again; where PyTorch is not installed,
its rows say so.
"""

import gc
from typing import Any

import jax
import numpy as np

from lnln_jax.config import OptimizerConfig
from lnln_jax.doctor.networks import random_variables
from lnln_jax.models import create_model, resolve
from lnln_jax.weights.torch_port import to_torch
from scripts.benchmarks.framework_sides import Job, Variant
from scripts.benchmarks.gpu_report import Report
from scripts.benchmarks.gpu_speed import FULL, Sizes

EAGER = Variant("torch", "bfloat16", channels_last=True)
EAGER_TF32 = Variant("torch", "float32", channels_last=True)
GRAPH = Variant("torch", "bfloat16", channels_last=True, captured=True)
COMPILED = Variant("torch", "bfloat16", "default", channels_last=True)
NAMES = {EAGER: "eager", EAGER_TF32: "eager", GRAPH: "CUDA graph", COMPILED: "torch.compile"}
NEEDS = {EAGER: 5, EAGER_TF32: 5, GRAPH: 7, COMPILED: 25}  # seconds, on a GPU


def make_job(name: str, options: dict[str, Any], batch: int, patch: int, device: str) -> Job:
    """Makes a network with random weights and one batch of random patches."""
    rng = np.random.default_rng(0)
    network, all_options = resolve(name, options)
    module = create_model(network, **all_options)
    variables = random_variables(module, rng)
    images = {
        key: rng.integers(0, 256, (batch, side, side, 3), np.uint8)
        for key, side in (("lr", patch), ("hr", 2 * patch))
    }
    return Job(
        model=network,
        scale=2,
        options=all_options,
        device="cuda" if device == "cuda" else "cpu",
        variables=variables,
        state_dict=to_torch(variables, name=network),
        batches=[images],
        optimizer=OptimizerConfig(),
        loss="l1",
        n_colors=3,
        tf32=True,
    )


def measure(job: Job, variant: Variant) -> dict[str, Any]:
    """Measures milliseconds and peak memory of a step; in eager mode also a forward pass."""
    from scripts.benchmarks.torch_side import TorchSide

    side = TorchSide(job, variant)
    first = side.prepare("step")["first_seconds"]
    steps = [1e3 * side.measure("step")[0] for _ in range(3)]
    cells: dict[str, Any] = {"step_ms": float(np.median(steps))}
    cells["step_range_ms"] = f"{min(steps):.3g}-{max(steps):.3g}"
    if job.device == "cuda":
        cells["peak_MiB"] = side.peak_memory("step")
    if variant in (EAGER, EAGER_TF32):
        side.prepare("forward")
        cells["forward_ms"] = 1e3 * side.measure("forward")[0]
    return {**cells, "compile_s": first}


def run(report: Report, sizes: Sizes) -> None:
    """Measures everything of the PyTorch side, the most important first."""
    try:
        import torch
    except ImportError:
        report.row("beside PyTorch", side="PyTorch", left_out="not installed here")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    assert jax.default_backend() == "cpu"  # as gpu.py starts this process
    small, large = sizes.batches
    others = sizes.others.items()
    jobs: list[tuple[str, dict[str, Any], Variant, int]] = [
        ("lnln", sizes.options, EAGER, small),
        ("lnln", sizes.options, GRAPH, small),
        ("lnln", sizes.shallow, GRAPH, small),
        ("lnln", sizes.shallow, COMPILED, small),
        *((name, options, GRAPH, small) for name, options in others),
        *((name, options, EAGER, small) for name, options in others),
        ("lnln", sizes.options, EAGER_TF32, small),
        ("lnln", sizes.options, GRAPH, large),
    ]
    table = "beside PyTorch"
    for name, options, variant, batch in jobs:
        dtype = "tf32" if variant is EAGER_TF32 else variant.dtype
        side = f"PyTorch {torch.__version__}, {NAMES[variant]}, channels_last, {dtype}"
        cells = {"network": name, "options": str(options), "side": side, "batch": batch}
        if device == "cpu" and (variant in (GRAPH, COMPILED) or sizes is FULL):
            report.row(table, **cells, left_out="needs a CUDA GPU")
            continue
        if not report.has(NEEDS[variant] if device == "cuda" else 0, table, **cells):
            continue
        with report.attempt(table, **cells):
            job = make_job(name, options, batch, sizes.patch, device)
            report.row(table, **cells, **measure(job, variant))
        gc.collect()  # what has failed, too, gives its memory back
        if device == "cuda":
            torch.cuda.empty_cache()
