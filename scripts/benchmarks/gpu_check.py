"""Checks networks and their training on this device: the part `check` of gpu.py.

Kernels and LNLN against float64 on the CPU; all networks against PyTorch in float64 on the same
device (torch_reference), beside PyTorch in float32; whether a run that was interrupted ends bit for
bit where it would have ended; whether a shipped network's PSNR is that of the CPU.
"""

import itertools
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from lnln_jax.data import dead_leaves
from lnln_jax.doctor.deviations import (
    Deviation,
    kernel_deviations,
    network_deviations,
)
from scripts.benchmarks.gpu_networks import NETWORKS, REHEARSED, compare_networks
from scripts.benchmarks.gpu_report import Report
from scripts.benchmarks.processes import lnln, run_python

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
NETWORK = "lnln_light_x2"  # whose evaluation is compared
SAME_DB = 1e-3


def run(report: Report, *, rehearse: bool) -> None:
    """Checks everything; the slow things that need processes run beside the others."""
    gpu = jax.default_backend() == "gpu"
    with ThreadPoolExecutor() as pool, tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        pictures.mkdir()
        for i in range(2 if rehearse else 5):
            picture = dead_leaves(np.random.default_rng([7, i]), 96 if rehearse else 256)
            Image.fromarray(picture).save(pictures / f"{i}.png")
        waiting: list[Callable[[], None]] = []
        for flags in ("", DETERMINISTIC) if gpu else ("",):
            job = pool.submit(_resume_in_a_process, Path(folder), flags, report.left)
            waiting.append(lambda job=job, flags=flags: _resumes(report, flags, job.result()))
        sides = {"cpu": {"JAX_PLATFORMS": "cpu"}, "this device": {}}
        if gpu:
            sides["this device, highest precision"] = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
        scores = {
            side: pool.submit(_evaluate, pictures, Path(folder, side), extra, report.left)
            for side, extra in sides.items()
        }
        with report.attempt("networks beside PyTorch"):
            names = REHEARSED if rehearse else tuple(NETWORKS)
            compare_networks(report, seeds=1 if rehearse else 3, names=names)
        with report.attempt("deviations from float64"):
            _kernels(report)
        for finish in waiting:
            with report.attempt("resuming"):
                finish()
        for side, job in scores.items():
            with report.attempt("evaluation", side=side):
                psnr = job.result()
                same = abs(psnr - scores["cpu"].result()) <= SAME_DB
                report.row("evaluation", network=NETWORK, side=side, psnr=f"{psnr:.5f}", sound=same)
        with report.attempt("deviations from float64"):  # last: it compiles for a minute
            for row in network_deviations(forms=("auto",) if rehearse else ("plain", "tuned")):
                _deviation(report, row)


def _kernels(report: Report) -> None:
    """Adds the worst array of each kernel, implementation and precision."""

    def same(row: Deviation) -> tuple[str, str, str]:
        return row.kernel, row.implementation, row.precision

    for _, rows in itertools.groupby(kernel_deviations(), same):
        _deviation(
            report, max(rows, key=lambda row: (row.deviation != row.deviation, row.deviation))
        )


def _deviation(report: Report, row: Deviation) -> None:
    cells = {**row._asdict(), "sound": row.sound}
    report.row("deviations from float64", **{key: x for key, x in cells.items() if x != ""})


# ---- what needs processes ----


def _evaluate(pictures: Path, output: Path, environment: dict[str, str], timeout: float) -> float:
    command = ["evaluate", NETWORK, "--data", str(pictures), "--output", str(output)]
    lnln(command, timeout, environment=environment)
    results = json.loads((output / "results.json").read_text())["results"]
    return next(result["psnr"] for result in results if result["model"] == NETWORK)


def _resume_in_a_process(folder: Path, flags: str, timeout: float) -> dict[str, int]:
    target = folder / ("deterministic" if flags else "as usual")
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    command = ["-m", "scripts.benchmarks.gpu_resume", str(target)]
    return json.loads(run_python(command, timeout, environment={"XLA_FLAGS": flags})[1])


def _resumes(report: Report, flags: str, found: dict[str, int]) -> None:
    report.row(
        "resuming",
        xla_flags=flags or "as usual",
        arrays=found["arrays"],
        differ=found["differ"],
        again_differ=found["again_differ"],
        bit_for_bit=not found["differ"],
    )
