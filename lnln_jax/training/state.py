"""The state of a training run, and its names for batches and metrics."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from lnln_jax.models.variables import Variables

Batch = Mapping[str, jax.Array]  # {"lr": B h w 3, "hr": B H W 3}, uint8
Metrics = dict[str, jax.Array]


class TrainState(struct.PyTreeNode):
    """All that a step changes.

    Attributes:
      step: int32 scalar, number of steps that have been taken.
      variables: parameters and batch statistics.
      opt_state: state of the Optax optimizer.
      ema: exponential moving average of `variables`, or None.
      stretch: float32 scalar, positions on the learning-rate schedule for each step. It stays the
        same, and comes from the configuration instead of checkpoints; it is here, as an input of
        the compiled step, so that a training run of another length needs no other program.
    """

    step: jax.Array
    variables: Variables
    opt_state: optax.OptState
    ema: Variables | None
    stretch: Any = np.float32(1)

    @property
    def averaged(self) -> Variables:
        """Variables to evaluate: the moving average where there is one."""
        return self.variables if self.ema is None else self.ema


def create_state(
    variables: Variables, optimizer: optax.GradientTransformation, *, ema: bool
) -> TrainState:
    """Makes the state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        variables=variables,
        opt_state=optimizer.init(variables["params"]),
        ema=jax.tree.map(jnp.copy, variables) if ema else None,
        stretch=jnp.ones((), jnp.float32),
    )
