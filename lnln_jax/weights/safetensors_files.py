"""Networks with their weights in safetensors files.

A file of ours has the arrays of the Flax tree, named by their paths (`params/head/kernel`), and
under `lnln_jax` in its metadata which network they are of, as JSON:

    {"format": 1, "version": "0.1.0", "name": "edsr", "scale": 2,
     "options": {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0, ...}, "step": 0,
     "dtype": "float32", "training": {...}}

A file of a training run's state (`weights.handed_state`) has format 2; a network is read from it.

`options` are all hyper-parameters, so that later defaults change nothing; `step` is how many steps
the network has been trained for, 0 where that is unknown; `dtype` is that of the computation (the
arrays are float32), "float32" where it is left out; `training` may say how it was trained
(`weights.pretrained` says what it holds for the networks of this package).
"""

import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from lnln_jax.models.spec import ModelConfig, hyper_parameters, number_types
from lnln_jax.models.variables import abstract_variables
from lnln_jax.runtime.files import printable, write_file
from lnln_jax.runtime.numbers import whole
from lnln_jax.version import __version__
from lnln_jax.weights.base import Weights, build, checked, describe
from lnln_jax.weights.integrity import raise_if
from lnln_jax.weights.recognition import from_state_dict
from lnln_jax.weights.safetensors_parts import (
    LONGEST_METADATA,
    METADATA_KEY,
    damaged,
    read_metadata,
    read_parts,
)

FORMAT = 1
STATE_FORMAT = 2  # of a file that holds the state of a training run
_DTYPES = ("float32", "bfloat16")  # of a computation
_NARROW = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}  # JAX teaches NumPy these
_FLOATS = ("F64", "F32", "F16", "BF16", *_NARROW)
_READ = (*_FLOATS, "I64")  # of counts and index tables


def save_safetensors(
    path: str | Path,
    config: ModelConfig,
    variables: Mapping[str, Any],
    *,
    step: int = 0,
    dtype: str = "float32",
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a safetensors file (see the module); an older file of that name is replaced.

    Args:
      path: file that appears whole or not at all, its folder where there is none.
      config: which network.
      variables: weights as the network's `init` returns them, of any floating-point dtype.
      step: number of steps that it has been trained for.
      dtype: dtype of the computation, "float32" or "bfloat16"; the file's arrays are float32.
      training: how it was trained, as JSON can hold it.

    Raises:
      ValueError: the variables are those of another network, and all such paths are listed;
        another dtype; or too much about the training.
    """
    step = whole("step", step, least=0)
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(_DTYPES)}")
    arrays = {
        key: np.asarray(value, np.float32, order="C")
        for key, value in flatten_dict(variables, sep="/").items()
    }
    module = build(config)
    _check_shapes(arrays, module, f"these are not the variables of {describe(config)}")
    # One entry, since safetensors writes several in any order: equal weights make equal files.
    about = describe_network(config, step=step, dtype=dtype)
    about |= {} if training is None else {"training": training}
    text = json.dumps(about)
    if len(text) > LONGEST_METADATA:
        raise ValueError(
            f"training takes {len(text)} characters as JSON with the rest; {LONGEST_METADATA} are "
            "read"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(arrays, {METADATA_KEY: text}))


def describe_network(
    config: ModelConfig, *, step: int, dtype: str, format: int = FORMAT
) -> dict[str, Any]:
    """Returns what a file of ours says of its network (see the module)."""
    about = {"format": format, "version": __version__, "name": config.name, "scale": config.scale}
    return about | {"options": hyper_parameters(build(config)), "step": step, "dtype": dtype}


def load_safetensors(
    path: str | Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    default_scale: int | None = None,
) -> Weights:
    """Reads a safetensors file, ours or one with a PyTorch state dict that `tables` knows.

    Args:
      path: file, or one of a set with the state of a training run.
      scale: see `from_state_dict`.
      res_scale: see `from_state_dict`.
      default_scale: see `from_state_dict`.

    Raises:
      ValueError: the file is damaged, of another origin, of a later version or another scale, or
        its arrays do not fit the network; all such arrays are listed.
    """
    path = Path(path)
    text = read_metadata(path)
    if text is None:
        return from_state_dict(
            _read_arrays(path), path, scale=scale, res_scale=res_scale, default_scale=default_scale
        )
    about = parse_metadata(path, text)
    arrays = _read_network_of_state(path) if about.has_state else _read_arrays(path)
    model = about.model
    _check_shapes(
        arrays, build(model), f"{printable(path)} does not hold the {describe(model)} it names"
    )
    tree = unflatten_dict(
        {key: a.astype(np.float32, copy=False) for key, a in arrays.items()}, sep="/"
    )
    weights = Weights(model, tree, about.step, about.dtype, about.training)
    return checked(weights, path, scale, res_scale)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns all arrays of a file, which must be those of a network."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            raise_if(
                [
                    f"{key} has dtype {dtype}"
                    for key, part in slices.items()
                    if (dtype := part.get_dtype()) not in _READ and part.get_shape() != []
                ],
                f"{printable(path)} holds what are not weights; they have {', '.join(_FLOATS)}",
            )
            # JAX has taught NumPy bfloat16, by which safetensors asks for it.
            narrow = {key for key, part in slices.items() if part.get_dtype() in _NARROW}
            arrays = {key: file.get_tensor(key) for key in slices.keys() - narrow}
        return arrays | (_read_narrow(path) if narrow else {})
    except SafetensorError as error:
        raise damaged(path, error) from error


def _read_narrow(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of 8-bit numbers, which safetensors does not give to NumPy."""
    return {
        key: np.frombuffer(part["data"], np.dtype(_NARROW[part["dtype"]])).reshape(part["shape"])
        for key, part in deserialize(path.read_bytes())
        if part["dtype"] in _NARROW
    }


def _read_network_of_state(path: Path) -> dict[str, np.ndarray]:
    """Returns the network in a training run's state: the moving average where there is one."""
    _, arrays = read_parts(path, lambda name: name.startswith(("variables/", "ema/")))
    item = "ema/" if any(name.startswith("ema/") for name in arrays) else "variables/"
    return {
        name.removeprefix(item): array for name, array in arrays.items() if name.startswith(item)
    }


def _check_shapes(arrays: Mapping[str, np.ndarray], module: nn.Module, summary: str) -> None:
    """Raises ValueError for arrays that are not the variables of a network."""
    expected = {
        key: leaf.shape for key, leaf in flatten_dict(abstract_variables(module), sep="/").items()
    }
    problems = [f"missing {key}" for key in expected.keys() - arrays.keys()]
    problems += [f"unexpected {key}" for key in arrays.keys() - expected.keys()]
    problems += [
        f"{key} has shape {arrays[key].shape} instead of {expected[key]}"
        for key in expected.keys() & arrays.keys()
        if arrays[key].shape != expected[key]
    ]
    raise_if(problems, summary)


class About(NamedTuple):
    """The network that a file of ours names, and whether the file holds a state besides."""

    model: ModelConfig
    step: int
    dtype: str
    training: dict[str, Any] | None
    has_state: bool


def parse_metadata(path: Path, text: str) -> About:
    """Parses the metadata of a file of ours.

    Raises:
      ValueError: it is damaged, or a later version wrote it.
    """
    try:
        if len(text) > LONGEST_METADATA:
            raise ValueError(f"it is {len(text)} characters long")
        tree = json.loads(text)
        if tree["format"] not in (FORMAT, STATE_FORMAT):
            raise ValueError(
                f"format {tree['format']!r}, written by lnln_jax {tree.get('version')}, is not "
                f"known to lnln_jax {__version__}"
            )
        model = ModelConfig(tree["name"], operator.index(tree["scale"]), dict(tree["options"]))
        for key, value in model.options.items():
            if key not in number_types(model.name) or isinstance(value, bool):
                raise ValueError(f"options has {key}={value!r}")
        build(model)
        step = operator.index(tree["step"])
        if not 0 <= step < 2**63:
            raise ValueError(f"step is {step}")
        if (dtype := tree.get("dtype", "float32")) not in _DTYPES:
            raise ValueError(f"dtype is {dtype!r}")
        training = tree.get("training")
        has_state = tree["format"] == STATE_FORMAT
        return About(model, step, dtype, None if training is None else dict(training), has_state)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{printable(path)} has metadata that this version of lnln_jax cannot read "
            f"({type(error).__name__}: {error}); update lnln_jax, or download the file again"
        ) from error
