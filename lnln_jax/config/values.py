"""Values of config fields: whether they are in range, and how text spells them and their types."""

import ast
import contextlib
import dataclasses
import json
import typing
import warnings
from typing import Any, Literal

from lnln_jax.runtime.numbers import plain, real
from lnln_jax.runtime.suggestions import did_you_mean

_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_EXAMPLES = {str: '("folder",)', float: "(0.7, 0.3)"}
# Of text that is no literal.
_NO_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def check_types(prefix: str, part: Any) -> None:
    """Makes the numbers of a part Python's.

    Raises:
      ValueError: the value of a field is not of its type, or NaN or infinite.
    """
    for name, hint in typing.get_type_hints(type(part)).items():
        value, key = plain(getattr(part, name)), prefix + name
        if typing.get_origin(hint) is Literal:
            _check_choice(key, value, hint)
        elif typing.get_origin(hint) is tuple:
            value = _checked_items(key, value, typing.get_args(hint)[0])
        elif hint is float:
            value = real(key, value)
        elif _is_class(hint) and type(value) is not hint:
            kind = _KINDS.get(hint, f"a {hint.__name__}")
            raise ValueError(f"{key} is {value!r}; it must be {kind}")
        object.__setattr__(part, name, value)  # of a frozen dataclass, while it is made


def _is_class(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or hint in (int, str, bool)


def _checked_items(key: str, value: Any, kind: type) -> tuple[Any, ...]:
    try:
        if isinstance(value, tuple) and kind is float:
            return tuple(real(key, item) for item in value)
        if isinstance(value, tuple) and all(type(item) is kind for item in value):
            return value
    except ValueError:
        pass
    raise ValueError(f"{key} is {value!r}; it must be a tuple such as {_EXAMPLES[kind]}")


def _check_choice(key: str, value: Any, hint: Any) -> None:
    choices = typing.get_args(hint)
    if value not in choices:
        raise ValueError(
            f"{key} is {value!r}; it must be one of {', '.join(choices)}"
            + did_you_mean(str(value), choices)
        )


def check_positive(prefix: str, part: Any, *names: str) -> None:
    """Raises ValueError for one of these fields that is 0, negative or takes over 31 bits."""
    for name in names:
        if not 0 < (value := getattr(part, name)) < 2**31:  # as steps are counted
            raise ValueError(f"{prefix}{name} is {value}; it must be larger than 0 and below 2**31")


def check_counts(prefix: str, part: Any, *names: str, bits: int = 31) -> None:
    """Raises ValueError for one of these fields that is negative or takes more bits."""
    for name in names:
        if not 0 <= (value := getattr(part, name)) < 2**bits:
            raise ValueError(f"{prefix}{name} is {value}; it must be from 0 to 2**{bits} - 1")


def check_fractions(prefix: str, part: Any, *names: str) -> None:
    """Raises ValueError for one of these fields that is negative, or 1 or more."""
    for name in names:
        if not 0 <= (value := getattr(part, name)) < 1:
            raise ValueError(f"{prefix}{name} is {value}; it must be at least 0 and below 1")


def parse(key: str, text: str, hint: Any) -> Any:
    """Returns the value of type `hint` that `text` spells.

    Text is taken as it is. Several values are a list, tuple or string of JSON or Python, such as
    `["a,b", "c"]` or `'a,b'`, which can spell every path; any other text is split at its commas,
    and the spaces around each part are left out: `DIV2K (1), [b]` are two folders.

    Raises:
      ValueError: it spells none; the message begins with `key`.
    """
    origin = typing.get_origin(hint)
    if hint is str:
        return text
    if origin is Literal:
        _check_choice(key, text, hint)
        return text
    if origin is tuple:
        return _parse_items(key, text, typing.get_args(hint)[0])
    value: Any = text
    with contextlib.suppress(*_NO_LITERAL):
        value = ast.literal_eval(text.capitalize() if hint is bool else text)
    if hint is float and type(value) is int:
        value = real(key, value)
    if hint is int and type(value) is float and value.is_integer():  # 1e6
        value = int(value)
    if type(value) is not hint:
        raise ValueError(f"{key} is {text!r}; it must be {_KINDS[hint]}")
    return value


def _parse_items(key: str, text: str, kind: type) -> tuple[Any, ...]:
    if (items := _literal_items(text, kind)) is not None:
        return items
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if "" in parts:
        raise ValueError(
            f"{key} is {text!r}, which has an empty part; is an environment variable unset? "
            'Write ["a", ""] if it is meant'
        )
    return tuple(parse(key, part, kind) for part in parts)


def _literal_items(text: str, kind: type) -> tuple[Any, ...] | None:
    """Returns the items of a list, tuple or string of JSON or Python; None for other text."""
    if not text.strip().startswith(("[", "(", "'", '"')):
        return None
    for read in (json.loads, _python_literal):  # JSON first, which knows names that are not UTF-8
        with contextlib.suppress(*_NO_LITERAL):
            found = read(text.strip())
            items = (found,) if isinstance(found, str) else found
            if isinstance(items, list | tuple) and all(_is_item(item, kind) for item in items):
                return tuple(map(kind, items))
    return None


def _python_literal(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of backslashes in paths
        return ast.literal_eval(text)


def _is_item(item: Any, kind: type) -> bool:
    return isinstance(item, str) if kind is str else type(item) in (int, float)


def spell(value: Any) -> str:
    """Returns the text that `parse` turns into a value."""
    if isinstance(value, tuple):
        text = ",".join(map(spell, value))
        kind = type(value[0]) if value else str
        with contextlib.suppress(ValueError):
            if _parse_items("", text, kind) == value:
                return text
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def type_name(hint: Any) -> str:
    """Returns a type as a reader of a command line knows it: int, l1|l2, or str,... for a tuple."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return "|".join(arguments)
    if typing.get_origin(hint) is tuple:
        return f"{type_name(arguments[0])},..."
    return "true|false" if hint is bool else hint.__name__
