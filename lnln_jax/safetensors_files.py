"""Networks with their weights in safetensors files.

A file of ours has the arrays of the Flax tree, named by their paths (`params/head/kernel`), and
under `lnln_jax` in its metadata which network they are of, as JSON:

    {"format": 1, "version": "0.1.0", "name": "edsr", "scale": 2,
     "options": {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0, ...}, "step": 0,
     "dtype": "float32", "training": {...}}

`options` are all hyper-parameters, so that later defaults change nothing; `step` is how many steps
the network has been trained, 0 where that is unknown; `dtype` is that of the computation (the
arrays are float32), "float32" where it is left out; `training` may say how it was trained
(`lnln_jax.pretrained` says what it holds for networks of this package).
"""

import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lnln_jax.config import ModelConfig
from lnln_jax.files import write_file
from lnln_jax.models.variables import abstract_variables
from lnln_jax.torch_port import raise_if
from lnln_jax.version import __version__
from lnln_jax.weights import (
    Weights,
    build,
    checked,
    describe,
    from_state_dict,
    numbers,
)

FORMAT = 1
METADATA_KEY = "lnln_jax"
_LONGEST = 50_000  # characters of metadata; a few hundred are usual, thousands with the training
_DTYPES = ("float32", "bfloat16")  # of a computation
_FLOATS = ("F64", "F32", "F16", "BF16")


def save_safetensors(
    path: str | Path,
    config: ModelConfig,
    variables: Mapping[str, Any],
    *,
    step: int = 0,
    dtype: str = "float32",
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a safetensors file (see above); an older file of that name is replaced.

    Args:
      path: where; the file appears whole or not at all, its folder where there is none.
      config: which network.
      variables: its weights, as its `init` returns them, of any floating-point dtype.
      step: how many steps it has been trained.
      dtype: of its computation, "float32" or "bfloat16"; the file's arrays are float32.
      training: how it was trained, what JSON can hold.

    Raises:
      ValueError: the variables are those of another network, and all such paths are listed;
        another dtype; or too much about the training.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(_DTYPES)}")
    arrays = {
        key: np.asarray(value, np.float32, order="C")
        for key, value in flatten_dict(variables, sep="/").items()
    }
    module = build(config)
    _check_shapes(arrays, module, f"these are not the variables of {describe(config)}")
    options = {key: getattr(module, key) for key in numbers(config.name)}
    # One entry, since safetensors writes several in any order: equal weights make equal files.
    about = {"format": FORMAT, "version": __version__, "name": config.name, "scale": config.scale}
    about |= {"options": options, "step": step, "dtype": dtype}
    about |= {} if training is None else {"training": training}
    text = json.dumps(about)
    if len(text) > _LONGEST:
        raise ValueError(
            f"training takes {len(text)} characters as JSON with the rest; {_LONGEST} are read"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(arrays, {METADATA_KEY: text}))


def load_safetensors(
    path: str | Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    default_scale: int | None = None,
) -> Weights:
    """Reads a safetensors file, ours or one with a PyTorch state dict that `torch_tables` knows.

    Args:
      path: the file.
      scale: see `from_state_dict`.
      res_scale: see `from_state_dict`.
      default_scale: see `from_state_dict`.

    Raises:
      ValueError: the file is damaged, of another origin, of a later version or another scale, or
        its arrays do not fit the network; all such arrays are listed.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = (file.metadata() or {}).get(METADATA_KEY)
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            raise_if(
                [
                    f"{key} has dtype {dtype}"
                    for key, part in slices.items()
                    if (dtype := part.get_dtype()) not in _FLOATS and part.get_shape() != []
                ],
                f"{path} holds what are no weights; they have {', '.join(_FLOATS)}",
            )
            # JAX has taught NumPy bfloat16, by which safetensors asks for it.
            arrays = {key: file.get_tensor(key) for key in slices}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged, incomplete or no safetensors file ({str(error)[:200]}); "
            "download it again"
        ) from error
    if metadata is None:
        return from_state_dict(
            arrays, path, scale=scale, res_scale=res_scale, default_scale=default_scale
        )
    model, step, dtype, training = _parse_metadata(path, metadata)
    _check_shapes(arrays, build(model), f"{path} does not hold the {describe(model)} it names")
    tree = unflatten_dict(
        {key: a.astype(np.float32, copy=False) for key, a in arrays.items()}, sep="/"
    )
    return checked(Weights(model, tree, step, dtype, training), path, scale, res_scale)


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


def _parse_metadata(path: Path, text: str) -> tuple[ModelConfig, int, str, dict[str, Any] | None]:
    """The network, the step, the dtype and the training that a file of ours names."""
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"it is {len(text)} characters long")
        tree = json.loads(text)
        if tree["format"] != FORMAT:
            raise ValueError(
                f"format {tree['format']!r}, written by lnln_jax {tree.get('version')}, is not "
                f"known to lnln_jax {__version__}"
            )
        model = ModelConfig(tree["name"], operator.index(tree["scale"]), dict(tree["options"]))
        for key, value in model.options.items():
            if key not in numbers(model.name) or isinstance(value, bool):
                raise ValueError(f"options has {key}={value!r}")
        build(model)
        step = operator.index(tree["step"])
        if not 0 <= step < 2**63:
            raise ValueError(f"step is {step}")
        if (dtype := tree.get("dtype", "float32")) not in _DTYPES:
            raise ValueError(f"dtype is {dtype!r}")
        training = tree.get("training")
        return model, step, dtype, None if training is None else dict(training)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} has metadata that this version of lnln_jax cannot read "
            f"({type(error).__name__}: {error}); update lnln_jax, or download the file again"
        ) from error
