"""Batch normalisation folded into the convolutions before it, for inference.

With the running statistics a normalisation scales and shifts whole channels, as the convolution
before it could do by itself: (W x + b - mean) * s + shift = (s W) x + (b - mean) * s + shift.
"""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lnln_jax.models.drca import DRCA
from lnln_jax.models.layers import BatchNorm
from lnln_jax.models.lnln import LNLN


def fold_batch_norm(module: nn.Module, variables: Any) -> tuple[nn.Module, Any]:
    """A network that computes the same without normalising, but for rounding, and cannot train.

    Args:
      module: a network. One without batch normalisation is returned as it is.
      variables: its weights, `{"params": ..., "batch_stats": ...}`.

    Returns:
      The module and its variables, float32; sums and products were made in float64.
    """
    if not isinstance(module, LNLN | DRCA) or not module.normalize:
        return module, variables
    stats = flatten_dict(jax.device_get(variables["batch_stats"]), sep="/")
    params = flatten_dict(jax.device_get(variables["params"]), sep="/")
    for path in [path for path in params if path.endswith("/scale")]:
        norm = path.removesuffix("/scale")  # such as body/group_1/first/norm_1
        conv = norm.replace("/norm_", "/conv_")
        if f"{conv}/pointwise/kernel" in params:
            conv = f"{conv}/pointwise"
        mean, var = (_wide(stats[f"{norm}/{name}"]) for name in ("mean", "var"))
        scale = _wide(params.pop(path)) / np.sqrt(var + BatchNorm.epsilon)
        shift = (_wide(params[f"{conv}/bias"]) - mean) * scale + params.pop(f"{norm}/bias")
        kernel = _wide(params[f"{conv}/kernel"])  # stacked blocks have axes in front
        axes = tuple(range(scale.ndim - 1, kernel.ndim - 1))
        params[f"{conv}/kernel"] = kernel * np.expand_dims(scale, axes)
        params[f"{conv}/bias"] = shift
    with np.errstate(over="ignore"):  # of a network that has diverged
        params = {path: np.asarray(x, np.float32) for path, x in params.items()}
    folded = {"params": unflatten_dict(params, sep="/")}
    return module.clone(normalize=False), jax.device_put(folded)


def _wide(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64)
