"""The weights of a network, by the name of a trained one, a run's folder or a file."""

from pathlib import Path
from typing import Any

from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.runtime.numbers import real, whole
from lnln_jax.runtime.suggestions import did_you_mean
from lnln_jax.weights import pretrained
from lnln_jax.weights.base import Weights, checked
from lnln_jax.weights.part_names import find_file
from lnln_jax.weights.recognition import from_state_dict
from lnln_jax.weights.safetensors_files import load_safetensors
from lnln_jax.weights.torch_files import read_state_dict

WRITTEN = (".pt", ".pth", ".safetensors")
# PyTorch's files have these names, too: of Lightning, Hugging Face and PyTorch's own examples.
SUFFIXES = (*WRITTEN, ".ckpt", ".bin", ".tar")


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
      default_scale: see `from_state_dict`.

    Raises:
      ValueError: there is nothing that can be loaded, or another network than the arguments say.
    """
    scale = None if scale is None else whole("scale", scale, least=1)
    res_scale = None if res_scale is None else real("res_scale", res_scale, above=0)
    path = find_source(source, scale)
    if path.is_dir():
        if _has_pretrained_name(source):
            say(
                f"{path} is the folder of a training run here, not the trained network of that "
                "name; rename it, or work in another folder, if the network is meant"
            )
        from lnln_jax.weights.runs import load_run  # Orbax takes a while to import

        config, variables, step = load_run(path)
        return checked(Weights(config.model, variables, step, config.dtype), path, scale, res_scale)
    if str(source) == "bicubic":
        raise ValueError("bicubic has no weights; give a network")
    if not path.is_file():
        names = pretrained.names()
        raise ValueError(
            f'there is no model {printable(path)}; give "bicubic", a trained network '
            f"({', '.join(names)}), the folder of a training run, or a file "
            f"({', '.join(SUFFIXES)}){did_you_mean(str(source), ['bicubic', *names])}"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{printable(path)} has the suffix {path.suffix!r}; rename it to what it is, a file of "
            "PyTorch's torch.save (.pt or .pth) or a .safetensors file"
        )
    hints: dict[str, Any] = {"scale": scale, "res_scale": res_scale, "default_scale": default_scale}
    if _holds_safetensors(path):
        return load_safetensors(path, **hints)
    return from_state_dict(read_state_dict(path), path, **hints)


def find_source(source: str | Path, scale: int | None = None) -> Path:
    """Returns the file or the folder that a user means by a path, or by a trained network's name.

    A name without a slash is that of a training run's folder where there is one, then that of a
    trained network; another folder of that name, such as one of results, is not meant. As text
    with a slash it is always a path: "./name".

    Raises:
      ValueError: a trained network of another scale than `scale`, if that is given, or as
        `pretrained.path_of`.
    """
    if is_pretrained(source):
        return pretrained.path_of(str(source), scale)
    return find_file(Path(local_path(str(source))))


def is_pretrained(source: str | Path) -> bool:
    """Returns whether `find_source` takes a source for the name of a trained network."""
    return _has_pretrained_name(source) and not _is_run(Path(source))


def _has_pretrained_name(source: str | Path) -> bool:
    """Returns whether a source is a name without a slash, and a trained network has it."""
    return str(source) == Path(source).name and str(source) in pretrained.names()


def _is_run(path: Path) -> bool:
    """Returns whether a folder is that of a training run with a checkpoint."""
    return any((path / "checkpoints").glob("*/config"))


def _holds_safetensors(path: Path) -> bool:
    """Returns whether a file is in the format of safetensors, or should be by its name alone."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # behind the length of the header, which is JSON
        return True
    return path.suffix.lower() == ".safetensors" and not head.startswith((b"PK", b"\x80"))
