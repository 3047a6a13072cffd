"""Which network a PyTorch state dict is of."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lnln_jax.models.spec import ModelConfig, number_types
from lnln_jax.models.variables import abstract_variables
from lnln_jax.weights.base import Weights, build, checked, describe
from lnln_jax.weights.torch_keys import NETWORKS, default_res_scale
from lnln_jax.weights.torch_port import from_torch

_PREFIXES = ("module.", "model.")  # of DataParallel, and of a module that holds the network


def from_state_dict(
    state_dict: Mapping[str, np.ndarray],
    path: Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    default_scale: int | None = None,
) -> Weights:
    """Recognises the network that a PyTorch state dict is of, and takes its weights over.

    Args:
      state_dict: arrays by key; all keys may begin with "module." or "model.".
      path: where the state dict is from, for messages.
      scale: needed for VDSR, whose weights do not show it; checked otherwise.
      res_scale: for EDSR, whose weights do not show it: 0.1 for 256 features, else 1, if left out.
      default_scale: scale of a VDSR if `scale` is left out.

    Raises:
      ValueError: keys of no known network, or that do not fit the network: all such are listed; or
        an argument that the network needs or does not have.
    """
    while prefix := _common_prefix(state_dict):
        state_dict = {key.removeprefix(prefix): value for key, value in state_dict.items()}
    taken_for = ""
    try:
        model = _infer_model(state_dict, scale or default_scale, res_scale)
        taken_for = f", taken for {describe(model)}"
        variables = from_torch(state_dict, name=model.name, like=abstract_variables(build(model)))
    except ValueError as error:
        raise ValueError(f"{path}{taken_for}: {error}") from error
    counts = (a for key, a in state_dict.items() if key.endswith(".num_batches_tracked"))
    step = max([0, *(int(a) for a in counts if a.dtype.kind == "i")])
    return checked(Weights(model, variables, step), path, scale, res_scale)


def _common_prefix(keys: Iterable[str]) -> str | None:
    """Returns the prefix that wrappers of modules have put before all keys, if any."""
    prefixes = {next((p for p in _PREFIXES if key.startswith(p)), None) for key in keys}
    return prefixes.pop() if len(prefixes) == 1 else None


def _infer_model(
    state_dict: Mapping[str, np.ndarray], scale: int | None, res_scale: float | None
) -> ModelConfig:
    """Returns the network with the hyper-parameters that show; the others are as published."""
    shapes = {key: value.shape for key, value in state_dict.items()}
    marks = {
        name: sum(re.match(network.mark, key) is not None for key in shapes)
        for name, network in NETWORKS.items()
    }
    name = max(marks, key=lambda name: marks[name])
    if not marks[name]:
        first = ", ".join(list(shapes)[:5]) or "no keys"
        raise ValueError(
            f"these are the keys of no known network ({', '.join(sorted(NETWORKS))}): {first}"
            f"{', ...' if len(shapes) > 5 else ''}; rename them as weights/torch_keys.py has them"
        )
    options: dict[str, Any] = {}
    for option, measure in NETWORKS[name].measures.items():
        try:
            value = measure(shapes)
        except (LookupError, ZeroDivisionError):
            continue  # a key is missing or misshapen, which `from_torch` says
        if value:
            options[option] = value
    if "res_scale" in number_types(name):
        default = default_res_scale(options.get("n_feats", 0))
        options["res_scale"] = default if res_scale is None else res_scale
    if scale is None and "scale" not in NETWORKS[name].measures:
        raise ValueError(
            f"the weights of {name} do not show the scale; give scale (--scale): 2, 3 or 4"
        )
    return ModelConfig(name, options.pop("scale", scale or 2), options)
