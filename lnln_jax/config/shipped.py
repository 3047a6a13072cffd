"""The configs that come with the package, by name.

They lie in `configs/` of the repository, and in `lnln_jax/configs/` of an installed package.
"""

import ast
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = _PACKAGE / "configs"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "configs"


def config_names() -> list[str]:
    """Returns the names of the shipped configs, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def find_config(source: str | Path) -> Path:
    """Returns the file of a config: `source` itself, or the shipped one of that name.

    Raises:
      ValueError: there is neither.
    """
    path = Path(source)
    if path.is_file():
        return path
    if str(source) in config_names():
        return FOLDER / f"{source}.py"
    raise ValueError(
        f"there is no config file {path}; give a path, or one of the names that come with the "
        f"package: {', '.join(config_names())}"
    )


def description(path: Path) -> str:
    """Returns the docstring of a config file, without running the file."""
    return ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
