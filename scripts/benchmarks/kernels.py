"""What the arrangement of the blocks and the gradient rules are worth, on this machine.

    python -m scripts.benchmarks.kernels             # LNLN x2 in full size, batch 2 of 48x48
    python -m scripts.benchmarks.kernels --model edsr_baseline
    python -m scripts.benchmarks.kernels --unrolled  # also with all blocks unrolled (minutes)
    python -m scripts.benchmarks.kernels --grouped   # also a grouped convolution (a minute a step)

Compares, in one run and taking turns, the network as it is (blocks scanned, hand-written rules)
with the plain definitions of its kernels (JAX's own gradients) and with unrolled blocks. Prints,
for each: time to initialise, to compile the training step and the forward pass, and to run them
(the median of the rounds and the range).
"""

import argparse
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax import kernels
from lnln_jax.config import OptimizerConfig
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from lnln_jax.training.optimizer import make_optimizer, make_schedule
from lnln_jax.training.state import create_state, make_train_step


class Variant:
    """One arrangement, compiled, with a state of its own."""

    def __init__(
        self,
        name: str,
        model: str,
        unroll: int,
        form: kernels.Form,
        depthwise: kernels.Depthwise,
        batch: Any,
    ) -> None:
        self.name, self.batch = name, batch
        self.times: dict[str, list[float]] = {"forward": [], "step": []}
        module = create_model(model, unroll=unroll)
        config = OptimizerConfig()
        optimizer = make_optimizer(config)
        with kernels.using(form, depthwise=depthwise):
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
    wanted: list[tuple[str, int, kernels.Form, kernels.Depthwise]] = [
        ("scanned, tuned kernels (as shipped)", 1, "tuned", "auto"),
        ("scanned, plain kernels, shifted taps", 1, "plain", "shifted"),
    ]
    if args.grouped:
        wanted.append(("scanned, plain kernels, grouped convolution", 1, "plain", "grouped"))
    if args.unrolled:
        wanted.append(("unrolled, tuned kernels", 35, "tuned", "auto"))
    variants = []
    for name, unroll, form, depthwise in wanted:
        print(f"compiling: {name}", flush=True)
        variants.append(Variant(name, args.model, unroll, form, depthwise, batch))
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
