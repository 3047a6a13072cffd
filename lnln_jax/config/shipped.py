"""The configs that come with the package, by name.

They lie in `configs/` of the repository, and in `lnln_jax/configs/` of an installed package.
"""

import ast
from pathlib import Path

from lnln_jax.runtime.files import printable
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.runtime.suggestions import did_you_mean

RUN_CONFIG = "config.json"  # in the folder of a training run
_PACKAGE = Path(__file__).parents[1]
_INSTALLED = _PACKAGE / "configs"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "configs"


def config_names() -> list[str]:
    """Returns the names of the shipped configs, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def find_config(source: str | Path) -> Path:
    """Returns the file of a config.

    Args:
      source: the file itself, the name of a shipped one, or the folder of a training run, which has
        it as `config.json`.

    Raises:
      ValueError: there is none of these.
    """
    path = Path(local_path(str(source)))
    if path.is_file():
        return path
    names = config_names()
    if str(source) in names:
        return FOLDER / f"{source}.py"
    if (path / RUN_CONFIG).is_file():
        return path / RUN_CONFIG
    raise ValueError(
        f"there is no config file {printable(path)}; give a path, the folder of a training run, or "
        f"one of the names that come with the package: {', '.join(names)}"
        + did_you_mean(str(source), names)
    )


def description(path: Path) -> str:
    """Returns the docstring of a config file, without running the file; a run's has none."""
    if path.suffix == ".json":
        return ""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
