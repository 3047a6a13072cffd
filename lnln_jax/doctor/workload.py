"""Programs of a network on random patches, and a clock, to measure speeds with."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.config import OptimizerConfig
from lnln_jax.doctor.networks import random_variables
from lnln_jax.training.optimizer import make_optimizer, make_schedule
from lnln_jax.training.state import TrainState, create_state
from lnln_jax.training.step import make_train_step

_LASTING = 0.5  # seconds that a measurement takes, where a call is not longer
_ROUNDS = 3, 10  # the fewest and the most
_ROUND = 0.02  # seconds of a round on accelerators, where a call may be shorter than its start


class Spread(NamedTuple):
    """The median of several rounds, and their range."""

    median: float
    low: float
    high: float


class Workload(NamedTuple):
    """A network's forward pass and training step, to be compiled, with their arguments.

    Attributes:
      forward: jitted function of variables and LR patches.
      step: jitted function of a state, which it takes over, and a batch.
      state: state before the first step.
      batch: "lr" and "hr", uint8 `B H W 3`.
    """

    forward: Any
    step: Any
    state: TrainState
    batch: dict[str, jax.Array]

    @property
    def forward_arguments(self) -> tuple[Any, jax.Array]:
        """Arguments of `forward`."""
        return self.state.variables, self.batch["lr"].astype(jnp.float32)

    @property
    def step_arguments(self) -> tuple[TrainState, dict[str, jax.Array]]:
        """Arguments of `step`."""
        return self.state, self.batch

    def seconds_of_forward(self, compiled: Any) -> Spread:
        """Measures the compiled forward pass; before the step, which takes the state."""
        arguments = self.forward_arguments
        return time_call(lambda: compiled(*arguments))

    def seconds_of_step(self, compiled: Any) -> Spread:
        """Measures the compiled step, each from the state that the one before has left."""
        state = self.state

        def call() -> Any:
            nonlocal state
            state, metrics = compiled(state, self.batch)
            return metrics

        return time_call(call)


def workload(module: nn.Module, batch: int, patch: int) -> Workload:
    """Makes the workload of an x2 network, of random weights and patches.

    Args:
      module: network.
      batch: number of patches.
      patch: side of the LR patches.
    """
    rng = np.random.default_rng(0)
    images = {
        key: jax.device_put(rng.integers(0, 256, (batch, side, side, 3), np.uint8))
        for key, side in (("lr", patch), ("hr", 2 * patch))
    }
    config = OptimizerConfig()
    optimizer, schedule = make_optimizer(config), make_schedule(config)
    create = jax.jit(partial(create_state, optimizer=optimizer, ema=False))
    step = make_train_step(module, optimizer, schedule=schedule)
    state = create(random_variables(module, rng))
    return Workload(jax.jit(module.apply), step, state, images)


def time_call(call: Callable[[], Any]) -> Spread:
    """Measures a call, after two that do not count.

    Short calls to an accelerator are queued, as they are in training, and a round has several.
    """
    for _ in range(2):
        jax.block_until_ready(call())
    start = time.perf_counter()
    jax.block_until_ready(call())
    once = time.perf_counter() - start
    queued = jax.default_backend() != "cpu"  # on a CPU, calls might run at the same time
    calls = max(1, round(_ROUND / once)) if queued else 1
    fewest, most = _ROUNDS
    times = []
    for _ in range(min(most, max(fewest, round(_LASTING / (calls * once))))):
        start = time.perf_counter()
        for _ in range(calls):
            result = call()
        jax.block_until_ready(result)
        times.append((time.perf_counter() - start) / calls)
    return Spread(statistics.median(times), min(times), max(times))
