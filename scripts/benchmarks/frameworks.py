"""Compares JAX and PyTorch: the same network, weights, batches and optimizer, in one run.

    python -m scripts.benchmarks.frameworks                  # a small LNLN x2, about eight minutes
    python -m scripts.benchmarks.frameworks --model edsr --scale 4 --set n_resblocks=4
    python -m scripts.benchmarks.frameworks --full-size --batch 16 --lr-patch-size 48 --device cuda

First both train from the same initial weights, beside PyTorch in float64, and the losses and the
distances of their parameters are written down. Then every variant is compiled and measured, the
variants taking turns, each in a process of its own. Writes comparison.json, comparison.md and
comparison.png. Needs Linux, PyTorch and matplotlib, and for torch.compile a C++ compiler.
"""

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lnln_jax.config import OptimizerConfig
from lnln_jax.data import dead_leaves_pairs, load_folder, make_train_iterator
from lnln_jax.models import MODELS, create_model, input_channels
from lnln_jax.models.variables import initialize
from lnln_jax.weights.torch_port import to_torch
from scripts.benchmarks import framework_report
from scripts.benchmarks.common import (
    QUIET,
    describe_call,
    describe_machine,
    parse_options,
    watch_others,
)
from scripts.benchmarks.framework_sides import Job, Variant
from scripts.benchmarks.framework_worker import Worker

VARIANTS = {
    "jax-float32": Variant("jax"),
    "jax-float32-small-pages": Variant("jax", huge_pages=False),
    "jax-bfloat16": Variant("jax", "bfloat16"),
    "torch-eager": Variant("torch"),
    "torch-eager-channels-last": Variant("torch", channels_last=True),
    "torch-compile": Variant("torch", compile_mode="default"),
    "torch-compile-channels-last": Variant("torch", "float32", "default", True),
    "torch-eager-bfloat16": Variant("torch", "bfloat16", "", True),
    "torch-compile-bfloat16": Variant("torch", "bfloat16", "default", True),
    "torch-graphs": Variant("torch", "float32", "reduce-overhead", True),
    "torch-graphs-bfloat16": Variant("torch", "bfloat16", "reduce-overhead", True),
}
TRAINED = {
    "jax": Variant("jax"),
    "torch": Variant("torch"),
    "torch_float64": Variant("torch", "float64"),
}
# What the networks are reduced to unless --full-size asks for the published sizes.
REDUCED: dict[str, dict[str, Any]] = {
    "lnln": {"n_resgroups": 2, "n_resblocks": 4},
    "drca": {"n_resgroups": 2, "n_resblocks": 4},
    "rcan": {"n_resgroups": 2, "n_resblocks": 4},
    "edsr": {"n_resblocks": 8, "n_feats": 64},
    "vdsr": {"n_layers": 8},
}
PATIENCE = 120.0  # seconds to wait for a quiet machine, in all measurements of a network
SGD = OptimizerConfig("sgd", learning_rate=0.1, weight_decay=1e-4, clip_norm=0.4)  # VDSR's


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if sys.platform != "linux":
        parser.error("only Linux says in /proc what memory and time a process takes")
    # Set before the processes that use JAX on the device start: PyTorch needs memory there too.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    jax.config.update("jax_platforms", "cpu")  # this process only makes the initial weights
    try:
        job = make_job(args)
    except ValueError as error:
        parser.error(str(error))
    results: dict[str, Any] = {
        **describe_call("scripts.benchmarks.frameworks"),
        "settings": {
            **{key: getattr(args, key) for key in ("model", "scale", "batch", "lr_patch_size")},
            **{key: getattr(args, key) for key in ("steps", "rounds", "device")},
            "options": job.options,
            "parameters": count_parameters(job),
            "images": str(args.data or "dead leaves, seed 0"),
            "optimizer": dataclasses.asdict(job.optimizer),
            "loss": job.loss,
        },
        "training": train_all(job),
    }
    names = args.variants or [
        name for name in VARIANTS if args.device == "cuda" or "graphs" not in name
    ]
    results["variants"] = measure_all(job, names, args.rounds, args.patience)
    results["system"] = describe_system(args.device)
    framework_report.write(results, args.output)
    print(f"wrote comparison.json, comparison.md and comparison.png in {args.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=sorted(MODELS), default="lnln")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=2)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a hyper-parameter"
    )
    parser.add_argument("--full-size", action="store_true", help="the published hyper-parameters")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr-patch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50, help="of the run that is compared")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each variant")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="to wait for a quiet machine, in all (default: 120)",
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, help="default: all")
    parser.add_argument("--data", type=Path, help="folder of HR images; default: dead leaves")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("out/comparison"))
    return parser


def make_job(args: argparse.Namespace) -> Job:
    """Makes initial weights and batches.

    Raises:
      ValueError: an option that is unknown or out of its range, or images that do not do.
    """
    for key in ("steps", "rounds"):
        if getattr(args, key) < 1:
            raise ValueError(f"--{key} is {getattr(args, key)}; it must be at least 1")
    options = {} if args.full_size else dict(REDUCED[args.model])
    options |= parse_options(args.set)
    module = create_model(args.model, args.scale, **options)
    if args.data:
        source = load_folder(
            args.data, scale=args.scale, min_lr_size=args.lr_patch_size, on_bad_image="skip"
        )
    else:
        size = max(128, args.scale * args.lr_patch_size)
        source = dead_leaves_pairs(16, size=size, scale=args.scale, seed=0)
    batches = make_train_iterator(
        [source],
        lr_patch_size=args.lr_patch_size,
        batch_size=args.batch,
        seed=0,
        num_threads=0,
    )
    variables = jax.device_get(initialize(module, seed=0))
    return Job(
        model=args.model,
        scale=args.scale,
        options=options,
        device=args.device,
        variables=variables,
        state_dict=to_torch(variables, name=args.model),
        batches=[
            {key: np.ascontiguousarray(images) for key, images in next(batches).items()}
            for _ in range(args.steps)
        ],
        optimizer=SGD if args.model == "vdsr" else OptimizerConfig(),
        loss="l2" if args.model == "vdsr" else "l1",
        n_colors=input_channels(module),
        tf32=False,
    )


def count_parameters(job: Job) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(job.variables["params"]))


def train_all(job: Job) -> dict[str, list[float]]:
    """Trains on all sides; returns losses by step, and distances of the parameters after each.

    Biases that the next operation takes away are left out: noise alone moves them.
    """
    from lnln_jax.torch_reference.training import is_cancelled

    print(f"training {', '.join(TRAINED)}: {len(job.batches)} steps", flush=True)
    workers = {name: Worker(job, variant) for name, variant in TRAINED.items()}
    curves: dict[str, list[float]] = {f"loss_{name}": [] for name in TRAINED}
    curves |= {key: [] for key in ("jax_to_torch", "jax_to_truth", "torch_to_truth", "travelled")}
    for step in range(len(job.batches)):
        parameters = {}
        for name, worker in workers.items():
            loss, parameters[name] = worker.call("train", step)
            curves[f"loss_{name}"].append(loss)
        ours, theirs, truth = parameters.values()
        keys = [key for key in truth if not is_cancelled(job.model, key)]
        norm = distance(truth, None, keys)
        for name, pair in {
            "jax_to_torch": (theirs, ours),
            "jax_to_truth": (truth, ours),
            "torch_to_truth": (truth, theirs),
            "travelled": (truth, job.state_dict),
        }.items():
            curves[name].append(distance(*pair, keys) / norm)
    for worker in workers.values():
        worker.close()
    return curves


def distance(
    arrays: dict[str, np.ndarray], others: dict[str, np.ndarray] | None, keys: list[str]
) -> float:
    """Returns the norm of the difference of what the keys name; without others, its own norm."""
    squares = 0.0
    for key in keys:
        difference = arrays[key].astype(np.float64) - (0.0 if others is None else others[key])
        squares += np.square(difference).sum().item()
    return squares**0.5


def measure_all(
    job: Job, names: list[str], rounds: int, patience: float
) -> dict[str, dict[str, Any]]:
    """Compiles each variant in turn, then takes the times round by round."""
    job = dataclasses.replace(job, tf32=True)
    results: dict[str, dict[str, Any]] = {}
    workers, expected = {}, None
    for name in names:
        print(f"preparing {name}", flush=True)
        worker = Worker(job, VARIANTS[name])
        try:
            worker.started.result()
            patience -= wait_until_quiet(patience)
            forward = worker.call("prepare", "forward")
            output = worker.call("output")  # before any step, since steps change the weights
            step = worker.call("prepare", "step")
        except Exception as error:  # a variant that does not run here has a row that says so
            results[name] = {"error": f"{type(error).__name__}: {str(error).strip()[:500]}"}
            worker.close()
            continue
        workers[name] = worker
        expected = output if expected is None else expected
        difference = np.linalg.norm(output - expected) / np.linalg.norm(expected)
        results[name] = {
            "error": None,
            "forward": forward | {"seconds": [], "cores_busy_elsewhere": []},
            "step": step | {"seconds": [], "cores_busy_elsewhere": []},
            "difference": difference.item(),
        }
    for i in range(rounds):
        print(f"round {i + 1} of {rounds}", flush=True)
        for name, worker in workers.items():
            for kind in ("forward", "step"):
                patience -= wait_until_quiet(patience)
                seconds, others = worker.call("measure", kind)
                results[name][kind]["seconds"].append(seconds)
                results[name][kind]["cores_busy_elsewhere"].append(others)
    for name, worker in workers.items():
        for kind in ("forward", "step"):
            results[name][kind]["peak_mib"] = worker.call("peak_memory", kind)
        worker.close()
    return results


def wait_until_quiet(patience: float) -> float:
    """Waits until other processes leave the machine alone, or patience ends.

    Returns:
      The seconds that it took.
    """
    start = time.monotonic()
    while time.monotonic() - start < patience:
        elsewhere = watch_others()
        time.sleep(0.25)
        if elsewhere() < QUIET:
            break
    return time.monotonic() - start


def describe_system(device: str) -> dict[str, Any]:
    import torch

    return {
        **describe_machine("jax", "torch"),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "none",
        "threads of PyTorch": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
