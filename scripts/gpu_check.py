"""Whether networks and their training are right on this device: the part `check` of gpu.py.

Kernels and LNLN against float64 on the CPU; all networks against the PyTorch reference on the same
device (tests/torch_reference), beside PyTorch in float64; whether a run that was interrupted ends
bit for bit where it would have ended; whether a shipped network's PSNR is that of the CPU.
"""

import copy
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from gpu_report import Report
from PIL import Image

from lnln_jax import kernels
from lnln_jax.config import OptimizerConfig
from lnln_jax.data import dead_leaves
from lnln_jax.doctor.deviations import (
    Deviation,
    kernel_deviations,
    network_deviations,
    relative,
)
from lnln_jax.doctor.networks import random_variables
from lnln_jax.models import create_model, input_channels
from lnln_jax.optim import make_optimizer
from lnln_jax.state import make_gradients
from lnln_jax.torch_port import to_torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

_GROUPS = {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4}
NETWORKS: dict[str, dict[str, Any]] = {
    "lnln": _GROUPS,
    "drca": _GROUPS,
    "rcan": _GROUPS,
    "edsr": {"n_resblocks": 2, "n_feats": 16, "res_scale": 0.1},
    "vdsr": {"n_layers": 5, "n_feats": 16},
}
# What may lie between ours and float64, all arrays as one vector, where PyTorch's float32 is no
# farther away itself. Where a ReLU's input is near zero rounding decides about a gradient, so the
# median over seeds counts.
LIMITS = {"output": 2e-6, "gradients": 1e-4, "parameters after ten steps": 1e-4}
TIMES_PYTORCH = 8
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
            _networks(report, seeds=1 if rehearse else 3)
        with report.attempt("deviations from float64"):
            _kernels(report, forms=("auto",) if rehearse else ("plain", "tuned"))
        for finish in waiting:
            with report.attempt("resuming"):
                finish()
        for side, job in scores.items():
            with report.attempt("evaluation", side=side):
                psnr = job.result()
                same = abs(psnr - scores["cpu"].result()) <= SAME_DB
                report.row("evaluation", network=NETWORK, side=side, psnr=f"{psnr:.5f}", sound=same)


def _kernels(report: Report, forms: Sequence[kernels.Form]) -> None:
    """The worst array of each kernel, implementation and precision; those of LNLN one by one."""

    def same(row: Deviation) -> tuple[str, str, str]:
        return row.kernel, row.implementation, row.precision

    for _, rows in itertools.groupby(kernel_deviations(), same):
        _deviation(
            report, max(rows, key=lambda row: (row.deviation != row.deviation, row.deviation))
        )
    for row in network_deviations(forms=forms):
        _deviation(report, row)


def _deviation(report: Report, row: Deviation) -> None:
    cells = {**row._asdict(), "sound": row.sound}
    report.row("deviations from float64", **{key: x for key, x in cells.items() if x != ""})


# ---- networks beside PyTorch ----


def _networks(report: Report, *, seeds: int) -> None:
    try:
        import torch
    except ImportError:
        report.row("networks beside PyTorch", network="all", problem="PyTorch is not installed")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # its threads would spend their time waiting for each other
    with ThreadPoolExecutor(len(NETWORKS)) as pool:  # most of the time goes into compiling
        list(pool.map(lambda name: _network(report, name, torch, seeds), NETWORKS))


def _network(report: Report, name: str, torch: Any, seeds: int) -> None:
    table = "networks beside PyTorch"
    with report.attempt(table, network=name), jax.default_matmul_precision("highest"):
        compare = _comparison(name, NETWORKS[name], torch)
        found = [compare(seed) for seed in range(seeds)]
        for what in found[0]:
            ours, theirs = np.median([errors[what] for errors in found], axis=0).tolist()
            sound = ours <= max(LIMITS[what], TIMES_PYTORCH * theirs)
            report.row(table, network=name, what=what, ours=ours, pytorch=theirs, sound=sound)


Errors = dict[str, tuple[float, float]]  # what -> ours and PyTorch's, from float64


def _comparison(name: str, options: dict[str, Any], torch: Any) -> Callable[[int], Errors]:
    """A function of a seed that trains a network in both frameworks, compiled once."""
    from torch_reference import NETWORKS as TORCH_NETWORKS
    from torch_reference import training
    from torch_reference.training import is_cancelled

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loss, config = ("l1", OptimizerConfig(learning_rate=1e-3)) if name != "vdsr" else ("l2", SGD)
    module = create_model(name, **options)
    colors = input_channels(module)
    optimizer = make_optimizer(config)
    forward = jax.jit(module.apply)
    gradients = jax.jit(make_gradients(module, loss))

    @jax.jit
    def optimize(grads: Any, opt_state: Any, params: Any) -> tuple[Any, Any]:
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def in_torch(network: Any, batches: list[dict[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
        dtype = next(network.parameters()).dtype
        batches = [
            {
                k: torch.from_numpy(np.moveaxis(x, 3, 1).copy()).to(device, dtype)
                for k, x in b.items()
            }
            for b in batches
        ]
        first = batches[0]["lr"]
        with torch.no_grad():
            x = training.rgb_to_y(first) if colors == 1 else first
            output = network.eval()(x).permute(0, 2, 3, 1)
        update, found = training.make_optimizer(network.train().parameters(), config), {}
        for batch in batches:
            network.zero_grad()
            training.training_loss(network, batch["lr"], batch["hr"], loss, colors)[0].backward()
            if not found:
                found = {k: p.grad.clone() for k, p in trainable(network).items()}
            update()
        return {
            "output": {"sr": output.cpu().numpy()},
            "gradients": on_host(found),
            "parameters after ten steps": on_host(trainable(network)),
        }

    def trainable(network: Any) -> dict[str, Any]:
        named = network.named_parameters()
        return {k: p for k, p in named if p.requires_grad and not is_cancelled(name, k)}

    def on_host(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
        return {key: x.detach().cpu().numpy() for key, x in tensors.items()}

    def compare(seed: int) -> Errors:
        rng = np.random.default_rng(seed)
        variables = random_variables(module, rng)
        network = TORCH_NETWORKS[name](2, **options).to(device)
        arrays = to_torch(variables, name=name)
        network.load_state_dict({key: torch.from_numpy(x) for key, x in arrays.items()})
        batches = []
        for _ in range(10):  # far from what the network makes, where L1 has a kink
            lr = rng.integers(0, 256, (2, 11, 13, 3)).astype(np.float32)
            hr = 1000 + rng.uniform(0, 255, (2, 22, 26, 3)).astype(np.float32)
            batches.append({"lr": lr, "hr": hr})
        truth = in_torch(copy.deepcopy(network).double(), batches)
        theirs = in_torch(network, batches)
        x = batches[0]["lr"]
        if colors == 1:
            from lnln_jax.image import rgb_to_y

            x = rgb_to_y(x)[..., None]
        ours = {"output": {"sr": np.asarray(forward(variables, x))}}
        found = gradients(variables, batches[0])
        ours["gradients"] = to_torch({"params": found.params, **found.statistics}, name=name)
        state = optimizer.init(variables["params"])
        for batch in batches:
            found = gradients(variables, batch)
            params, state = optimize(found.params, state, variables["params"])
            variables = {**variables, **found.statistics, "params": params}
        ours["parameters after ten steps"] = to_torch(jax.device_get(variables), name=name)
        errors = {}
        for what, arrays in truth.items():
            true, mine, other = (
                np.concatenate([np.ravel(side[what][key]) for key in arrays])
                for side in (truth, ours, theirs)
            )
            errors[what] = relative(mine, true), relative(other, true)
        return errors

    return compare


SGD = OptimizerConfig("sgd", learning_rate=0.1, weight_decay=1e-4, clip_norm=0.4)


# ---- what needs processes ----


def _process(code: list[str], environment: dict[str, str], timeout: float) -> str:
    done = subprocess.run(
        [sys.executable, *code],
        env={**os.environ, "PYTHONPATH": str(HERE.parent), **environment},
        capture_output=True,
        text=True,
        timeout=max(timeout, 1),
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout


def _evaluate(pictures: Path, output: Path, environment: dict[str, str], timeout: float) -> float:
    command = ["-m", "lnln_jax", "evaluate", NETWORK, "--data", str(pictures)]
    _process([*command, "--output", str(output)], environment, timeout)
    results = json.loads((output / "results.json").read_text())["results"]
    return next(result["psnr"] for result in results if result["model"] == NETWORK)


def _resume_in_a_process(folder: Path, flags: str, timeout: float) -> str:
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    target = folder / ("deterministic" if DETERMINISTIC in flags else "as usual")
    return _process([str(HERE / "gpu_resume.py"), str(target)], {"XLA_FLAGS": flags}, timeout)


def _resumes(report: Report, flags: str, answer: str) -> None:
    found = json.loads(answer.splitlines()[-1])
    report.row(
        "resuming",
        xla_flags=flags or "as usual",
        arrays=found["arrays"],
        differ=found["differ"],
        again_differ=found["again_differ"],
        bit_for_bit=not found["differ"],
    )
