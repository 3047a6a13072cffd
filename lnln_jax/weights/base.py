"""A network with its weights, wherever they are from."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from lnln_jax.models import create_model
from lnln_jax.models.spec import ModelConfig
from lnln_jax.models.variables import Variables
from lnln_jax.runtime.files import printable


class Weights(NamedTuple):
    """A network with its weights.

    Attributes:
      model: which network.
      variables: `{"params": ..., "batch_stats": ...}`, float32 arrays.
      step: number of steps that it has been trained for; 0 where that is unknown.
      dtype: dtype of the computation, as in training; "float32" where that is unknown.
      training: how it was trained, where a safetensors file of ours tells; or None.
    """

    model: ModelConfig
    variables: Variables
    step: int = 0
    dtype: str = "float32"
    training: Mapping[str, Any] | None = None

    def module(self) -> nn.Module:
        """Builds the network."""
        return build(self.model, self.dtype)


def describe(model: ModelConfig) -> str:
    """Returns one line: edsr x2 (n_resblocks 16, n_feats 64, res_scale 1.0)."""
    options = ", ".join(f"{key} {value}" for key, value in model.options.items())
    return f"{model.name} x{model.scale}" + (f" ({options})" if options else "")


def build(model: ModelConfig, dtype: str = "float32") -> nn.Module:
    """Builds a network that computes in `dtype`."""
    return create_model(model.name, model.scale, dtype=jnp.dtype(dtype), **model.options)


def checked(weights: Weights, path: Path, scale: int | None, res_scale: float | None) -> Weights:
    """Returns `weights`, whose network must have the `scale` and `res_scale` that are not None.

    A network with several scales gets the one that is asked for.

    Raises:
      ValueError: the network has others.
    """
    if scale not in (None, weights.model.scale):
        if weights.model.options.get("n_scales", 1) == 1:
            raise ValueError(f"{printable(path)} upscales x{weights.model.scale}, not x{scale}")
        model = dataclasses.replace(weights.model, scale=scale)
        return checked(weights._replace(model=model), path, scale, res_scale)
    own = getattr(weights.module(), "res_scale", None)
    if res_scale not in (None, own):
        raise ValueError(
            f"res_scale is {res_scale}, but {printable(path)} has "
            f"{'none' if own is None else own}; leave it out"
        )
    return weights
