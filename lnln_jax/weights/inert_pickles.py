"""What a pickle holds when none of its code is run.

A file that holds a whole network, as early ones do, or a Lightning checkpoint with its arguments,
names classes and functions that Python's own unpickling would import and call. `pickle_machine`
imports no name. It makes dictionaries, lists, tuples, texts and whole numbers as they are, calls
the few functions of PyTorch that rebuild arrays (ours in their place: `torch_tensors`), and all
else becomes an `Inert` object, which keeps its state and does nothing. Keys other than text are
lost with their values, as is what is in sets and in objects of other classes; of floating-point
numbers and bytes it only stays known that they were there.
"""

from collections.abc import Mapping
from typing import Any


class Name:
    """The name of a class or a function that is not imported.

    Attributes:
      text: name with that of its module, such as "torch._utils._rebuild_tensor".
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Inert:
    """An object of a class that was not imported, or the result of a function that was not called.

    Attributes:
      name: name of the class or function.
      state: what the file has for it, such as a module's `_parameters` and `_modules`.
    """

    __slots__ = ("name", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Any = None


# Whose values nobody asks for. All files share them: unlike an Inert, a Name takes no state.
FLOAT, BYTES = Name("float"), Name("bytes")


def module_parts(value: Any) -> Mapping[Any, Any] | None:
    """Returns the arrays and the modules of a PyTorch module by their names; None for all else."""
    state = value.state if isinstance(value, Inert) else None
    if not isinstance(state, Mapping) or not isinstance(state.get("_modules"), Mapping):
        return None
    parts = [state.get(name) for name in ("_parameters", "_buffers", "_modules")]
    return {key: item for part in parts if isinstance(part, Mapping) for key, item in part.items()}
