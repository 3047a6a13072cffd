"""Arrays of the host on the devices of one process or of several."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding


def place(x: Any, sharding: Sharding) -> jax.Array:
    """Puts an array that all processes have on the devices of all.

    Args:
      x: array or number, the same in every process.
      sharding: of the result; its devices may be those of several processes.

    Returns:
      The array, of the shape and dtype of `x`.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
