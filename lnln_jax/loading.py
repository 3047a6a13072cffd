"""Models by name or file, ready to enlarge images."""

from pathlib import Path

from lnln_jax.checkpoint import load_run
from lnln_jax.config import build_module
from lnln_jax.inference import Bicubic, Resolver, SuperResolver


def load_model(source: str | Path, *, scale: int | None = None) -> Resolver:
    """Loads a model.

    Args:
      source: "bicubic", or the folder of a training run (its best checkpoint by validation is
        taken), or the folder of one step in it.
      scale: for "bicubic", the factor (2 unless given); for a trained network it may be left out
        and is checked otherwise.

    Returns:
      An object with `.name`, `.scale`, `.module`, `.variables` and `.upscale(lr)`.

    Raises:
      ValueError: nothing there that can be loaded, or a network of another scale.
    """
    if scale is not None and (not isinstance(scale, int) or scale < 1):
        raise ValueError(f"scale is {scale!r}; it must be a whole number of at least 1")
    if str(source) == "bicubic":
        return Bicubic(scale=2 if scale is None else scale)
    path = Path(source)
    if not path.is_dir():
        raise ValueError(f'there is no model {source}; give "bicubic" or a training run\'s folder')
    config, variables, _ = load_run(path)
    if scale not in (None, config.model.scale):
        raise ValueError(f"{source} enlarges x{config.model.scale}, not x{scale}")
    return SuperResolver(_name(path.resolve()), config.model.scale, build_module(config), variables)


def _name(path: Path) -> str:
    """The name of a run's folder, with the step where one was chosen: lnln_x2@1000."""
    step = f"@{path.name}" if path.name.isdigit() and path.parent.name == "checkpoints" else ""
    run = path.parent if step else path
    return (run.parent if run.name == "checkpoints" else run).name + step
