"""Measures what the tuned forms of the kernels are worth, on this machine.

    python -m scripts.benchmarks.kernels             # LNLN x2 in full size, batch 2 of 48x48
    python -m scripts.benchmarks.kernels --model edsr_baseline
    python -m scripts.benchmarks.kernels --grouped   # also a grouped convolution (a minute a step)

Compares, in one run and taking turns, the network with tuned kernels (hand-written gradients) and
with their plain definitions (JAX's own gradients); the switch is `lnln_jax.kernels.using`. Prints
for each the time to compile the training step and the forward pass, and to run them (the median of
the rounds and the range); before that, the time to draw initial weights by several generators.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from scripts.benchmarks.common import (
    describe_machine,
    in_turns,
    in_words,
    markdown_table,
    parse_options,
    spread,
    timed,
)
from scripts.benchmarks.gpu_speed import Prepared, Setting, prepare

FORMS = {
    "tuned kernels": ("tuned", "auto"),
    "plain kernels, shifted taps": ("plain", "shifted"),
    "plain kernels, grouped convolution": ("plain", "grouped"),
}


def calls(prepared: Prepared) -> dict[str, Callable[[], Any]]:
    """Returns the step, each from the state that the one before has left, and the forward pass."""
    state, batch = prepared.work.state, prepared.work.batch
    lr = batch["lr"].astype(jnp.float32)

    def step() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(prepared.step(state, batch))

    def forward() -> None:
        jax.block_until_ready(prepared.forward(state.variables, lr))

    return {"step": step, "forward": forward}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="lnln", help="name, as create_model takes it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a hyper-parameter"
    )
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lr-patch-size", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--grouped", action="store_true", help="also a grouped convolution (slow)")
    args = parser.parse_args()
    options = parse_options(args.set)

    prepared = {}
    for name, (form, depthwise) in FORMS.items():
        if args.grouped or depthwise != "grouped":
            print(f"compiling: {name}", flush=True)
            setting = Setting(form, depthwise, "float32", attention="auto", batch=args.batch)
            prepared[name] = prepare(args.model, options, setting, args.lr_patch_size)
    sides = {
        f"{name}, {kind}": call
        for name, programs in prepared.items()
        for kind, call in calls(programs).items()
    }
    seconds = in_turns(sides, args.rounds, calls=2)

    module, lr = (
        create_model(args.model, **options),
        jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32),
    )
    draws = {
        impl: lambda impl=impl: jax.jit(lambda key: module.lazy_init(key, lr))(
            jax.random.key(0, impl=impl)
        )
        for impl in ("threefry2x32", "unsafe_rbg")
    } | {"the hash of models/prng.py": lambda: initialize(module, 0)}
    print("\nInitial weights, compiled and drawn:")
    for name, draw in draws.items():
        _, took = timed(lambda draw=draw: jax.block_until_ready(draw()))
        print(f"{took:.1f} s with {name}")
    side = args.lr_patch_size
    print(f"{args.model} x2, batch {args.batch} of LR {side}x{side}, float32; median (range)")
    print(f"{in_words(describe_machine('jax'))}, {jax.devices()}\n")
    head = ["kernels", "compile step, s", "compile forward, s", "step, s", "forward, s"]
    rows = [[*head, "step, MiB"]]
    for name, programs in prepared.items():
        rows.append(
            [
                name,
                f"{programs.step_compile_seconds:.1f}",
                f"{programs.forward_compile_seconds:.1f}",
                spread(seconds[f"{name}, step"], 3),
                spread(seconds[f"{name}, forward"], 3),
                f"{programs.step.memory_analysis().temp_size_in_bytes / 2**20:.0f}",
            ]
        )
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
