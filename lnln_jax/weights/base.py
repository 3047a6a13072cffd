"""A network with its weights, and which network a PyTorch state dict is of."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from lnln_jax.config import ModelConfig
from lnln_jax.models import create_model, model_options
from lnln_jax.models.variables import Variables, abstract_variables
from lnln_jax.weights.torch_keys import NETWORKS, Found, Measure, default_res_scale
from lnln_jax.weights.torch_port import from_torch

_PREFIXES = ("module.", "model.")  # of DataParallel, and of a module that holds the network


class Weights(NamedTuple):
    """A network with its weights.

    Attributes:
      model: which network.
      variables: `{"params": ..., "batch_stats": ...}`, float32 arrays.
      step: how many steps it has been trained; 0 where that is unknown.
      dtype: of the computation, as it was in training; "float32" where that is unknown.
      training: how it was trained, for one that a safetensors file of ours tells it of; or None.
    """

    model: ModelConfig
    variables: Variables
    step: int = 0
    dtype: str = "float32"
    training: Mapping[str, Any] | None = None

    def module(self) -> nn.Module:
        """Builds the network."""
        return build(self.model, self.dtype)


def from_state_dict(
    state_dict: Mapping[str, np.ndarray],
    path: Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    default_scale: int | None = None,
) -> Weights:
    """Finds out which network a PyTorch state dict is of, and takes it over.

    Args:
      state_dict: arrays by key; all keys may begin with "module." or "model.".
      path: where it is from, for messages.
      scale: needed for VDSR, whose weights do not show it; checked otherwise.
      res_scale: for EDSR, whose weights do not show it: 0.1 for 256 features, else 1, if left out.
      default_scale: what VDSR's scale is if `scale` is left out.

    Raises:
      ValueError: keys of no known network, or that do not fit the network: all such are listed; or
        an argument that the network needs or has not.
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
    """The prefix that wrappers of modules have put before all keys, if any."""
    prefixes = {next((p for p in _PREFIXES if key.startswith(p)), None) for key in keys}
    return prefixes.pop() if len(prefixes) == 1 else None


def _infer_model(
    state_dict: Mapping[str, np.ndarray], scale: int | None, res_scale: float | None
) -> ModelConfig:
    """The network with the hyper-parameters that show; what a damaged file hides is left out."""
    shapes = {key: value.shape for key, value in state_dict.items()}
    marks = {name: len(_find(network.mark, shapes)) for name, network in NETWORKS.items()}
    name = max(marks, key=lambda name: marks[name])
    if not marks[name]:
        first = ", ".join(list(shapes)[:5]) or "no keys"
        raise ValueError(
            f"these are the keys of no known network ({', '.join(sorted(NETWORKS))}): {first}"
            f"{', ...' if len(shapes) > 5 else ''}; rename them as weights/torch_keys.py has them"
        )
    measures = NETWORKS[name].measures
    n_feats = _measure(measures["n_feats"], shapes, 0) or 0
    read = {option: _measure(measure, shapes, n_feats) for option, measure in measures.items()}
    options: dict[str, Any] = {key: value for key, value in read.items() if value is not None}
    if "res_scale" in numbers(name):
        default = default_res_scale(n_feats)
        options["res_scale"] = default if res_scale is None else res_scale
    if scale is None and "scale" not in measures:
        raise ValueError(
            f"the weights of {name} do not show the scale; give scale (--scale): 2, 3 or 4"
        )
    return ModelConfig(name, options.pop("scale", scale or 2), options)


def _find(keys: str, shapes: Mapping[str, tuple[int, ...]]) -> Found:
    """Indices and shape of the keys that begin with `keys`, which is as in a `Measure`."""
    regex = re.compile(re.escape(keys).replace(r"\*", r"(\d{1,9})").replace(r"\|", "|"))
    matches = [(regex.match(key), shape) for key, shape in shapes.items()]
    return [(tuple(map(int, match.groups())), shape) for match, shape in matches if match]


def _measure(measure: Measure, shapes: Mapping[str, tuple[int, ...]], n_feats: int) -> int | None:
    """A hyper-parameter, or None where the arrays that show it are missing or misshapen."""
    if not (found := _find(measure.keys, shapes)):
        return None
    try:
        return measure.read(found, n_feats)
    except (IndexError, ZeroDivisionError):
        return None


def describe(model: ModelConfig) -> str:
    """One line: edsr x2 (n_resblocks 16, n_feats 64, res_scale 1.0)."""
    options = ", ".join(f"{key} {value}" for key, value in model.options.items())
    return f"{model.name} x{model.scale}" + (f" ({options})" if options else "")


def build(model: ModelConfig, dtype: str = "float32") -> nn.Module:
    """The network, computing in `dtype`."""
    return create_model(model.name, model.scale, dtype=jnp.dtype(dtype), **model.options)


def numbers(name: str) -> list[str]:
    """The hyper-parameters that make a network what it is, all numbers; not how it is compiled."""
    return [
        key for key, hint in model_options(name).items() if hint in (int, float) and key != "unroll"
    ]


def checked(weights: Weights, path: Path, scale: int | None, res_scale: float | None) -> Weights:
    """Returns `weights`, whose network must have the scale and `res_scale` that are not None.

    Raises:
      ValueError: it has others.
    """
    if scale not in (None, weights.model.scale):
        raise ValueError(f"{path} enlarges x{weights.model.scale}, not x{scale}")
    own = getattr(weights.module(), "res_scale", None)
    if res_scale not in (None, own):
        raise ValueError(
            f"res_scale is {res_scale}, but {path} has {'none' if own is None else own}; leave it "
            "out"
        )
    return weights
