"""Weights from one file format to another."""

from pathlib import Path

import jax
import numpy as np

from lnln_jax.files import check_target, failure_named
from lnln_jax.loading import SUFFIXES, load_weights
from lnln_jax.safetensors_files import save_safetensors
from lnln_jax.torch_port import to_torch, write_state_dict
from lnln_jax.torch_tables import NETWORKS, default_res_scale
from lnln_jax.weights import Weights


def convert(
    source: str | Path,
    target: str | Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    overwrite: bool = False,
) -> str:
    """Writes the weights of a network to a file of the format that its suffix says.

    float32 weights keep every bit. The frozen mean shift is no weight: a PyTorch file gets ours,
    whose last bit may differ from what EDSR's code makes of it. BatchNorm's counts of batches get
    the step of a run, or the largest count of a file. That a network computes in bfloat16 is kept
    in a `.safetensors` file alone.

    Args:
      source: the folder of a training run, or a file: what `load_model` takes, except "bicubic".
      target: `.pt` or `.pth` for a PyTorch state dict with the keys of the published checkpoints,
        or `.safetensors` (see `lnln_jax.safetensors_files`). Its folder is made where there is
        none. The file appears whole or not at all.
      scale: see `load_model`.
      res_scale: see `load_model`.
      overwrite: whether `target` may be there already.

    Returns:
      What was done, in one line or two, for printing.

    Raises:
      ValueError: the source cannot be loaded, or the target cannot be written.
      RuntimeError: one of the two is a PyTorch file, and PyTorch is not installed.
    """
    source, target = Path(source), Path(target)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"target is {target}; its suffix must be one of {', '.join(SUFFIXES)}")
    if str(source) == "bicubic":
        raise ValueError("source is bicubic, which has no weights; give a run's folder or a file")
    with failure_named(target):
        exists = target.exists()
    if exists and source.exists() and target.samefile(source):
        raise ValueError(f"source and target are the same file, {target}; name another target")
    check_target(target, overwrite=overwrite)

    weights = load_weights(source, scale=scale, res_scale=res_scale)
    model = weights.model
    with failure_named(target):
        if suffix == ".safetensors":
            save_safetensors(
                target,
                model,
                weights.variables,
                step=weights.step,
                dtype=weights.dtype,
                training=weights.training,
            )
        else:
            arrays = to_torch(weights.variables, name=model.name, step=weights.step)
            write_state_dict(target, arrays)

    count = sum(np.size(leaf) for leaf in jax.tree.leaves(weights.variables["params"]))
    trained = f", trained for {weights.step:,} steps" if weights.step else ""
    size = target.stat().st_size / 1e6
    report = f"{model.name} x{model.scale}, {count:,} parameters{trained}: {target} ({size:.2f} MB)"
    return report if suffix == ".safetensors" else report + _hidden_in_pytorch(weights)


def _hidden_in_pytorch(weights: Weights) -> str:
    """Lines on what a PyTorch file does not tell `load_model`, if there is anything."""
    name, module = weights.model.name, weights.module()
    hidden = {} if "scale" in NETWORKS[name].measures else {"scale": weights.model.scale}
    res_scale = getattr(module, "res_scale", None)
    if res_scale is not None and res_scale != default_res_scale(module.n_feats):
        hidden["res_scale"] = res_scale
    lines = ""
    for key, value in hidden.items():
        option = f"--{key.replace('_', '-')} {value}"
        lines += f"\nA PyTorch file does not show {key}: load it with {key}={value} ({option})."
    if weights.dtype != "float32":
        lines += f"\nA PyTorch file does not show dtype: {weights.dtype} here, it loads as float32."
    return lines
