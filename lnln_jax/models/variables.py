"""The variables of a network: drawn, or their shapes alone."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lnln_jax.models import input_channels, least_side
from lnln_jax.models.prng import hash_key
from lnln_jax.runtime.numbers import whole

Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}


def initialize(module: nn.Module, seed: int) -> Variables:
    """Draws the variables of a network in one compiled call.

    Args:
      module: network.
      seed: whole number from 0 to 2**63 - 1; the same seed draws the same variables.

    Returns:
      `{"params": ..., "batch_stats": ...}`, float32.

    Raises:
      ValueError: another seed.
    """
    seed = whole("seed", seed, least=0, most=2**63 - 1)
    side = max(8, least_side(module))
    shape = jax.ShapeDtypeStruct((1, side, side, input_channels(module)), jnp.float32)
    return jax.jit(lambda key: module.lazy_init(key, shape))(hash_key(seed))


def abstract_variables(module: nn.Module) -> Variables:
    """Returns the shapes and dtypes of a network's variables; nothing is computed."""
    return jax.tree.map(lambda leaf: leaf, _traced(module))  # dictionaries of the caller's own


@functools.lru_cache(maxsize=64)  # to trace a network takes about a second
def _traced(module: nn.Module) -> Variables:
    return jax.eval_shape(lambda: initialize(module, 0))
