"""Packages that are no part of the core: which extra of the installation brings them."""

import importlib.util


class MissingExtraError(RuntimeError):
    """A package that an extra brings is not installed; the message says how to install it."""


def installed(module: str) -> bool:
    """Returns whether a module of another package can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def require(module: str, extra: str, what: str) -> None:
    """Checks that a module can be imported, where one that is missing would be a traceback.

    Args:
      module: such as "grain".
      extra: of this package that brings it, such as "train".
      what: needs it, as the beginning of a sentence.

    Raises:
      MissingExtraError: it can't.
    """
    if not installed(module):
        raise MissingExtraError(f"{what} needs {module}: {install(extra)}")


def install(extra: str) -> str:
    """Returns the command that installs an extra."""
    return f'pip install "lnln-jax[{extra}]"'
