"""Pickles read without a line of their code: a `pickle_module` for `torch.load`.

A file that holds a whole network, as early ones do, or a Lightning checkpoint with its arguments,
names classes and functions that unpickling would import and call. Here no name is imported: arrays
are rebuilt by the few functions of PyTorch that do that, and all else becomes an `Inert` object,
which does nothing but keep its state. A pickle can set attributes of what it has made itself,
arrays included, and of nothing else.
"""

import importlib
import pickle
from collections.abc import Callable, Mapping
from typing import Any

_REBUILDING = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")  # of torch._utils


class Inert:
    """An object of a class that was not imported.

    Attributes:
      state: what the file has for it, such as a module's `_parameters` and `_modules`.
    """

    __slots__ = ("state",)

    state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        """Takes any arguments, and ignores them."""
        inert = super().__new__(cls)
        inert.state = None  # not in __init__, which unpickling need not call
        return inert

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


class _Ordered(dict[Any, Any]):
    """An OrderedDict without its attributes, such as the metadata of a state dict."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Ignores the attributes."""


class _Function:
    """A function that can be called, and nothing else."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function has no state")


class Unpickler(pickle.Unpickler):
    """An unpickler that imports nothing that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a class or a function."""
        if (module, name) == ("collections", "OrderedDict"):
            return _Function(_Ordered)
        if module == "torch._utils" and name in _REBUILDING:
            return _Function(getattr(importlib.import_module("torch._utils"), name))
        if (module, name) == ("torch.nn.parameter", "Parameter"):
            return _Function(lambda tensor, requires_grad=True: tensor)
        return type(name, (Inert,), {"__module__": "not imported", "__slots__": ()})

    def __setattr__(self, name: str, value: Any) -> None:
        """Lets torch.load say how storages are read, and nothing besides.

        For a module whose source is in the file, it would compare that with what is here, and might
        write the difference to a file.
        """
        if name == "persistent_load":
            load = value

            def value(saved: Any) -> Any:
                return load(saved) if saved[0] in ("storage", b"storage") else saved[1]

        super().__setattr__(name, value)


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
