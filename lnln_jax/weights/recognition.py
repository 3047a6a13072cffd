"""Which network a PyTorch state dict is of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lnln_jax.models import scales_of
from lnln_jax.models.spec import ModelConfig, number_types
from lnln_jax.models.variables import abstract_variables
from lnln_jax.runtime.files import printable
from lnln_jax.weights.base import Weights, build, checked, describe
from lnln_jax.weights.nesting import select_network, table_of
from lnln_jax.weights.tables.base import measured
from lnln_jax.weights.tables.residual import default_res_scale
from lnln_jax.weights.torch_port import from_torch


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
      state_dict: arrays by key, which may have prefixes (`nesting`).
      path: where the state dict is from, for messages.
      scale: needed where the weights do not show it, as VDSR's, PAN's between x2 and x3, and
        CARN's with several scales in one file; checked otherwise.
      res_scale: for EDSR and WDSR, whose weights do not show it; if left out, 0.1 for an EDSR of
        256 features, else 1.
      default_scale: scale where neither the weights nor `scale` tell it; if the weights cannot be
        of it, the least that they can be of.

    Raises:
      ValueError: keys of no known network, or that do not fit the network: all such are listed; or
        an argument that the network needs or does not have.
    """
    taken_for = ""
    state_dict = select_network(state_dict, path)
    try:
        model = _infer_model(state_dict, scale, res_scale, default_scale)
        taken_for = f", taken for {describe(model)}"
        variables = from_torch(state_dict, name=model.name, like=abstract_variables(build(model)))
    except ValueError as error:
        raise ValueError(f"{printable(path)}{taken_for}: {error}") from error
    counts = (a for key, a in state_dict.items() if key.endswith(".num_batches_tracked"))
    step = max([0, *(int(a) for a in counts if a.dtype.kind == "i")])
    return checked(Weights(model, variables, step), path, scale, res_scale)


def _infer_model(
    state_dict: Mapping[str, np.ndarray],
    scale: int | None,
    res_scale: float | None,
    default_scale: int | None,
) -> ModelConfig:
    """Returns the network with the hyper-parameters that show; the others are as published."""
    shapes = {key: value.shape for key, value in state_dict.items()}
    found = table_of(shapes)
    assert found, "select_network has seen to it"
    name, table = found
    found_options = {key: measured(measure, shapes) for key, measure in table.measures.items()}
    options: dict[str, Any] = {key: value for key, value in found_options.items() if value}
    if "res_scale" in number_types(name):
        default = default_res_scale(name, options.get("n_feats", 0))
        options["res_scale"] = default if res_scale is None else res_scale
    scale = options.pop("scale", scale)
    if scale is None and table.alike:
        if default_scale is None:
            scales = ", ".join(map(str, table.alike))
            raise ValueError(
                f"the weights of this {name} do not show the scale; give scale (--scale), one of "
                f"{scales}"
            )
        scale = default_scale if default_scale in table.alike else table.alike[0]
    # Arrays that should show it and do not fit no scale, and `from_torch` lists them.
    return ModelConfig(name, scale or scales_of(name)[0], options)
