"""Weights from one file format to another."""

from pathlib import Path

import jax
import numpy as np

from lnln_jax.runtime.files import check_target, failure_named, printable
from lnln_jax.runtime.numbers import whole
from lnln_jax.runtime.told import Told
from lnln_jax.weights.base import Weights
from lnln_jax.weights.handed_state import read_state, write_state
from lnln_jax.weights.load import WRITTEN, find_source, load_weights
from lnln_jax.weights.part_names import files_of, stem_of
from lnln_jax.weights.safetensors_files import save_safetensors
from lnln_jax.weights.tables import NETWORKS
from lnln_jax.weights.tables.base import Shapes, measured
from lnln_jax.weights.tables.residual import default_res_scale
from lnln_jax.weights.torch_files import write_state_dict
from lnln_jax.weights.torch_port import to_torch


def convert(
    source: str | Path,
    target: str | Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    overwrite: bool = False,
) -> Told:
    """Writes the weights of a network to a file of the format that its suffix says.

    float32 weights keep every bit. The frozen mean shift is not a weight: a PyTorch file gets ours,
    whose last bit may differ from what EDSR's code makes of it. BatchNorm's counts of batches get
    the step of a run, or the largest count of a file. That a network computes in bfloat16 is kept
    in a `.safetensors` file alone.

    Args:
      source: folder of a training run, or a file: what `load_model` takes, except "bicubic".
      target: `.pt` or `.pth` for a PyTorch state dict with the keys of the published checkpoints,
        or `.safetensors` (see `weights.safetensors_files`). Its folder is made where there is
        none. The file appears whole or not at all.
      scale: see `load_model`.
      res_scale: see `load_model`.
      overwrite: whether `target` may be there already.

    Returns:
      A line or two on what was done, with its `facts`.

    Raises:
      ValueError: the source cannot be loaded, or the target cannot be written.
    """
    target = Path(target)
    _check_file(source, target, overwrite=overwrite)

    weights = load_weights(source, scale=scale, res_scale=res_scale)
    with failure_named(target):
        hidden = _write(weights, target)
    model = weights.model
    count = sum(np.size(leaf) for leaf in jax.tree.leaves(weights.variables["params"]))
    trained = f", trained for {weights.step:,} steps" if weights.step else ""
    size = target.stat().st_size
    report = f"{model.name} x{model.scale}, {count:,} parameters{trained}: {printable(target)} ("
    return Told(
        f"{report}{size / 1e6:.2f} MB){hidden}",
        files=[printable(target)],
        size_bytes=size,
        network=model.name,
        scale=model.scale,
        parameters=count,
        steps=weights.step,
        dtype=weights.dtype,
    )


def _check_file(source: str | Path, target: Path, *, overwrite: bool) -> None:
    """Raises ValueError for a file that cannot be the target of a source."""
    if target.suffix.lower() not in WRITTEN:
        raise ValueError(
            f"target is {printable(target)}; its suffix must be one of {', '.join(WRITTEN)}"
        )
    if str(source) == "bicubic":
        raise ValueError("source is bicubic, which has no weights; give a run's folder or a file")
    with failure_named(target):
        exists = target.exists()
    path = find_source(source)
    if exists and path.exists() and target.samefile(path):
        raise ValueError(
            f"source and target are the same file, {printable(target)}; name another target"
        )
    check_target(target, overwrite=overwrite)


def _write(weights: Weights, target: Path) -> str:
    """Writes a file; returns lines on what it does not tell `load_model`, if there is anything."""
    model, variables = weights.model, weights.variables
    if target.suffix.lower() == ".safetensors":
        save_safetensors(
            target,
            model,
            variables,
            step=weights.step,
            dtype=weights.dtype,
            training=weights.training,
        )
        return ""
    state_dict = to_torch(variables, name=model.name, step=weights.step)
    write_state_dict(target, state_dict)
    return _hidden_in_pytorch(weights, {key: array.shape for key, array in state_dict.items()})


def convert_state(
    source: str | Path, target: str | Path, *, split: int | None = None, overwrite: bool = False
) -> Told:
    """Writes the state of a training run to files with which another run goes on (`init_state`).

    Args:
      source: folder of a training run, whose newest checkpoint is taken, or of one step in it; or
        a file with a state, one of a set of such files, or their name without numbers.
      target: `.safetensors` file (see `weights.handed_state`), of which all parts appear, or none.
        Its folder is made where there is none.
      split: MiB that a file may have; what is larger becomes a set of files that are named
        `x-00001-of-00003.safetensors` and so on. None: one file.
      overwrite: whether `target`, or a set of that name, may be there already; it goes.

    Returns:
      A line on what was done, with its `facts`.

    Raises:
      ValueError: the source holds no state that can be read, or the target cannot be written.
    """
    source, target = Path(source), Path(target)
    split = None if split is None else whole("split", split, least=1)
    _check_set(source, target, overwrite=overwrite)

    state = read_state(source)
    with failure_named(target):
        files = write_state(state, target, part_bytes=None if split is None else split * 2**20)
    size = sum(file.stat().st_size for file in files)
    parts = sorted({name.partition("/")[0] for name in state.arrays})
    model = state.config.model
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return Told(
        f"{model.name} x{model.scale} after {state.step:,} steps, "
        f"{', '.join(parts)}: {printable(files[0])}{more} ({size / 1e6:.2f} MB)",
        files=[*map(printable, files)],
        size_bytes=size,
        network=model.name,
        scale=model.scale,
        steps=state.step,
        parts=parts,
    )


def _check_set(source: Path, target: Path, *, overwrite: bool) -> None:
    """Raises ValueError for a file, or a set of files, that cannot be the target of a state."""
    if target.suffix.lower() != ".safetensors":
        raise ValueError(
            f"target is {printable(target)}; a state is written to .safetensors, so name it so"
        )
    if stem_of(target) != target.stem:
        raise ValueError(
            f"target is {printable(target)}, which is the name of a part; leave out its number, as "
            f"in {stem_of(target)}{target.suffix}"
        )
    with failure_named(target):
        old = files_of(target)
    if (
        not source.is_dir()
        and stem_of(source) == stem_of(target)
        and any(file.parent.samefile(source.parent) for file in old)
    ):
        raise ValueError(
            f"source and target are the same, {printable(target)}; name another target"
        )
    for file in old or [target]:
        check_target(file, overwrite=overwrite)


def _hidden_in_pytorch(weights: Weights, shapes: Shapes) -> str:
    """Returns lines on what a PyTorch file with arrays of these shapes does not tell."""
    name, module, scale = weights.model.name, weights.module(), weights.model.scale
    measure = NETWORKS[name].measures.get("scale")
    hidden: dict[str, float] = {}
    if measure is None or measured(measure, shapes) is None:
        hidden["scale"] = scale
    res_scale = getattr(module, "res_scale", None)
    if res_scale is not None and res_scale != default_res_scale(name, module.n_feats):
        hidden["res_scale"] = res_scale
    lines = ""
    for key, value in hidden.items():
        option = f"--{key.replace('_', '-')} {value}"
        lines += f"\nA PyTorch file does not show {key}: load it with {key}={value} ({option})."
    if weights.dtype != "float32":
        lines += f"\nA PyTorch file does not show dtype: {weights.dtype} here, it loads as float32."
    return lines
