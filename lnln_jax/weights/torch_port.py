"""PyTorch weights in and out, by the tables in `torch_tables.py`.

`to_torch` and `from_torch` need no PyTorch: a state dict comes in as tensors or arrays and goes out
as arrays, for `{key: torch.from_numpy(array) for key, array in to_torch(...).items()}`. Files do:
`read_state_dict` and `write_state_dict` import it.
"""

import importlib
import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lnln_jax.runtime.extras import MissingExtraError, install
from lnln_jax.runtime.files import write_file
from lnln_jax.weights.torch_keys import KEY_ORDER, LAYERS, NETWORKS, TRANSFORMS, Network, Row


class _Entry(NamedTuple):
    """A PyTorch key, and the Flax array or the part of a stacked one that it holds."""

    key: str
    path: str
    position: tuple[int, ...]
    kind: str


MOST_LISTED = 20  # keys in a message
# Where training scripts put the state dict, the moving average first.
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")

_INDEX = re.compile(r"\{(\w+)(?:\+(\d+))?\}")
_STACKED = re.compile(r"\[(\w+)\]")


def _network(name: str) -> Network:
    if name not in NETWORKS:
        raise ValueError(f"name is {name!r}; there are tables for {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name]


def _entries(name: str, shapes: Mapping[str, tuple[int, ...]]) -> list[_Entry]:
    """The keys that a Flax tree, given as the shapes at its paths, has in PyTorch."""
    rows = [
        Row(flax.format(layer.flax), torch.format(layer.torch), kind)
        for layer in _network(name).layers
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


def raise_if(problems: Iterable[str], summary: str) -> None:
    """Raises one ValueError that lists the problems, if there are any."""
    if problems := sorted(problems):
        shown, more = problems[:MOST_LISTED], len(problems) - MOST_LISTED
        if more > 0:
            shown.append(f"and {more} more")
        raise ValueError("\n  ".join([f"{summary}:", *shown]))


def _as_array(value: Any) -> np.ndarray:
    """A float32 array of an array, or of a PyTorch tensor of any dtype on any device."""
    if hasattr(value, "detach"):
        value = value.detach().float().cpu()
    return np.asarray(value, np.float32)


def to_torch(variables: Mapping[str, Any], *, name: str, step: int = 0) -> dict[str, np.ndarray]:
    """Makes the PyTorch state dict of a Flax network.

    Args:
      variables: `{"params": ..., "batch_stats": ...}`, as the network's `init` returns them.
      name: "lnln", "drca", "rcan", "edsr" or "vdsr".
      step: the batches trained on, for `num_batches_tracked`. PyTorch stores this number but reads
        it only in a BatchNorm without momentum, which no network here has.

    Returns:
      Arrays by key, in the order of the published files, each a contiguous copy in PyTorch's
      layout: float32, or int64 for `num_batches_tracked`.

    Raises:
      ValueError: an unknown name, or variables of another network; all such paths are listed.
    """
    arrays = {path: np.asarray(a) for path, a in flatten_dict(variables, sep="/").items()}
    state_dict = {key: value.copy() for key, value in _network(name).constants.items()}
    for key, path, position, kind in _entries(name, {p: a.shape for p, a in arrays.items()}):
        array = TRANSFORMS[kind].to_torch(arrays[path][position])
        state_dict[key] = np.array(array + step if kind == "count" else array, order="C")
    return {key: state_dict[key] for key in sorted(state_dict, key=_position)}


def _position(key: str) -> list[int]:
    """What puts keys into the order of the published files."""
    return [int(part) if part.isdigit() else KEY_ORDER.index(part) for part in key.split(".")]


def from_torch(
    state_dict: Mapping[str, Any], *, name: str, like: Mapping[str, Any]
) -> dict[str, Any]:
    """Makes a Flax network's variables of a PyTorch state dict.

    Args:
      state_dict: tensors or arrays by key; `num_batches_tracked` may be absent and is ignored.
      name: "lnln", "drca", "rcan", "edsr" or "vdsr".
      like: the variables that are wanted, of which only the shapes are read, such as
        `jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))`; VDSR takes
        luma, `(1, 8, 8, 1)`.

    Returns:
      A tree as `like`, of float32 arrays.

    Raises:
      ValueError: an unknown name, keys that are missing, unexpected or of another shape, or
        another mean shift; all such keys are listed.
    """
    shapes = {path: leaf.shape for path, leaf in flatten_dict(like, sep="/").items()}
    entries = _entries(name, shapes)
    constants = _network(name).constants
    expected = {key: value.shape for key, value in constants.items()}
    for key, path, position, kind in entries:
        zeros = np.broadcast_to(np.float32(0), shapes[path][len(position) :])
        expected[key] = TRANSFORMS[kind].to_torch(zeros).shape

    optional = {entry.key for entry in entries if entry.kind == "count"}
    problems = [f"missing {key}" for key in expected.keys() - state_dict.keys() - optional]
    problems += [f"unexpected {key}" for key in state_dict.keys() - expected.keys()]
    for key in expected.keys() & state_dict.keys():
        if (shape := tuple(state_dict[key].shape)) != expected[key]:
            problems.append(f"{key} has shape {shape} instead of {expected[key]}")
        elif key in constants:
            value = _as_array(state_dict[key])
            # A product with 255 in float64 differs in the last bit.
            if not np.allclose(value, constants[key], rtol=1e-6, atol=1e-6):
                values = value.ravel().tolist(), constants[key].ravel().tolist()
                problems.append(f"{key} is {values[0]} instead of {values[1]}")
    raise_if(problems, f"state_dict does not fit this {name}; check hyper-parameters and scale")

    arrays = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    for key, path, position, kind in entries:
        if kind != "count":
            arrays[path][position] = TRANSFORMS[kind].from_torch(_as_array(state_dict[key]))
    return unflatten_dict(arrays, sep="/")


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a `.pt` or `.pth` file, in PyTorch's zip or older format, and runs no code of it.

    Args:
      path: the file; its state dict may lie in a dictionary, or several, under one of `WRAPPERS`.

    Returns:
      Arrays by key, float32 whatever the file has, and int64 for `num_batches_tracked`.

    Raises:
      ValueError: the file is empty, damaged or of another kind, or holds more than tensors, so that
        reading it would run code that the file chooses.
      RuntimeError: PyTorch is not installed.
    """
    path = Path(path)
    _check_format(path)
    torch = _import_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickles that are going to be refused
        try:
            tree = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            name = re.search(r"GLOBAL ([\w.]+)", str(error))
            raise ValueError(
                f"{path} holds more than tensors ({name[1] if name else 'another kind of pickle'}),"
                " and to read it would run code that the file chooses; where you trust the file, "
                'load it with PyTorch, torch.save(model.state_dict(), "weights.pt"), and take that'
            ) from error
        except Exception as error:  # a damaged file can raise anything
            reason = " ".join([type(error).__name__, *str(error).split()])[:100]
            raise ValueError(
                f"{path} is damaged or incomplete ({reason}); download it again"
            ) from error
    state_dict = _unwrap(tree)
    if not isinstance(state_dict, Mapping) or not state_dict:
        kind = type(state_dict).__name__
        raise ValueError(f"{path} holds no state dict but a {kind}; save model.state_dict()")
    strange = [repr(key) for key, value in state_dict.items() if not _is_plain(torch, key, value)]
    raise_if(
        strange,
        f"{path} holds what is no array of floating-point numbers; save model.state_dict(), as it "
        f"is or in a dictionary under {', '.join(WRAPPERS)}",
    )
    if sum(value.nbytes for value in state_dict.values()) > path.stat().st_size:
        raise ValueError(f"{path} is smaller than the arrays that it claims to hold; it is damaged")
    return {
        key: (value.detach().float() if value.is_floating_point() else value).numpy()
        for key, value in state_dict.items()
    }


def write_state_dict(path: str | Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes what `to_torch` returns as a `.pt` file, in PyTorch's zip format.

    Args:
      path: where; the file appears whole or not at all, its folder where there is none. An older
        file of that name is replaced.
      state_dict: arrays by key.

    Raises:
      RuntimeError: PyTorch is not installed.
    """
    torch = _import_torch()
    file = io.BytesIO()
    torch.save({key: torch.from_numpy(array) for key, array in state_dict.items()}, file)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, file.getvalue())


def _import_torch() -> Any:
    try:
        return importlib.import_module("torch")  # no import statement: mypy runs without it, too
    except ImportError as error:
        raise MissingExtraError(
            f"a PyTorch file needs torch: {install('torch')}; or convert it to .safetensors where "
            "PyTorch is installed"
        ) from error


def _check_format(path: Path) -> None:
    """Raises ValueError for a file that PyTorch did not write, or wrote as TorchScript."""
    with path.open("rb") as file:
        head = file.read(20)
    if not head:
        raise ValueError(f"{path} is empty; download it again")
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = {name.rpartition("/")[2] for name in archive.namelist()}
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged or incomplete; download it again") from error
        if "constants.pkl" in names:
            raise ValueError(
                f"{path} is a TorchScript archive, which holds a program; load it with "
                'torch.jit.load, torch.save(model.state_dict(), "weights.pt"), and take that'
            )
        if "data.pkl" not in names:
            raise ValueError(f"{path} is a zip archive, but not one that torch.save wrote")
    elif not head.startswith(b"\x80"):  # the first byte of a pickle
        raise ValueError(f"{path} is no PyTorch file; it begins with {head!r}")


def _unwrap(tree: Any) -> Any:
    """What lies under `WRAPPERS`, wrapped at most four times: a dictionary can hold itself."""
    for _ in range(4):
        wrapped = tree if isinstance(tree, Mapping) else {}
        inner = [wrapped[key] for key in WRAPPERS if isinstance(wrapped.get(key), Mapping)]
        tree = inner[0] if inner else tree
    return tree


def _is_plain(torch: Any, key: Any, value: Any) -> bool:
    """Whether a state dict's item is an array of floating-point numbers, or a count."""
    return (
        isinstance(key, str)
        and isinstance(value, torch.Tensor)
        and (value.device.type, value.layout) == ("cpu", torch.strided)
        and (value.is_floating_point() or (value.dtype == torch.int64 and value.ndim == 0))
    )
