"""Measures region non-local attention, dense beside chunked, on this machine.

    python -m scripts.benchmarks.attention                         # all sizes, a few minutes
    python -m scripts.benchmarks.attention --sizes 48 96 --batches 1 16 --rounds 9
    python -m scripts.benchmarks.attention --sizes 512 --batches 1 --rounds 0 --sides auto

For maps of each size and batch, in float32 with 32 channels: the time of the forward pass and of
the gradient with respect to all inputs (the forward pass included), the sides taking turns, and the
temporary memory that XLA plans. "auto" is what the networks use. Dense is left out where its scores
exceed `--dense-gib`. Without rounds the first run counts.

XLA's CPU compiler may give a whole dense forward pass to one library call, whose memory it does
not plan: then the megabytes of that side are too few.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.kernels.attention import region_attention
from scripts.benchmarks.common import (
    describe_machine,
    in_turns,
    in_words,
    markdown_row,
    markdown_table,
    spread,
    timed,
)

SIDES = ("dense", "chunked", "auto")
PASSES = ("forward", "gradient")
WIDTH = 32
COLUMNS = ["map", "batch", "pass", *SIDES, "chunked / dense", "auto / dense", "MB dense", "MB auto"]


def gradient(function: Callable[..., jax.Array], *args: jax.Array) -> tuple[jax.Array, ...]:
    *inputs, grad = args
    return jax.vjp(function, *inputs)[1](grad)


def compile_side(kind: str, side: str, args: list[jax.Array]) -> tuple[Callable[[], Any], float]:
    """Compiles a pass; returns it, to be called and waited for, and the MB that XLA plans."""
    forward = partial(region_attention, implementation=side)
    function = forward if kind == "forward" else partial(gradient, forward)
    taken = args[:3] if kind == "forward" else args
    program = jax.jit(function).lower(*taken).compile()
    planned: Any = program.memory_analysis()
    return lambda: jax.block_until_ready(program(*taken)), planned.temp_size_in_bytes / 1e6


def measure(
    size: int, batch: int, sides: list[str], passes: list[str], rounds: int
) -> Iterator[list[str]]:
    """Yields the rows of the table for maps of one size and batch."""
    rng = np.random.default_rng(0)
    shape = (batch, size, size, WIDTH)
    args = [jnp.asarray(rng.normal(size=shape) / 2, jnp.float32) for _ in range(4)]
    compiled = {
        f"{kind} {side}": compile_side(kind, side, args) for side in sides for kind in passes
    }
    calls = {name: call for name, (call, _) in compiled.items()}
    if rounds:
        taken = in_turns(calls, rounds, calls=2)
    else:
        taken = {name: [timed(call)[1]] for name, call in calls.items()}
    for kind in passes:
        ms = {side: [1000 * seconds for seconds in taken[f"{kind} {side}"]] for side in sides}
        cells = [f"{size}x{size}", str(batch), kind]
        cells += [spread(ms[side], 2) if side in ms else "-" for side in SIDES]
        for side in ("chunked", "auto"):
            if "dense" in ms and side in ms:
                pairs = zip(ms[side], ms["dense"], strict=True)
                cells.append(spread([own / dense for own, dense in pairs], 2))
            else:
                cells.append("-")
        cells += [
            f"{compiled[f'{kind} {side}'][1]:.1f}" if side in sides else "-"
            for side in ("dense", "auto")
        ]
        yield cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 48, 64, 96, 128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 16])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dense-gib", type=float, default=2.0, help="most that dense scores take")
    parser.add_argument(
        "--sides", nargs="+", choices=SIDES, default=list(SIDES), help="default: all"
    )
    parser.add_argument(
        "--passes", nargs="+", choices=PASSES, default=list(PASSES), help="default: both"
    )
    args = parser.parse_args()
    print(f"{in_words(describe_machine('jax'))}, {jax.devices()}")
    print("Milliseconds, ratios to dense in the same round: median (range); planned megabytes\n")
    print(markdown_table([COLUMNS]))
    for size in args.sizes:
        for batch in args.batches:
            fits = batch * size**4 // 4 * 4 <= args.dense_gib * 2**30
            sides = [side for side in args.sides if side != "dense" or fits]
            for cells in measure(size, batch, sides, args.passes, args.rounds):
                print(markdown_row(cells), flush=True)


if __name__ == "__main__":
    main()
