"""Configurations from files, command lines and JSON.

A config file is Python that defines `config = TrainConfig(...)`, or the `config.json` of a run. On
the command line any field is overridden by its dotted name: `optimizer.learning_rate=2e-4`,
`model.n_feats=32`.
"""

import dataclasses
import json
import runpy
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lnln_jax.config.schema import TrainConfig
from lnln_jax.config.shipped import find_config
from lnln_jax.config.values import parse
from lnln_jax.models import MODELS
from lnln_jax.models.spec import ModelConfig, number_types
from lnln_jax.runtime.suggestions import closest, or_else


def load_config(source: str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Reads a config from a file, and applies `key=value` overrides to it.

    Args:
      source: path of a file of Python or JSON, the folder of a training run, or the name of a
        config that the package ships.
      overrides: as `override` takes them.

    Raises:
      ValueError: no such file or name, no `config` in it, or an override with a wrong key or type.
    """
    path = find_config(source)
    if path.suffix == ".json":
        return override(_read_json(path), overrides)
    config = runpy.run_path(str(path)).get("config")
    if not isinstance(config, TrainConfig):
        raise ValueError(f"{path} defines no `config`; it must say config = TrainConfig(...)")
    return override(config, overrides)


def _read_json(path: Path) -> TrainConfig:
    try:
        return from_dict(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise ValueError(
            f"{path} is not the config.json of a training run ({error}); a config of your own is a "
            "file of Python"
        ) from error


def override(config: TrainConfig, overrides: Iterable[str]) -> TrainConfig:
    """Returns a config with overrides such as `data.batch_size=32`.

    Raises:
      ValueError: an unknown key or a value of another type; the message says what exists.
    """
    tree = to_dict(config)
    for item in overrides:
        key, separator, text = item.lstrip("-").partition("=")
        if not separator:
            raise ValueError(f"override {item!r} has no '='; write it as data.batch_size=32")
        _set(tree, key, text)
    return from_dict(tree)


def _set(tree: dict[str, Any], key: str, text: str) -> None:
    """Sets the leaf of dotted name `key` to the value that `text` spells."""
    *parents, leaf = key.split(".")
    cls: type = TrainConfig
    for i, name in enumerate(parents):
        hint = typing.get_type_hints(cls).get(name)
        if not dataclasses.is_dataclass(hint):
            raise _unknown(key, ".".join(parents[:i]), cls)
        cls, tree = typing.cast(type, hint), tree[name]
    hints = typing.get_type_hints(cls)
    if leaf in hints and not dataclasses.is_dataclass(hints[leaf]) and leaf != "options":
        tree[leaf] = parse(key, text, hints[leaf])
    elif cls is ModelConfig and leaf in (numbers := number_types(tree["name"])):
        tree["options"][leaf] = parse(key, text, numbers[leaf])
    elif cls is ModelConfig and key in _keys(TrainConfig, ""):  # another network's
        raise ValueError(
            f"{tree['name']} has no hyper-parameter {leaf!r}; it has {', '.join(numbers)}"
        )
    else:
        raise _unknown(key, ".".join(parents), cls)


def _unknown(key: str, parent: str, cls: type) -> ValueError:
    where = f"{parent} has" if parent else "the config has"
    leaves = {known: known.rpartition(".")[2] for known in _keys(TrainConfig, "")}
    alike = [known for known, leaf in leaves.items() if leaf == key.rpartition(".")[2]]
    alike = alike or closest(key, leaves)
    return ValueError(
        f"there is no config field {key!r}; {where} {', '.join(_names(cls))}{or_else(alike)}"
    )


def _names(cls: type) -> list[str]:
    """Returns the fields of a part of the config, with all hyper-parameters of all networks."""
    names = [f.name for f in dataclasses.fields(cls) if f.name != "options"]
    if cls is ModelConfig:
        names += sorted({name for model in MODELS for name in number_types(model)})
    return names


def _keys(cls: type, prefix: str) -> Iterator[str]:
    """Yields the dotted names of all fields that an override can set."""
    hints = typing.get_type_hints(cls)
    for name in _names(cls):
        if dataclasses.is_dataclass(hints.get(name)):
            yield from _keys(typing.cast(type, hints[name]), f"{prefix}{name}.")
        else:
            yield prefix + name


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Returns a config as nested dictionaries that JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(tree: Mapping[str, Any]) -> TrainConfig:
    """Inverts `to_dict`, also after a way through JSON.

    Raises:
      ValueError: a field that this version does not know.
    """
    return _build(TrainConfig, tree)


def _build(cls: Any, tree: Any, prefix: str = "") -> Any:
    hints = typing.get_type_hints(cls)
    if not isinstance(tree, Mapping):
        raise ValueError(f"{prefix.rstrip('.') or 'the config'} is {tree!r}; it must have fields")
    values = {}
    for key, value in tree.items():
        if key not in hints:
            raise _unknown(prefix + key, prefix.rstrip("."), cls)
        if dataclasses.is_dataclass(hints[key]):
            value = _build(hints[key], value, f"{prefix}{key}.")
        elif typing.get_origin(hints[key]) is tuple and isinstance(value, list):
            value = tuple(value)
        elif key == "options" and isinstance(value, Mapping):
            value = dict(value)
        values[key] = value
    return cls(**values)


def differences(old: TrainConfig, new: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Returns the dotted names of the fields that differ, with both values."""
    a, b = _flat(to_dict(old)), _flat(to_dict(new))
    keys = sorted(a.keys() | b.keys())
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, Mapping)
        out |= _flat(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return out
