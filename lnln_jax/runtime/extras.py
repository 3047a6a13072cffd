"""Packages outside the core, and the extras of the installation that bring them."""

import importlib.util


class MissingExtraError(RuntimeError):
    """A package that an extra brings is not installed; the message says how to install it."""


def installed(module: str) -> bool:
    """Returns whether a module of another package can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def require(module: str, extra: str, what: str) -> None:
    """Checks that a module can be imported, where one that is missing would be a traceback.

    Args:
      module: name of the module, such as "grain".
      extra: extra of this package that brings it, such as "train".
      what: subject of the sentence that says what needs it.

    Raises:
      MissingExtraError: it cannot.
    """
    if not installed(module):
        raise MissingExtraError(f"{what} needs {module}: {install(extra)}")


def install(extra: str) -> str:
    """Returns the command that installs an extra."""
    return f'pip install "lnln-jax[{extra}]"'
