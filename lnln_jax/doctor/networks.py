"""Networks with weights that are drawn on the host, in no time and without a compilation."""

import math
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from lnln_jax.models.variables import abstract_variables


def random_variables(module: nn.Module, rng: np.random.Generator) -> dict[str, Any]:
    """Returns float32 variables as those of a trained network might be: none is zero.

    Args:
      module: network.
      rng: source of the random numbers.
    """

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        *parents, name = (part.key for part in path)
        if name in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        std = 0.1
        if name == "kernel":
            inputs = 9 if "depthwise" in parents else math.prod(leaf.shape[-4:-1])
            std = inputs**-0.5
        if {"theta", "phi"} & set(parents):  # features are in the tens; scores shall be in the ones
            std /= 64
        return rng.normal(0, std, leaf.shape).astype(np.float32)

    return jax.tree.map_with_path(draw, abstract_variables(module))
