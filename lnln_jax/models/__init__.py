"""The networks by name."""

import dataclasses
import typing
from typing import Any

import flax.linen as nn

from lnln_jax.models.drca import DRCA
from lnln_jax.models.lnln import LNLN

MODELS: dict[str, type[nn.Module]] = {"lnln": LNLN, "drca": DRCA}
SCALES = (2, 3, 4)


def model_options(name: str) -> dict[str, type]:
    """The hyper-parameters of a network that `create_model` takes, with their types."""
    hints = typing.get_type_hints(MODELS[name])
    fields = [f.name for f in dataclasses.fields(MODELS[name])]
    return {key: hints[key] for key in fields if key not in ("parent", "name", "scale")}


def create_model(name: str, scale: int = 2, **overrides: Any) -> nn.Module:
    """Builds a network by name, with its published hyper-parameters unless overridden.

    Args:
      name: "lnln" or "drca".
      scale: 2, 3 or 4.
      **overrides: hyper-parameters of the network, such as `n_resgroups=2` or `dtype=jnp.bfloat16`.

    Returns:
      A Flax module; `module.apply(variables, lr)` takes `B H W 3` float32 RGB in 0..255.

    Raises:
      ValueError: an unknown name, scale or hyper-parameter, or a number smaller than 1.
    """
    if name not in MODELS:
        raise ValueError(f"name is {name!r}; the networks are {', '.join(sorted(MODELS))}")
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; it must be one of {SCALES}")
    known = model_options(name)
    for key, value in overrides.items():
        if key not in known:
            raise ValueError(f"{name} has no hyper-parameter {key!r}; it has {', '.join(known)}")
        if known[key] is int and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{key} is {value!r}; it must be a whole number of at least 1")
    n_feats, reduction = overrides.get("n_feats", 64), overrides.get("reduction", 16)
    if n_feats // reduction < 1 or n_feats < 2:
        raise ValueError(
            f"n_feats is {n_feats}, which reduction {reduction} leaves no channel of; "
            "choose n_feats of at least the reduction"
        )
    return MODELS[name](scale=scale, **overrides)
