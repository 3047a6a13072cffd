"""Pickles read without a line of their code: a `pickle_module` for `torch.load`.

A file that holds a whole network, as early ones do, or a Lightning checkpoint with its arguments,
names classes and functions that unpickling would import and call. Here no name is imported: arrays
are rebuilt by the few functions of PyTorch that do that, and all else becomes an `Inert` object,
which does nothing but keep its state.
"""

import collections
import importlib
import pickle
from collections.abc import Mapping
from typing import Any

_REBUILDING = (  # of torch._utils
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_parameter",
)


class Inert:
    """An object of a class that was not imported.

    Attributes:
      state: what the file has for it, such as a module's `_parameters` and `_modules`.
    """

    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        """Takes any arguments, and ignores them."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes any arguments, and ignores them."""

    def __setstate__(self, state: Any) -> None:
        """Keeps the state."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignores an item of what was a dictionary."""

    def append(self, item: Any) -> None:
        """Ignores an item of what was a list."""

    def extend(self, items: Any) -> None:
        """Ignores items of what was a list."""

    def add(self, item: Any) -> None:
        """Ignores an item of what was a set."""


class Unpickler(pickle.Unpickler):
    """An unpickler that imports nothing that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a class or a function."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in _REBUILDING:
            function = getattr(importlib.import_module("torch._utils"), name)
            # A new one each time: a pickle can set attributes of what it is given.
            return lambda *args: function(*args)
        if (module, name) == ("torch.nn.parameter", "Parameter"):
            return lambda tensor, requires_grad=True: tensor
        # The module is none that exists, or torch.load would look for its source.
        return type(name, (Inert,), {"__module__": "inert"})


def load(file: Any, **options: Any) -> Any:
    """Unpickles a file."""
    return Unpickler(file, **options).load()


def module_parts(value: Any) -> Mapping[Any, Any] | None:
    """Returns the arrays and the modules of a PyTorch module by their names; None for all else."""
    state = value.state if isinstance(value, Inert) else None
    if not isinstance(state, Mapping) or not isinstance(state.get("_modules"), Mapping):
        return None
    parts = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    return {
        key: item
        for part in parts
        if isinstance(part, Mapping)
        for key, item in part.items()
        if item is not None
    }
