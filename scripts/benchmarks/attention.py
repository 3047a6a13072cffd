"""What chunks are worth: region non-local attention, dense beside chunked, on this machine.

    python -m scripts.benchmarks.attention                         # all sizes, a few minutes
    python -m scripts.benchmarks.attention --sizes 48 96 --batches 1 16 --rounds 9
    python -m scripts.benchmarks.attention --sizes 512 --batches 1 --rounds 0 --sides auto

For maps of each size and batch, in float32 with 32 channels: time of the forward pass and of the
gradient with respect to all inputs (the forward pass included), both sides taking turns, and the
temporary memory that XLA plans. "auto" is what the networks use. Dense is left out where its
scores exceed `--dense-gib`. Without rounds the first run counts.

XLA's CPU compiler may give a whole dense forward pass to one library call, whose memory it does
not plan: then the megabytes of that side are too few.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.kernels.attention import region_attention
from scripts.benchmarks.common import spread

SIDES = ("dense", "chunked", "auto")
PASSES = ("forward", "gradient")
WIDTH = 32


def gradient(function: Callable[..., jax.Array], *args: jax.Array) -> tuple[jax.Array, ...]:
    *inputs, grad = args
    return jax.vjp(function, *inputs)[1](grad)


def compile_sides(
    size: int, batch: int, sides: list[str], passes: list[str]
) -> Iterator[tuple[str, str, Any, list[jax.Array]]]:
    """(pass, side, program, its arguments) of each pass and side."""
    rng = np.random.default_rng(0)
    shape = (batch, size, size, WIDTH)
    args = [jnp.asarray(rng.normal(size=shape) / 2, jnp.float32) for _ in range(4)]
    for side in sides:
        forward = partial(region_attention, implementation=side)
        if "forward" in passes:
            yield "forward", side, jax.jit(forward).lower(*args[:3]).compile(), args[:3]
        if "gradient" in passes:
            backward = partial(gradient, forward)
            yield "gradient", side, jax.jit(backward).lower(*args).compile(), args


def measure(
    size: int, batch: int, sides: list[str], passes: list[str], rounds: int
) -> Iterator[str]:
    """The lines of the table for maps of one size and batch."""
    programs = list(compile_sides(size, batch, sides, passes))
    times: dict[tuple[str, str], list[float]] = {entry[:2]: [] for entry in programs}
    megabytes = {}
    for kind, side, program, args in programs:
        start = time.perf_counter()
        jax.block_until_ready(program(*args))
        if not rounds:
            times[kind, side].append(1000 * (time.perf_counter() - start))
        megabytes[kind, side] = program.memory_analysis().temp_size_in_bytes / 1e6
    for _ in range(rounds):
        for kind, side, program, args in programs:
            for _ in range(2):  # the first run pays for the memory that another side gave back
                start = time.perf_counter()
                jax.block_until_ready(program(*args))
            times[kind, side].append(1000 * (time.perf_counter() - start))
    for kind in passes:
        cells = [f"{size}x{size}", str(batch), kind]
        for side in SIDES:
            if side in sides:
                taken = times[kind, side]
                cells.append(spread(taken, 2))
            else:
                cells.append("-")
        for side in ("chunked", "auto"):
            if "dense" in sides and side in sides:
                pairs = zip(times[kind, side], times[kind, "dense"], strict=True)
                cells.append(spread([taken / dense for taken, dense in pairs], 2))
            else:
                cells.append("-")
        cells += [f"{megabytes[kind, s]:.1f}" if s in sides else "-" for s in ("dense", "auto")]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 48, 64, 96, 128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 16])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dense-gib", type=float, default=2.0, help="the most of dense scores")
    parser.add_argument(
        "--sides", nargs="+", choices=SIDES, default=list(SIDES), help="default: all"
    )
    parser.add_argument(
        "--passes", nargs="+", choices=PASSES, default=list(PASSES), help="default: both"
    )
    args = parser.parse_args()
    print(f"jax {jax.__version__}, {platform.processor() or platform.machine()}, {jax.devices()}")
    print("Milliseconds, ratios to dense in the same round: median (range); planned megabytes\n")
    columns = ["map", "batch", "pass", *SIDES, "chunked / dense", "auto / dense"]
    columns += ["MB dense", "MB auto"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for size in args.sizes:
        for batch in args.batches:
            fits = batch * size**4 // 4 * 4 <= args.dense_gib * 2**30
            sides = [side for side in args.sides if side != "dense" or fits]
            for line in measure(size, batch, sides, args.passes, args.rounds):
                print(line, flush=True)


if __name__ == "__main__":
    main()
