"""Weights from one file format to another."""

from pathlib import Path

import jax
import numpy as np

from lnln_jax.loading import SUFFIXES, load_weights
from lnln_jax.torch_port import to_torch, write_state_dict
from lnln_jax.torch_tables import NETWORKS, default_res_scale
from lnln_jax.weights import Weights, save_safetensors


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
    the step of a run, or the largest count of a file.

    Args:
      source: the folder of a training run, or a file: what `load_model` takes, except "bicubic".
      target: `.pt` or `.pth` for a PyTorch state dict with the keys of the published checkpoints,
        or `.safetensors` (see `lnln_jax.weights`). Its folder is made where there is none. The file
        appears whole or not at all.
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
    if target.exists():
        if source.exists() and target.samefile(source):
            raise ValueError(f"source and target are the same file, {target}; name another target")
        if target.is_dir():
            raise ValueError(f"target is {target}, which is a folder; name a file in it")
        if not overwrite:
            raise ValueError(f"target is {target}, which exists; name another, or set overwrite")

    weights = load_weights(source, scale=scale, res_scale=res_scale)
    model = weights.model
    if suffix == ".safetensors":
        save_safetensors(target, model, weights.variables, step=weights.step)
    else:
        arrays = to_torch(weights.variables, name=model.name, step=weights.step)
        write_state_dict(target, arrays)

    count = sum(np.size(leaf) for leaf in jax.tree.leaves(weights.variables["params"]))
    trained = f", trained for {weights.step:,} steps" if weights.step else ""
    size = target.stat().st_size / 1e6
    report = f"{model.name} x{model.scale}, {count:,} parameters{trained}: {target} ({size:.2f} MB)"
    if suffix != ".safetensors" and (hints := _hidden_in_pytorch(weights)):
        report += f"\nA PyTorch file does not show all of it: load it with {' and '.join(hints)}."
    return report


def _hidden_in_pytorch(weights: Weights) -> list[str]:
    """The arguments without which `load_model` would take a PyTorch file for another network."""
    name, module = weights.model.name, weights.module()
    hints = [] if "scale" in NETWORKS[name].measures else [f"scale={weights.model.scale}"]
    res_scale = getattr(module, "res_scale", None)
    if res_scale is not None and res_scale != default_res_scale(module.n_feats):
        hints.append(f"res_scale={res_scale}")
    return hints
