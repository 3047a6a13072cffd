"""Reads what a training step sends between devices; models its cost on many accelerators.

    python -m scripts.benchmarks.scaling                              # full size: four minutes
    python -m scripts.benchmarks.scaling --models lnln --fsdp --batch 64  # a device's batch
    python -m scripts.benchmarks.scaling --flop-per-s 494.7e12        # products in TF32

Training steps are compiled, not run, for so many devices of the host platform, and their
collectives are read off the compiled programs. The rest is a model: an all-reduce takes a latency
and the time of its bytes, first inside nodes of eight and then between them; nothing overlaps; and
computation takes its floor (the multiply-adds or the memory traffic of the convolutions, three
times those of a forward pass) or `SLOWER` times that. Efficiency is that of weak scaling: the time
of a step without communication over that with it. Writes scaling.md and scaling.json.
"""

import argparse
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lnln_jax.config import DataConfig, ModelConfig, Parallel, TrainConfig, build_module
from lnln_jax.models import create_model, model_options
from lnln_jax.models.variables import initialize
from lnln_jax.training.optimizer import make_optimizer, make_schedule
from lnln_jax.training.parallel import Layout, choose_layout
from lnln_jax.training.state import create_state
from lnln_jax.training.step import make_update
from scripts.benchmarks.collectives import Collective, collectives
from scripts.benchmarks.common import (
    describe_call,
    markdown_table,
    parse_options,
    timed,
    write_report,
)
from scripts.benchmarks.communication_model import FLOP_PER_S, SLOWER, floor_seconds, predict


@dataclass(frozen=True)
class Case:
    """A training run whose step is compiled."""

    model: str
    batch_norm: Literal["global", "local"] | None = None  # None: the network has none
    parallel: Parallel = "auto"

    def __str__(self) -> str:
        norm = f"batch_norm={self.batch_norm}" if self.batch_norm else ""
        parallel = f"parallel={self.parallel}" if self.parallel != "auto" else ""
        return ", ".join(filter(None, [self.model, norm, parallel]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="*", default=["lnln", "rcan", "edsr"])
    parser.add_argument("--fsdp", nargs="*", default=["edsr"], help="models to train so, too")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a hyper-parameter"
    )
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=2)
    parser.add_argument("--batch", type=int, default=16, help="patches on each device")
    parser.add_argument("--lr-patch-size", type=int, default=48)
    parser.add_argument("--devices", nargs="+", type=int, default=[8, 64, 512])
    parser.add_argument("--flop-per-s", type=float, default=FLOP_PER_S)
    parser.add_argument("--output", type=Path, default=Path("out/scaling"))
    args = parser.parse_args()
    try:
        results = measure(args)
    except ValueError as error:
        parser.error(str(error))
    text = to_markdown(results)
    write_report(args.output, "scaling", results, text)
    print(text)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Compiles the steps of all training runs on all numbers of devices.

    Raises:
      ValueError: an unknown network or hyper-parameter, or devices that fill no nodes.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(args.devices))
    results: dict[str, Any] = {
        **describe_call("scripts.benchmarks.scaling"),
        "jax": jax.__version__,
        "batch": args.batch,
        "lr_patch_size": args.lr_patch_size,
        "flop_per_s": args.flop_per_s,
        "trainings": [],
    }
    trainings = [case for model in args.models for case in cases(model)]
    trainings += [replace(case, parallel="fsdp") for model in args.fsdp for case in cases(model)]
    options = hyper_parameters([*args.models, *args.fsdp], args.set)
    for case in trainings:
        module = create_model(case.model, args.scale, **options[case.model])
        floor = floor_seconds(module, args.batch, args.lr_patch_size, args.flop_per_s)
        row: dict[str, Any] = {"case": str(case), "floor_seconds": floor, "on": []}
        for devices in args.devices:
            config = TrainConfig(
                model=ModelConfig(case.model, args.scale, options[case.model]),
                data=DataConfig(
                    dead_leaves=1,  # a run needs images; none are made
                    lr_patch_size=args.lr_patch_size,
                    batch_size=args.batch * devices,
                ),
                parallel=case.parallel,
                batch_norm=case.batch_norm or "global",
                devices=devices,
            )
            step, seconds = timed(partial(compile_step, config))
            print(f"{case}: {devices} devices in {seconds:.0f} s", flush=True)
            row["on"].append(asdict(step) | predict(step.collectives, devices, floor))
        results["trainings"].append(row)
    return results


def cases(model: str) -> list[Case]:
    """Returns the runs of a network: with batch normalisation, one of each kind of statistics."""
    if hasattr(create_model(model), "axis_name"):
        return [Case(model, "global"), Case(model, "local")]
    return [Case(model)]


def hyper_parameters(models: list[str], items: list[str]) -> dict[str, dict[str, Any]]:
    """Returns for each network those of `--set` that it has.

    Raises:
      ValueError: a text that sets nothing, or something that none of them has.
    """
    values: dict[str, dict[str, Any]] = {model: {} for model in models}
    for key, value in parse_options(items).items():
        known = [model for model in values if key in model_options(model)]
        if not known:
            raise ValueError(f"--set {key}: no {key} in {', '.join(values)}; leave it out")
        for model in known:
            values[model][key] = value
    return values


# ---- what is sent ----


@dataclass(frozen=True)
class Step:
    """What the compiled step of a training run shows.

    Attributes:
      devices: that it is compiled for.
      parameter_bytes: of all parameters.
      state_bytes: of parameters, batch statistics and optimizer state.
      state_bytes_per_device: what one device keeps of the state between steps.
      collectives: each kind and size (bytes of the whole array) with how often a step runs it.
    """

    devices: int
    parameter_bytes: int
    state_bytes: int
    state_bytes_per_device: int
    collectives: list[Collective]


def compile_step(config: TrainConfig) -> Step:
    """Compiles a training step for the devices of this machine, from shapes alone.

    Raises:
      ValueError: there are too few devices.
    """
    layout, module = choose_layout(config), build_module(config)
    optimizer = make_optimizer(config.optimizer)
    update = make_update(
        layout.gradients(config, module), optimizer, schedule=make_schedule(config.optimizer)
    )
    shapes = jax.eval_shape(lambda: create_state(initialize(module, 0), optimizer, ema=False))
    state = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        shapes,
        layout.state_sharding(shapes),
    )
    side = config.data.lr_patch_size
    batch = {
        key: jax.ShapeDtypeStruct(
            (config.data.batch_size, size, size, 3), jnp.uint8, sharding=layout.by_rows
        )
        for key, size in (("lr", side), ("hr", side * config.model.scale))
    }
    compiled: Any = layout.compile(update)  # of `jax.jit`, for all layouts but pmap
    found = collectives(compiled.lower(state, batch).compile().as_text())
    return Step(
        devices=config.devices,
        parameter_bytes=sum(map(size_of, jax.tree.leaves(shapes.variables["params"]))),
        state_bytes=sum(map(size_of, jax.tree.leaves(shapes))),
        state_bytes_per_device=kept(layout, shapes),
        collectives=whole(found, config.devices),
    )


def size_of(x: Any) -> int:
    return int(x.size * x.dtype.itemsize)


def kept(layout: Layout, shapes: Any) -> int:
    """Returns the bytes that one device keeps of a state."""
    return sum(
        size_of(x) // (len(layout.devices) if any(layout.spec(x)) else 1)
        for x in jax.tree.leaves(shapes)
    )


def whole(found: list[Collective], devices: int) -> list[Collective]:
    """Joins collectives of one kind and size, sizes being those of the whole array."""
    counts: Counter[tuple[str, int]] = Counter()
    for kind, size, times in found:
        counts[kind, size * (devices if kind == "reduce-scatter" else 1)] += times
    ordered = sorted(counts.items(), key=lambda item: (-item[0][1], item[0][0]))
    return [Collective(kind, size, times) for (kind, size), times in ordered]


# ---- tables ----


def to_markdown(results: dict[str, Any]) -> str:
    side = results["lr_patch_size"]
    lines = [
        f"`{results['command']}`, {results['date']}, jax {results['jax']}. {results['batch']} "
        f"patches of LR {side}x{side} on each device; products at "
        f"{results['flop_per_s'] / 1e12:.0f} TFLOP/s. Collectives are read off compiled programs; "
        "times and efficiencies are a model, and nothing was measured on an accelerator.",
        "",
    ]
    head = ["training run", "devices", "parameters, MB", "state on a device, MB"]
    head += ["collectives a step", "sent through them, MB", "of the parameters"]
    table = [head]
    for row in results["trainings"]:
        for on in row["on"]:
            size = sum(size * times for _, size, times in on["collectives"])
            cells = [
                row["case"],
                f"{on['devices']}",
                f"{on['parameter_bytes'] / 1e6:.2f}",
                f"{on['state_bytes_per_device'] / 1e6:.1f}",
                kinds(on["collectives"]),
                f"{size / 1e6:.2f}",
                f"{size / on['parameter_bytes']:.2f}",
            ]
            table.append(cells)
    lines.append(markdown_table(table))
    head = ["training run", "devices", "communication, ms", "of it latency, ms", "floor, ms"]
    head += ["efficiency at the floor", f"at {SLOWER} floors"]
    table = [head]
    for row in results["trainings"]:
        for on in row["on"]:
            cells = [row["case"], f"{on['devices']}"]
            times = (on["communication_seconds"], on["latency_seconds"], row["floor_seconds"])
            cells += [f"{1e3 * value:.3g}" for value in times]
            cells += [f"{100 * value:.1f} %" for value in on["efficiency"]]
            table.append(cells)
    return "\n".join([*lines, "", markdown_table(table)]) + "\n"


def kinds(sent: list[Collective]) -> str:
    """Returns words such as "2 all-gather, 1081 all-reduce"."""
    counts: Counter[str] = Counter()
    for kind, _, times in sent:
        counts[kind] += times
    return ", ".join(f"{times} {kind}" for kind, times in sorted(counts.items())) or "none"


if __name__ == "__main__":
    main()
