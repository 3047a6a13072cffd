"""What the arrangement of the blocks and the gradient rules are worth, on this machine.

    python scripts/benchmark_layout.py             # LNLN x2 in full size, batch 2 of 48x48
    python scripts/benchmark_layout.py --model edsr_baseline
    python scripts/benchmark_layout.py --unrolled  # also with all blocks unrolled (minutes)
    python scripts/benchmark_layout.py --grouped   # also a grouped convolution (a minute a step)

Compares, in one run and taking turns, the network as it is (blocks scanned, hand-written rules)
with the plain definition of its operations (JAX's own gradients) and with unrolled blocks. Prints,
for each: time to initialise, to compile the training step and the forward pass, and to run them
(the median of the rounds and the range).
"""

import argparse
import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import lnln_jax.layers
from lnln_jax.config import OptimizerConfig
from lnln_jax.models import create_model
from lnln_jax.normalization import Moments
from lnln_jax.optim import make_optimizer, make_schedule
from lnln_jax.state import create_state, initialize, make_train_step


def plain_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


def plain_depthwise(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    numbers = ("NHWC", "HWIO", "NHWC")
    return bias + lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (1, 1),
        "SAME",
        dimension_numbers=numbers,
        feature_group_count=x.shape[-1],
    )


def shifted_depthwise(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    views = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return bias + sum(v * k for v, k in zip(views, kernel.reshape(9, -1), strict=True))


def plain_moments(x: jax.Array, axis_name: str | None = None) -> Moments:
    assert axis_name is None
    values = (x.mean((1, 2)), x.mean((0, 1, 2)), x.var((0, 1, 2)))
    return Moments(*(checkpoint_name(value, "batch_statistics") for value in values))


def plain_normalize(
    x: jax.Array, centre: jax.Array, scale: jax.Array, shift: jax.Array
) -> jax.Array:
    if scale.ndim == 2:
        scale, shift = scale[:, None, None], shift[:, None, None]
    return (x - centre) * scale + shift


def plain_operations(depthwise: Callable[..., jax.Array]) -> dict[str, Callable[..., Any]]:
    return {
        "conv": plain_conv,
        "depthwise_conv3x3": depthwise,
        "channel_product": lambda x, kernel: checkpoint_name(x @ kernel, "product"),
        "add_bias": lambda x, bias: x + bias,
        "moments": plain_moments,
        "normalize": plain_normalize,
    }


@contextlib.contextmanager
def operations(replaced: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Lets the layers use other functions."""
    kept = {name: getattr(lnln_jax.layers, name) for name in replaced}
    for name, function in replaced.items():
        setattr(lnln_jax.layers, name, function)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(lnln_jax.layers, name, function)


class Variant:
    """One arrangement, compiled, with a state of its own."""

    def __init__(
        self,
        name: str,
        model: str,
        unroll: int,
        replaced: dict[str, Callable[..., Any]],
        batch: Any,
    ) -> None:
        self.name, self.batch = name, batch
        self.times: dict[str, list[float]] = {"forward": [], "step": []}
        module = create_model(model, unroll=unroll)
        config = OptimizerConfig()
        optimizer = make_optimizer(config)
        with operations(replaced):
            variables, self.init_seconds = timed(lambda: initialize(module, 0))
            self.state = create_state(variables, optimizer, ema=False)
            train_step = make_train_step(module, optimizer, schedule=make_schedule(config))
            self.step, self.step_compile = timed(train_step.lower(self.state, batch).compile)
            forward = jax.jit(module.apply).lower(variables, batch["lr"].astype(jnp.float32))
            self.forward, self.forward_compile = timed(forward.compile)
        self.memory = self.step.memory_analysis().temp_size_in_bytes / 2**20

    def run(self) -> None:
        """Takes each time once, after a run that warms the caches up."""
        lr = self.batch["lr"].astype(jnp.float32)
        for _ in range(2):
            _, seconds = timed(lambda: self.forward(self.state.variables, lr))
        self.times["forward"].append(seconds)
        for _ in range(2):
            (self.state, _), seconds = timed(lambda: self.step(self.state, self.batch))
        self.times["step"].append(seconds)

    def row(self) -> str:
        """A line of the table."""

        def median(kind: str) -> str:
            times = self.times[kind]
            return f"{np.median(times):.3f} ({min(times):.3f}-{max(times):.3f})"

        cells = [
            self.name,
            f"{self.init_seconds:.1f}",
            f"{self.step_compile:.1f}",
            f"{self.forward_compile:.1f}",
            median("step"),
            median("forward"),
            f"{self.memory:.0f}",
        ]
        return f"| {' | '.join(cells)} |"


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="lnln", help="lnln, drca, rcan, edsr, edsr_baseline")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--unrolled", action="store_true", help="also all blocks unrolled")
    parser.add_argument("--grouped", action="store_true", help="also a grouped convolution (slow)")
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    shapes = {"lr": (args.batch, 48, 48, 3), "hr": (args.batch, 96, 96, 3)}
    batch = {k: jnp.asarray(rng.integers(0, 256, s), jnp.uint8) for k, s in shapes.items()}
    shifted = plain_operations(shifted_depthwise)
    wanted = [
        ("scanned, our rules (as shipped)", 1, {}),
        ("scanned, shifted taps, JAX's gradients", 1, shifted),
    ]
    if args.grouped:
        wanted.append(("scanned, grouped convolution", 1, plain_operations(plain_depthwise)))
    if args.unrolled:
        wanted.append(("unrolled, our rules", 35, {}))
    variants = []
    for name, unroll, replaced in wanted:
        print(f"compiling: {name}", flush=True)
        variants.append(Variant(name, args.model, unroll, replaced, batch))
    for _ in range(args.rounds):
        for variant in variants:
            variant.run()
    module, lr = create_model(args.model), jnp.zeros((1, 8, 8, 3))
    _, threefry = timed(lambda: jax.jit(module.init)(jax.random.key(0), lr))
    _, hashed = timed(lambda: initialize(module, 0))
    print(f"\nInitial weights: {threefry:.1f} s with Threefry, {hashed:.1f} s with prng.py")
    print(f"\n{args.model} x2, batch {args.batch} of LR 48x48, float32; seconds, median (range)")
    print(f"jax {jax.__version__}, {platform.processor() or platform.machine()}, {jax.devices()}\n")
    print(
        "| arrangement | initialise | compile step | compile forward | step | forward | step MiB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for variant in variants:
        print(variant.row())


if __name__ == "__main__":
    main()
