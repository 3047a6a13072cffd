"""The weights of a network, by the name of a trained one, a run's folder or a file."""

from pathlib import Path
from typing import Any

from lnln_jax.weights import pretrained
from lnln_jax.weights.base import Weights, checked
from lnln_jax.weights.part_names import find_file
from lnln_jax.weights.recognition import from_state_dict
from lnln_jax.weights.safetensors_files import load_safetensors
from lnln_jax.weights.torch_files import read_state_dict

SUFFIXES = (".pt", ".pth", ".safetensors")


def load_weights(
    source: str | Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    default_scale: int | None = None,
) -> Weights:
    """Loads what `inference.loading.load_model` does, except "bicubic".

    Args:
      source: see `load_model`.
      scale: see `load_model`.
      res_scale: see `load_model`.
      default_scale: the scale where neither `source` nor `scale` tells it, as for a VDSR from
        PyTorch.

    Raises:
      ValueError: there is nothing that can be loaded, or another network than the arguments say.
      RuntimeError: a PyTorch file, and PyTorch is not installed.
    """
    path = Path(source)
    if not path.exists() and str(source) in pretrained.names():
        path = pretrained.path_of(str(source))
    path = find_file(path)
    if path.is_dir():
        from lnln_jax.weights.runs import load_run  # Orbax takes a while to import

        config, variables, step = load_run(path)
        return checked(Weights(config.model, variables, step, config.dtype), path, scale, res_scale)
    if str(source) == "bicubic":
        raise ValueError("bicubic has no weights; give a network")
    if not path.is_file():
        raise ValueError(
            f'there is no model {source}; give "bicubic", a trained network '
            f"({', '.join(pretrained.names())}), the folder of a training run, or a file "
            f"({', '.join(SUFFIXES)})"
        )
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path} has the suffix {path.suffix!r}; rename it to what it is, a file of PyTorch's "
            "torch.save (.pt or .pth) or a .safetensors file"
        )
    hints: dict[str, Any] = {"scale": scale, "res_scale": res_scale, "default_scale": default_scale}
    if suffix == ".safetensors":
        return load_safetensors(path, **hints)
    return from_state_dict(read_state_dict(path), path, **hints)
