"""All fields of a config, each with its value, type and meaning.

Meanings are the lines under "Attributes:" in the docstrings of the dataclasses and networks.
"""

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from lnln_jax.config.schema import TrainConfig, build_module
from lnln_jax.config.values import spell, type_name
from lnln_jax.models import MODELS
from lnln_jax.models.spec import number_types


class Field(NamedTuple):
    """One field of a config.

    Attributes:
      key: dotted name, as an override has it.
      value: text that an override gives it this value by.
      type: such as "int", "l1|l2" or "str,...".
      meaning: one line.
    """

    key: str
    value: str
    type: str
    meaning: str


def list_fields(config: TrainConfig) -> list[Field]:
    """Returns all fields of a config that an override can set, the network's first."""
    return [*_fields("", config, config)]


def _fields(prefix: str, part: Any, config: TrainConfig) -> Iterator[Field]:
    hints, meant = typing.get_type_hints(type(part)), meanings(type(part))
    for name, value in ((f.name, getattr(part, f.name)) for f in dataclasses.fields(part)):
        if dataclasses.is_dataclass(value):
            yield from _fields(f"{prefix}{name}.", value, config)
        elif name == "options":
            yield from _hyper_parameters(prefix, config)
        else:
            yield Field(prefix + name, spell(value), type_name(hints[name]), meant.get(name, ""))


def _hyper_parameters(prefix: str, config: TrainConfig) -> Iterator[Field]:
    module, meant = build_module(config), meanings(MODELS[config.model.name])
    for name, kind in number_types(config.model.name).items():
        value = spell(getattr(module, name))
        yield Field(prefix + name, value, type_name(kind), meant.get(name, ""))


def meanings(cls: type) -> dict[str, str]:
    """Returns what the "Attributes:" of a class's docstring say of each, by name."""
    _, _, rest = (inspect.getdoc(cls) or "").partition("\nAttributes:\n")
    section, _, _ = rest.partition("\n\n")
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()).removesuffix(".") for name, text in found}
