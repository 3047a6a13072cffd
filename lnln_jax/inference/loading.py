"""Models by name or file, ready to upscale images."""

from pathlib import Path

import jax

from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.runtime.numbers import real, whole
from lnln_jax.weights.load import SUFFIXES, load_weights
from lnln_jax.weights.part_names import stem_of


def load_model(
    source: str | Path, *, scale: int | None = None, res_scale: float | None = None
) -> Upscaler:
    """Loads a model.

    Args:
      source: "bicubic"; or the folder of a training run (its best checkpoint by validation is
        taken), or of one step in it; or the name of a trained network of this package
        (`pretrained.names()`), which a run's folder of the same name goes before, with a line on
        stderr, and nothing else does ("./name" is always a path); or a file, whose contents tell
        what it is (`weights.load.SUFFIXES`):

        - `.safetensors`, as `weights.safetensors_files.save_safetensors` writes it, or with a
          training run's state (`weights.handed_state`): also by the name that all files of a set
          have without their numbers;
        - `.pt`, `.pth` or `.ckpt` with a PyTorch state dict of a network of this package, whose
          keys are those of the authors' checkpoints, or BasicSR's of EDSR and RCAN. The network is
          recognised by them, within dictionaries, under prefixes (`weights.nesting`), and in a
          whole pickled module. It needs no PyTorch, and no code of the file is run.
        - `.safetensors` with such a state dict.
      scale: factor of "bicubic" (2 unless given), and where weights from PyTorch fit several: of
        a VDSR, of a PAN (2 or 3), and of a CARN or CARN-M for three scales, of which it chooses
        one; otherwise it may be left out and is checked.
      res_scale: factor of an EDSR or WDSR from PyTorch, whose weights do not show it; if left out,
        the authors': 0.1 for an EDSR of 256 features, else 1. Otherwise it may be left out and is
        checked.

    Returns:
      An `Upscaler`, with `.name`, `.scale`, `.module`, `.variables` and `.upscale(lr)`.

    Raises:
      ValueError: nothing there that can be loaded, or another network than the arguments say.
    """
    scale = None if scale is None else whole("scale", scale, least=1)
    res_scale = None if res_scale is None else real("res_scale", res_scale)
    if str(source) == "bicubic":
        if res_scale is not None:
            raise ValueError(f"res_scale is {res_scale}, but bicubic has none; leave it out")
        return BicubicUpscaler(scale=2 if scale is None else scale)
    weights = load_weights(source, scale=scale, res_scale=res_scale)
    variables = jax.device_put(weights.variables)  # once, and not at every image
    name = model_name(Path(source))
    return NetworkUpscaler(name, weights.model.scale, weights.module(), variables)


def model_name(path: Path) -> str:
    """Returns a file's name without suffix, or a run's, with the step if any: lnln_x2@1000."""
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return stem_of(path)
    path = path.resolve()
    step = f"@{path.name}" if path.name.isdigit() and path.parent.name == "checkpoints" else ""
    run = path.parent if step else path
    return (run.parent if run.name == "checkpoints" else run).name + step
