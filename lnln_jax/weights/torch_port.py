"""Networks' variables to PyTorch state dicts and back, by the tables in `weights.tables`.

PyTorch is not needed: a state dict comes in as tensors or arrays and goes out as arrays, for
`{key: torch.from_numpy(array) for key, array in to_torch(...).items()}`.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lnln_jax.runtime.numbers import whole
from lnln_jax.weights.integrity import raise_if
from lnln_jax.weights.nesting import table_of
from lnln_jax.weights.tables import NETWORKS
from lnln_jax.weights.tables.base import LAYERS, TRANSFORMS, Network, Row

_INDEX = re.compile(r"\{(\w+)(?:\+(\d+))?\}")
_STACKED = re.compile(r"\[(\w+)\]")


class _Entry(NamedTuple):
    """A PyTorch key, and the Flax array, or the part of a stacked one, that it holds."""

    key: str
    path: str
    position: tuple[int, ...]
    kind: str


def _network(name: str) -> Network:
    if name not in NETWORKS:
        raise ValueError(f"name is {name!r}; there are tables for {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name]


def _entries(name: str, table: Network, shapes: Mapping[str, tuple[int, ...]]) -> list[_Entry]:
    """Returns the keys that a Flax tree, given as the shapes at its paths, has in PyTorch."""
    rows = [
        Row(flax.format(layer.flax), torch.format(layer.torch), kind)
        for layer in table.layers
        for flax, torch, kind in LAYERS[layer.kind]
    ]
    found = []
    for row in rows:
        named, stacked = _INDEX.findall(row.flax), _STACKED.findall(row.flax)
        regex = re.compile(_INDEX.sub(r"(?P<\1>\\d+)", _STACKED.sub("", row.flax)))
        for path, shape in shapes.items():
            if match := regex.fullmatch(path):
                indices = {index: int(match[index]) - int(base or 0) for index, base in named}
                for position in np.ndindex(shape[: len(stacked)]):
                    indices.update(zip(stacked, position, strict=True))
                    found.append((row, path, position, dict(indices)))

    collections = {row.flax.partition("/")[0] for row in rows}
    missing = collections - {path.partition("/")[0] for path in shapes}
    unknown = shapes.keys() - {path for _, path, _, _ in found}
    raise_if(
        [f"missing collection {collection}" for collection in missing]
        + [f"no PyTorch key for {path}" for path in unknown],
        f"this is not the tree of variables of {name}; pass what the network's init returns",
    )
    sizes: dict[str, int] = {}
    for *_, indices in found:
        for index, value in indices.items():
            sizes[f"{index}s"] = max(sizes.get(f"{index}s", 0), value + 1)

    def fill(pattern: str, values: Mapping[str, int]) -> str:
        return _INDEX.sub(lambda m: str(values[m[1]] + int(m[2] or 0)), pattern)

    return [
        _Entry(fill(row.torch, sizes | indices), path, position, row.kind)
        for row, path, position, indices in found
    ]


def _as_array(value: Any) -> np.ndarray:
    """Returns a float32 array of an array, or of a PyTorch tensor on any device."""
    if hasattr(value, "detach"):
        value = value.detach().float().cpu()
    return np.asarray(value, np.float32)


def _is_about(value: Any, constant: np.ndarray) -> bool:
    """Returns whether a tensor or an array holds a constant, as far as its dtype can."""
    dtype = str(value.dtype).removeprefix("torch.")
    # A product with 255 in float64 differs in the last bit of float32.
    tolerance = max(1e-6, float(ml_dtypes.finfo(dtype).eps))
    array = _as_array(value)
    if np.allclose(array, constant, rtol=tolerance, atol=1e-6):
        return True
    # Weights that were half for a while, and are float32 again.
    halves = (np.float16, ml_dtypes.bfloat16)
    return any(np.array_equal(array, constant.astype(half).astype(np.float32)) for half in halves)


def _numbers(array: np.ndarray) -> str:
    return f"[{', '.join(f'{x:.6g}' for x in array.ravel())}]"


def to_torch(variables: Mapping[str, Any], *, name: str, step: int = 0) -> dict[str, np.ndarray]:
    """Makes the PyTorch state dict of a Flax network.

    Args:
      variables: `{"params": ..., "batch_stats": ...}`, as the network's `init` returns them.
      name: name of the network in `models.MODELS`.
      step: number of batches trained on, for `num_batches_tracked`. PyTorch stores it but reads it
        only in a BatchNorm without momentum, which no network here has.

    Returns:
      Arrays by key, in the order of the published files, each a contiguous copy in PyTorch's
      layout: float32, or int64 for `num_batches_tracked`.

    Raises:
      ValueError: an unknown name, or variables of another network; all such paths are listed.
    """
    arrays = {path: np.asarray(a) for path, a in flatten_dict(variables, sep="/").items()}
    table, step = _network(name), whole("step", step, least=0)
    state_dict = {key: value.copy() for key, value in table.constants.items()}
    for key, path, position, kind in _entries(name, table, {p: a.shape for p, a in arrays.items()}):
        array = TRANSFORMS[kind].to_torch(arrays[path][position])
        state_dict[key] = np.array(array + step if kind == "count" else array, order="C")
    extras = table.extras({key: array.shape for key, array in state_dict.items()})
    state_dict.update({key: np.array(value, order="C") for key, value in extras.items()})
    return {key: state_dict[key] for key in sorted(state_dict, key=partial(_position, table))}


def _position(table: Network, key: str) -> list[tuple[int, int]]:
    """Returns what puts keys into the order of the published files."""
    places = []
    for part in key.split("."):
        stem = part if part in table.order else part.rstrip("0123456789")
        number = int(part[len(stem) :] or 0)
        places.append((table.order.index(stem), number) if stem else (number, 0))
    return places


def from_torch(
    state_dict: Mapping[str, Any], *, name: str, like: Mapping[str, Any]
) -> dict[str, Any]:
    """Makes the variables of a Flax network from a PyTorch state dict.

    Args:
      state_dict: tensors or arrays by key, the authors' or BasicSR's; `num_batches_tracked` may be
        absent and is ignored. A network of images in 0..1, as its mean shift shows, becomes one
        of 0..255.
      name: name of the network in `models.MODELS`.
      like: variables that are wanted, of which only the shapes are read, such as
        `lnln_jax.models.variables.abstract_variables(network)`.

    Returns:
      A tree as `like`, of float32 arrays.

    Raises:
      ValueError: an unknown name, keys that are missing, unexpected or of another shape, or
        another mean shift; all such keys are listed.
    """
    shapes = {path: leaf.shape for path, leaf in flatten_dict(like, sep="/").items()}
    _, table = table_of(state_dict, name) or (name, _network(name))
    entries = _entries(name, table, shapes)
    unit_range = _is_of_unit_range(state_dict)
    constants = {
        key: value / np.float32(255) if unit_range and key.endswith(".bias") else value
        for key, value in table.constants.items()
    }
    expected = {key: value.shape for key, value in constants.items()}
    for key, path, position, kind in entries:
        zeros = np.broadcast_to(np.float32(0), shapes[path][len(position) :])
        expected[key] = TRANSFORMS[kind].to_torch(zeros).shape

    optional = {entry.key for entry in entries if entry.kind == "count"}
    problems = [f"missing {key}" for key in expected.keys() - state_dict.keys() - optional]
    known = expected.keys() | table.extras(expected).keys()
    problems += [f"unexpected {key}" for key in state_dict.keys() - known]
    for key in expected.keys() & state_dict.keys():
        if (shape := tuple(state_dict[key].shape)) != expected[key]:
            problems.append(f"{key} has shape {shape} instead of {expected[key]}")
        elif key not in optional and "float" not in (dtype := str(state_dict[key].dtype)):
            problems.append(f"{key} has dtype {dtype}, which weights do not have")
        elif key in constants and not _is_about(state_dict[key], constants[key]):
            value, constant = _as_array(state_dict[key]), constants[key]
            problems.append(f"{key} is {_numbers(value)} instead of {_numbers(constant)}")
    raise_if(problems, f"state_dict does not fit this {name}; check hyper-parameters and scale")

    arrays = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    for key, path, position, kind in entries:
        if kind != "count":
            arrays[path][position] = TRANSFORMS[kind].from_torch(_as_array(state_dict[key]))
    if unit_range:
        _widen_range(arrays)
    return unflatten_dict(arrays, sep="/")


def _is_of_unit_range(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether a network with EDSR's mean shift is one of images in 0..1."""
    bias = state_dict.get("sub_mean.bias")
    return bias is not None and bool((np.abs(_as_array(bias)) < 1).all())


def _widen_range(arrays: dict[str, np.ndarray]) -> None:
    """Makes a network of images in 0..255 of one in 0..1: its first layer divides by 255.

    The last one, be it the convolution before a constant mean or the layer of the mean, multiplies.
    """
    shifts = "params/add_mean/bias" in arrays
    first = "sub_mean" if shifts else "head"
    for path in (f"params/{first}/kernel", f"params/{first}/depthwise/kernel"):
        if path in arrays:
            arrays[path] /= np.float32(255)
    last = "add_mean" if shifts else "tail"
    for part in ("kernel", "bias"):
        arrays[f"params/{last}/{part}"] *= np.float32(255)
