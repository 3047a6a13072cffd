"""Values of config fields: whether they are in range, and how text spells them and their types."""

import ast
import dataclasses
import typing
from typing import Any, Literal

_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_ITEMS: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), '("folder",)'),
    float: ((int, float), "(0.7, 0.3)"),
}


def check_types(prefix: str, part: Any) -> None:
    """Raises ValueError for a field whose value is not of its type."""
    for name, hint in typing.get_type_hints(type(part)).items():
        value, key = getattr(part, name), prefix + name
        if typing.get_origin(hint) is Literal:
            _check_choice(key, value, hint)
        elif typing.get_origin(hint) is tuple:
            kinds, example = _ITEMS[typing.get_args(hint)[0]]
            if not isinstance(value, tuple) or not all(type(item) in kinds for item in value):
                raise ValueError(f"{key} is {value!r}; it must be a tuple such as {example}")
        elif dataclasses.is_dataclass(hint) or hint in (int, str, bool):
            if type(value) is not hint:
                kind = _KINDS.get(hint, f"a {hint.__name__}")
                raise ValueError(f"{key} is {value!r}; it must be {kind}")
        elif hint is float and type(value) not in (int, float):
            raise ValueError(f"{key} is {value!r}; it must be {_KINDS[float]}")


def _check_choice(key: str, value: Any, hint: Any) -> None:
    choices = typing.get_args(hint)
    if value not in choices:
        raise ValueError(f"{key} is {value!r}; it must be one of {', '.join(choices)}")


def check_positive(prefix: str, part: Any, *names: str) -> None:
    """Raises ValueError for one of these fields that is 0 or less."""
    for name in names:
        if (value := getattr(part, name)) <= 0:
            raise ValueError(f"{prefix}{name} is {value}; it must be larger than 0")


def check_counts(prefix: str, part: Any, *names: str) -> None:
    """Raises ValueError for one of these fields that is negative or takes more than 32 bits."""
    for name in names:
        if not 0 <= (value := getattr(part, name)) < 2**32:
            raise ValueError(f"{prefix}{name} is {value}; it must be from 0 to 2**32 - 1")


def check_fractions(prefix: str, part: Any, *names: str) -> None:
    """Raises ValueError for one of these fields that is negative, or 1 or more."""
    for name in names:
        if not 0 <= (value := getattr(part, name)) < 1:
            raise ValueError(f"{prefix}{name} is {value}; it must be at least 0 and below 1")


def parse(key: str, text: str, hint: Any) -> Any:
    """Returns the value of type `hint` that `text` spells.

    Raises:
      ValueError: it spells none; the message begins with `key`.
    """
    origin = typing.get_origin(hint)
    if hint is str:
        return text
    if origin is Literal:
        _check_choice(key, text, hint)
        return text
    if origin is tuple:  # folders or numbers, separated by commas
        parts = (part.strip(" '\"") for part in text.strip("[]()").split(","))
        kind = typing.get_args(hint)[0]
        return tuple(parse(key, part, kind) for part in parts if part)
    try:
        value = ast.literal_eval(text.capitalize() if hint is bool else text)
    except (ValueError, SyntaxError):
        value = text
    if hint is float and type(value) is int:
        value = float(value)
    if hint is int and type(value) is float and value.is_integer():  # 1e6
        value = int(value)
    if type(value) is not hint:
        raise ValueError(f"{key} is {text!r}; it must be {_KINDS[hint]}")
    return value


def spell(value: Any) -> str:
    """Returns the text that `parse` turns into a value."""
    if isinstance(value, tuple):
        return ",".join(map(spell, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def type_name(hint: Any) -> str:
    """Returns a type as a reader of a command line knows it: int, l1|l2, or str,... for a tuple."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return "|".join(arguments)
    if typing.get_origin(hint) is tuple:
        return f"{type_name(arguments[0])},..."
    return "true|false" if hint is bool else hint.__name__
