"""Measures all networks, JAX beside PyTorch in its best form, against the hardware's ceilings.

    python -m scripts.benchmarks.ceilings                                    # all networks, reduced
    python -m scripts.benchmarks.ceilings --full-size --models lnln --batches 2 16
    python -m scripts.benchmarks.ceilings --device cuda --full-size --models lnln --batches 16 256

For each network and batch all variants are compiled, then measured in turns, each in a process of
its own; PyTorch's best is whichever of its variants was fastest. First the machine's own ceilings
are measured: a large matrix product and a large copy. The work is counted in the traced network:
two operations for each multiply-add, three forward passes for a training step; bytes are those of
each convolution's input, kernel and result, once. Writes ceilings.md and ceilings.json.
"""

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp

from lnln_jax.doctor.speed import copy_rate, product_rate
from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_elements_moved, count_multiply_adds
from scripts.benchmarks.common import (
    describe_call,
    in_words,
    markdown_table,
    spread,
    write_report,
)
from scripts.benchmarks.framework_sides import Job
from scripts.benchmarks.framework_worker import Worker
from scripts.benchmarks.frameworks import (
    PATIENCE,
    VARIANTS,
    describe_system,
    make_job,
    measure_all,
)

ON_CPU = ("jax-float32", "torch-eager", "torch-eager-channels-last")
ON_GPU = (
    *("jax-float32", "torch-compile-channels-last", "torch-graphs"),
    *("jax-bfloat16", "torch-compile-bfloat16", "torch-graphs-bfloat16"),
)
NETWORKS = ("lnln", "drca", "rcan", "edsr", "vdsr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--full-size", action="store_true", help="the published hyper-parameters")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a hyper-parameter"
    )
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=2)
    parser.add_argument("--batches", nargs="+", type=int, default=[2])
    parser.add_argument("--lr-patch-size", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--alone",
        action="store_true",
        help="end the process of a variant before the next begins, in each round (for large "
        "batches, which do not fit the memory together); leaves out the compilation cache",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="to wait for a quiet machine, for each network (default: 120)",
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=Path("out/ceilings"))
    args = parser.parse_args()
    jax.config.update("jax_platforms", args.device)
    names = args.variants or (ON_CPU if args.device == "cpu" else ON_GPU)
    results: dict[str, Any] = {
        **describe_call("scripts.benchmarks.ceilings"),
        "system": describe_system(args.device),
        "ceilings": ceilings(),
        "networks": [],
    }
    for model in args.models:
        for batch in args.batches:
            options = {"model": model, "batch": batch, "steps": 1, "data": None}
            try:
                job = make_job(argparse.Namespace(**(vars(args) | options)))
            except ValueError as error:
                parser.error(str(error))
            print(f"{model}, batch {batch}", flush=True)
            rows = measure(job, list(names), args)
            work = {"batch": batch, "lr_patch_size": args.lr_patch_size} | count(job)
            if "jax-float32" in rows and not args.alone:
                work["from_cache_seconds"] = seconds_from_cache(job)
            results["networks"].append({"model": model, "work": work, "variants": rows})
            text = to_markdown(results)
            write_report(args.output, "ceilings", results, text)
    print(text)


def ceilings() -> dict[str, float]:
    """Measures operations and bytes in a second, by XLA: the best of a product, and of a copy."""
    product = product_rate(2048, jnp.float32, "default")
    return {"flop_per_s": product.high, "bytes_per_s": copy_rate().high}


def measure(job: Job, names: list[str], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Measures as `measure_all` does, with one process at a time if `args.alone`."""
    if not args.alone:
        return measure_all(job, names, args.rounds, args.patience)
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(args.rounds):
        for name in names:
            row = measure_all(job, [name], 1, args.patience)[name]
            kept = rows.setdefault(name, row)
            for kind in ("forward", "step"):
                if kept is not row and kept["error"] is row["error"] is None:
                    kept[kind]["seconds"] += row[kind]["seconds"]
    return rows


def count(job: Job) -> dict[str, int]:
    """Counts the operations and bytes of a forward pass, for the whole batch."""
    module = create_model(job.model, job.scale, **job.options)
    batch, *shape, _ = job.batches[0]["hr"].shape
    products = sum(count_multiply_adds(module, tuple(shape)).values())
    moved = count_elements_moved(module, tuple(shape))
    return {"flop": 2 * batch * products, "bytes": 4 * batch * moved}


def seconds_from_cache(job: Job) -> float:
    """Measures how soon a training step is ready in a process after one that has compiled it."""
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            worker = Worker(replace(job, cache=cache), VARIANTS["jax-float32"])
            seconds = worker.call("prepare", "step")["first_seconds"]
            worker.close()
    return float(seconds)


def to_markdown(results: dict[str, Any]) -> str:
    limits = results["ceilings"]
    lines = [
        f"`{results['command']}`, {results['date']}. {in_words(results['system'])}. Ceilings: "
        f"{limits['flop_per_s'] / 1e9:.0f} GFLOP/s in a product, "
        f"{limits['bytes_per_s'] / 1e9:.1f} GB/s in a copy.",
    ]
    for network in results["networks"]:
        work = network["work"]
        lines += [
            "",
            f"**{network['model']}**, batch {work['batch']} of LR {work['lr_patch_size']}x"
            f"{work['lr_patch_size']}: {work['flop'] / 1e9:.1f} GFLOP and {work['bytes'] / 1e9:.2f}"
            " GB a forward pass"
            + (
                f"; a step ready from the cache in {work['from_cache_seconds']:.1f} s"
                if "from_cache_seconds" in work
                else ""
            ),
        ]
        for kind, passes in (("forward", 1), ("step", 3)):
            lines += ["", table(network, kind, passes, limits)]
    return "\n".join(lines) + "\n"


def table(network: dict[str, Any], kind: str, passes: int, limits: dict[str, float]) -> str:
    """Returns a table of one kind of call; the ratio is that of PyTorch's best to the variant."""
    rows = {name: row for name, row in network["variants"].items() if row["error"] is None}
    medians = {name: statistics.median(row[kind]["seconds"]) for name, row in rows.items()}
    torch = [seconds for name, seconds in medians.items() if name.startswith("torch")]
    head = [kind, "ms", "PyTorch's best / this", "GFLOP/s", "GB/s", "peak, MiB", "first call, s"]
    lines = [head]
    for name, row in network["variants"].items():
        if row["error"] is not None:
            lines.append([name, row["error"], *[""] * (len(head) - 2)])
            continue
        seconds = medians[name]
        rates = []
        for what, limit in (("flop", "flop_per_s"), ("bytes", "bytes_per_s")):
            rate = passes * network["work"][what] / seconds
            rates.append(f"{rate / 1e9:.1f} ({100 * rate / limits[limit]:.0f} %)")
        peak = row[kind]["peak_mib"]
        cells = [
            name,
            spread([1e3 * taken for taken in row[kind]["seconds"]], 0),
            f"{min(torch) / seconds:.2f}" if torch else "",
            *rates,
            "" if peak is None else f"{peak:.0f}",
            f"{row[kind]['first_seconds']:.1f}",
        ]
        lines.append(cells)
    return markdown_table(lines)


if __name__ == "__main__":
    main()
