"""A pickle machine, as `pickletools` describes it, that runs no code (see `inert_pickles`).

It holds its memory to a budget and its time to a number of steps, its memo does not grow to an
index that the file chooses, and nothing in it calls itself.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lnln_jax.weights.inert_pickles import BYTES, FLOAT, Inert, Name
from lnln_jax.weights.memory_budget import Budget

_STEP_BYTES, _OBJECT_BYTES, _ITEM_BYTES = 8, 64, 64  # charged for an opcode, what it makes, keeps
_MOST_STEPS = 3_000_000  # a few seconds; ten thousand arrays take half a million
_LONGEST_LINE = 1000  # characters of a name or a number in an old pickle
_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, struct.error)


class Unpickler:
    """Reads pickles, one after another, from a file in memory."""

    def __init__(
        self,
        data: memoryview,
        budget: Budget,
        *,
        calls: Mapping[str, Callable[..., Any]],
        persistent: Callable[[Any], Any],
    ) -> None:
        """Prepares to read from the beginning.

        Args:
          data: bytes of the file.
          budget: memory that is left to the objects.
          calls: functions that stand for names of the file. They may raise a ValueError.
          persistent: function that returns what stands for a persistent id.
        """
        self.position = 0
        self.first_unknown: str | None = None  # name that the file would have called
        self._data, self._budget, self._calls = data, budget, calls
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps = iter(range(_MOST_STEPS))  # of all pickles together

    def load(self) -> Any:
        """Returns what the next pickle holds.

        Raises:
          ValueError: it is damaged, or wants more memory than there is left.
        """
        self._stack, self._marks, self._memo = [], [], {}
        data, take = self._data, self._budget.take
        try:
            for _ in self._steps:
                code = data[self.position]
                self.position += 1
                if code == _STOP:
                    return self._stack.pop()
                take(_STEP_BYTES)
                _STEPS[code](self)
            raise ValueError(f"it goes on for more than {_MOST_STEPS} steps")
        except _DAMAGE as error:
            reason = str(error) if isinstance(error, ValueError) else type(error).__name__
            raise ValueError(f"its pickle fails at byte {self.position}: {reason}") from error

    # ---- reading ----

    def _read(self, size: int) -> memoryview:
        part = self._data[self.position : self.position + size]
        if size < 0 or len(part) < size:
            raise ValueError("it is cut off")
        self.position += size
        return part

    def _number(self, layout: str) -> int:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        line = bytes(self._data[self.position : self.position + _LONGEST_LINE])
        length = line.index(b"\n")
        self.position += length + 1
        return line[:length].decode("utf-8", "replace")

    # ---- values ----

    def _make(self, value: Any, nbytes: int = _OBJECT_BYTES) -> None:
        self._budget.take(nbytes)
        self._stack.append(value)

    def _text(self, part: memoryview | bytes) -> None:
        text = bytes(part)
        width = 1 if text.isascii() else 4  # one wide character makes all of them so
        self._budget.take(_OBJECT_BYTES + width * len(text))
        self._stack.append(text.decode("utf-8", "replace"))

    def _skip(self, size: int, value: Name) -> None:
        self._read(size)
        self._stack.append(value)

    def _long(self, layout: str) -> None:
        part = self._read(self._number(layout))
        self._make(int.from_bytes(part, "little", signed=True), _OBJECT_BYTES + len(part))

    def _decimal(self) -> None:
        line = self._line()
        flags = {"00": False, "01": True}
        self._make(flags[line] if line in flags else int(line.removesuffix("L")))

    # ---- containers ----

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _pop(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _tuple(self, size: int | None) -> None:
        if size is None:
            items = self._since_mark()
        else:
            items = [self._stack.pop() for _ in range(size)][::-1]
        self._make(tuple(items), _OBJECT_BYTES + 8 * len(items))

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            self._budget.take(8 * len(items))
            target.extend(items)
        elif not isinstance(target, Inert):
            raise TypeError(f"items of a {type(target).__name__}")

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            self._fill(target, zip(items[::2], items[1::2], strict=True))
        elif not isinstance(target, Inert):
            raise TypeError(f"items of a {type(target).__name__}")

    def _fill(self, target: dict[str, Any], items: Iterable[tuple[Any, Any]]) -> None:
        for key, value in items:
            self._budget.take(_ITEM_BYTES)
            if isinstance(key, str):  # others can take long to hash, or all have the same hash
                target[key] = value

    def _dictionary(self) -> None:
        items = self._since_mark()
        self._make({})
        self._update(items)

    # ---- memo ----

    def _put(self, index: int) -> None:
        if not 0 <= index < 2**32:  # as all but the oldest opcode have it
            raise ValueError("it has an impossible memo")
        self._budget.take(_ITEM_BYTES)
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    # ---- names, calls and objects ----

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("the name of a class is not a text")
        self._budget.take(2 * _OBJECT_BYTES + 4 * (len(module) + len(name)))
        self._stack.append(Name(f"{module}.{name}"))

    def _call(self, function: Any, args: Any) -> None:
        """Calls what stands for a name, or pushes what stands for its result."""
        if not isinstance(args, tuple):
            raise TypeError("the arguments of a call are not a tuple")
        if isinstance(function, Name) and function.text == "collections.OrderedDict":
            items = args[0] if args else []
            self._make({})
            self._fill(self._stack[-1], items.items() if isinstance(items, dict) else items)
        elif isinstance(function, Name) and function.text in self._calls:
            self._make(self._calls[function.text](*args), 2 * _OBJECT_BYTES)
        elif isinstance(function, Name | Inert):
            name = function.text if isinstance(function, Name) else function.name
            self.first_unknown = self.first_unknown or name
            self._make(Inert(name))
        else:
            raise TypeError(f"a call of a {type(function).__name__}")

    def _persist(self, saved: Any) -> None:
        self._make(self._persistent(saved), 2 * _OBJECT_BYTES)

    def _call_since_mark(self, *, named: bool) -> None:
        if named:
            self._name(self._line(), self._line())
            function = self._stack.pop()
            self._call(function, tuple(self._since_mark()))
        else:
            function, *args = self._since_mark()
            self._call(function, tuple(args))

    def _build(self) -> None:
        """Keeps the state of an object; a dictionary's or an array's attributes are lost."""
        state = self._stack.pop()
        if isinstance(self._stack[-1], Inert):
            self._stack[-1].state = state
        elif isinstance(self._stack[-1], Name):
            raise TypeError("a name has no state")

    def _new_with_options(self) -> None:
        _, args, function = (self._stack.pop() for _ in range(3))
        self._call(function, args)

    def _stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._name(module, name)

    def _call_top(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        self._call(function, args)


_STOP = ord(".")
_STEPS: dict[int, Callable[[Unpickler], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": lambda u: u._read(1),  # protocol
        "\x95": lambda u: u._read(8),  # length of a frame
        "N": lambda u: u._stack.append(None),
        "\x88": lambda u: u._stack.append(True),
        "\x89": lambda u: u._stack.append(False),
        "J": lambda u: u._make(u._number("<i")),
        "K": lambda u: u._stack.append(u._number("<B")),
        "M": lambda u: u._make(u._number("<H")),
        "\x8a": lambda u: u._long("<B"),
        "\x8b": lambda u: u._long("<i"),
        "I": lambda u: u._decimal(),
        "L": lambda u: u._decimal(),
        "G": lambda u: u._skip(8, FLOAT),
        "F": lambda u: (u._line(), u._stack.append(FLOAT)),
        "U": lambda u: u._text(u._read(u._number("<B"))),
        "T": lambda u: u._text(u._read(u._number("<i"))),
        "\x8c": lambda u: u._text(u._read(u._number("<B"))),
        "X": lambda u: u._text(u._read(u._number("<I"))),
        "\x8d": lambda u: u._text(u._read(u._number("<Q"))),
        "S": lambda u: u._text(u._line().strip("'\"").encode()),
        "V": lambda u: u._text(u._line().encode()),
        "C": lambda u: u._skip(u._number("<B"), BYTES),
        "B": lambda u: u._skip(u._number("<I"), BYTES),
        "\x8e": lambda u: u._skip(u._number("<Q"), BYTES),
        "\x96": lambda u: u._skip(u._number("<Q"), BYTES),
        "(": lambda u: u._marks.append(len(u._stack)),
        "0": lambda u: u._pop(),
        "1": lambda u: u._since_mark(),
        "2": lambda u: u._stack.append(u._stack[-1]),
        ")": lambda u: u._stack.append(()),
        "t": lambda u: u._tuple(None),
        "\x85": lambda u: u._tuple(1),
        "\x86": lambda u: u._tuple(2),
        "\x87": lambda u: u._tuple(3),
        "]": lambda u: u._make([]),
        "l": lambda u: u._make(u._since_mark()),
        "a": lambda u: u._extend([u._stack.pop()]),
        "e": lambda u: u._extend(u._since_mark()),
        "}": lambda u: u._make({}),
        "d": lambda u: u._dictionary(),
        "s": lambda u: u._update([u._stack.pop(-2), u._stack.pop()]),
        "u": lambda u: u._update(u._since_mark()),
        "\x8f": lambda u: u._make(Inert("set")),
        "\x90": lambda u: u._extend(u._since_mark()),
        "\x91": lambda u: (u._since_mark(), u._make(Inert("frozenset"))),
        "p": lambda u: u._put(int(u._line())),
        "q": lambda u: u._put(u._number("<B")),
        "r": lambda u: u._put(u._number("<I")),
        "\x94": lambda u: u._put(len(u._memo)),
        "g": lambda u: u._get(int(u._line())),
        "h": lambda u: u._get(u._number("<B")),
        "j": lambda u: u._get(u._number("<I")),
        "c": lambda u: u._name(u._line(), u._line()),
        "\x93": lambda u: u._stack_name(),
        "R": lambda u: u._call_top(),
        "\x81": lambda u: u._call_top(),
        "\x92": lambda u: u._new_with_options(),
        "i": lambda u: u._call_since_mark(named=True),
        "o": lambda u: u._call_since_mark(named=False),
        "b": lambda u: u._build(),
        "P": lambda u: u._persist(u._line()),
        "Q": lambda u: u._persist(u._stack.pop()),
    }.items()
}
