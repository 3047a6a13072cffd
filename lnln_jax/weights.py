"""A network with its weights: of a PyTorch state dict, and to and from safetensors.

A safetensors file of ours has the arrays of the Flax tree, named by their paths
(`params/head/kernel`), and under `lnln_jax` in its metadata which network they are of, as JSON:

    {"format": 1, "version": "0.1.0", "name": "edsr", "scale": 2,
     "options": {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0, ...}, "step": 0,
     "dtype": "float32"}

`options` are all hyper-parameters, so that later defaults change nothing; `step` is how many steps
the network has been trained, 0 where that is unknown; `dtype` is that of the computation (the
arrays are float32), "float32" where it is left out.
"""

import json
import operator
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lnln_jax.config import ModelConfig
from lnln_jax.files import write_file
from lnln_jax.models import create_model, model_options
from lnln_jax.state import Variables, initialize
from lnln_jax.torch_port import from_torch, raise_if
from lnln_jax.torch_tables import NETWORKS, Found, Measure, default_res_scale
from lnln_jax.version import __version__

FORMAT = 1
METADATA_KEY = "lnln_jax"
_LONGEST = 10_000  # characters of metadata; a few hundred are usual
_DTYPES = ("float32", "bfloat16")  # of a computation
_FLOATS = ("F64", "F32", "F16", "BF16")
_PREFIXES = ("module.", "model.")  # of DataParallel, and of a module that holds the network


class Weights(NamedTuple):
    """A network with its weights.

    Attributes:
      model: which network.
      variables: `{"params": ..., "batch_stats": ...}`, float32 arrays.
      step: how many steps it has been trained; 0 where that is unknown.
      dtype: of the computation, as it was in training; "float32" where that is unknown.
    """

    model: ModelConfig
    variables: Variables
    step: int = 0
    dtype: str = "float32"

    def module(self) -> nn.Module:
        """Builds the network."""
        return _build(self.model, self.dtype)


def from_state_dict(
    state_dict: Mapping[str, np.ndarray],
    path: Path,
    *,
    scale: int | None = None,
    res_scale: float | None = None,
    default_scale: int | None = None,
) -> Weights:
    """Finds out which network a PyTorch state dict is of, and takes it over.

    Args:
      state_dict: arrays by key; all keys may begin with "module." or "model.".
      path: where it is from, for messages.
      scale: needed for VDSR, whose weights do not show it; checked otherwise.
      res_scale: for EDSR, whose weights do not show it: 0.1 for 256 features, else 1, if left out.
      default_scale: what VDSR's scale is if `scale` is left out.

    Raises:
      ValueError: keys of no known network, or that do not fit the network: all such are listed; or
        an argument that the network needs or has not.
    """
    while prefix := _common_prefix(state_dict):
        state_dict = {key.removeprefix(prefix): value for key, value in state_dict.items()}
    taken_for = ""
    try:
        model = _infer_model(state_dict, scale or default_scale, res_scale)
        taken_for = f", taken for {describe(model)}"
        variables = from_torch(state_dict, name=model.name, like=_expected(_build(model)))
    except ValueError as error:
        raise ValueError(f"{path}{taken_for}: {error}") from error
    counts = (a for key, a in state_dict.items() if key.endswith(".num_batches_tracked"))
    step = max([0, *(int(a) for a in counts if a.dtype.kind == "i")])
    return checked(Weights(model, variables, step), path, scale, res_scale)


def _common_prefix(keys: Iterable[str]) -> str | None:
    """The prefix that wrappers of modules have put before all keys, if any."""
    prefixes = {next((p for p in _PREFIXES if key.startswith(p)), None) for key in keys}
    return prefixes.pop() if len(prefixes) == 1 else None


def _infer_model(
    state_dict: Mapping[str, np.ndarray], scale: int | None, res_scale: float | None
) -> ModelConfig:
    """The network with the hyper-parameters that show; what a damaged file hides is left out."""
    shapes = {key: value.shape for key, value in state_dict.items()}
    marks = {name: len(_find(network.mark, shapes)) for name, network in NETWORKS.items()}
    name = max(marks, key=lambda name: marks[name])
    if not marks[name]:
        first = ", ".join(list(shapes)[:5]) or "no keys"
        raise ValueError(
            f"these are the keys of no known network ({', '.join(sorted(NETWORKS))}): {first}"
            f"{', ...' if len(shapes) > 5 else ''}; rename them as lnln_jax.torch_tables has them"
        )
    measures = NETWORKS[name].measures
    n_feats = _measure(measures["n_feats"], shapes, 0) or 0
    read = {option: _measure(measure, shapes, n_feats) for option, measure in measures.items()}
    options: dict[str, Any] = {key: value for key, value in read.items() if value is not None}
    if "res_scale" in _numbers(name):
        default = default_res_scale(n_feats)
        options["res_scale"] = default if res_scale is None else res_scale
    if scale is None and "scale" not in measures:
        raise ValueError(
            f"the weights of {name} do not show the scale; give scale (--scale): 2, 3 or 4"
        )
    return ModelConfig(name, options.pop("scale", scale or 2), options)


def _find(keys: str, shapes: Mapping[str, tuple[int, ...]]) -> Found:
    """Indices and shape of the keys that begin with `keys`, which is as in a `Measure`."""
    regex = re.compile(re.escape(keys).replace(r"\*", r"(\d{1,9})").replace(r"\|", "|"))
    matches = [(regex.match(key), shape) for key, shape in shapes.items()]
    return [(tuple(map(int, match.groups())), shape) for match, shape in matches if match]


def _measure(measure: Measure, shapes: Mapping[str, tuple[int, ...]], n_feats: int) -> int | None:
    """A hyper-parameter, or None where the arrays that show it are missing or misshapen."""
    if not (found := _find(measure.keys, shapes)):
        return None
    try:
        return measure.read(found, n_feats)
    except (IndexError, ZeroDivisionError):
        return None


def save_safetensors(
    path: str | Path,
    config: ModelConfig,
    variables: Mapping[str, Any],
    *,
    step: int = 0,
    dtype: str = "float32",
) -> None:
    """Writes a safetensors file (see above); an older file of that name is replaced.

    Args:
      path: where; the file appears whole or not at all, its folder where there is none.
      config: which network.
      variables: its weights, as its `init` returns them, of any floating-point dtype.
      step: how many steps it has been trained.
      dtype: of its computation, "float32" or "bfloat16"; the file's arrays are float32.

    Raises:
      ValueError: the variables are those of another network, and all such paths are listed; or
        another dtype.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(_DTYPES)}")
    arrays = {
        key: np.asarray(value, np.float32, order="C")
        for key, value in flatten_dict(variables, sep="/").items()
    }
    module = _build(config)
    _check_shapes(arrays, module, f"these are not the variables of {describe(config)}")
    options = {key: getattr(module, key) for key in _numbers(config.name)}
    # One entry, since safetensors writes several in any order: equal weights make equal files.
    about = {"format": FORMAT, "version": __version__, "name": config.name, "scale": config.scale}
    about |= {"options": options, "step": step, "dtype": dtype}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(arrays, {METADATA_KEY: json.dumps(about)}))


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
    model, step, dtype = _parse_metadata(path, metadata)
    _check_shapes(arrays, _build(model), f"{path} does not hold the {describe(model)} it names")
    tree = unflatten_dict(
        {key: a.astype(np.float32, copy=False) for key, a in arrays.items()}, sep="/"
    )
    return checked(Weights(model, tree, step, dtype), path, scale, res_scale)


def describe(model: ModelConfig) -> str:
    """One line: edsr x2 (n_resblocks 16, n_feats 64, res_scale 1.0)."""
    options = ", ".join(f"{key} {value}" for key, value in model.options.items())
    return f"{model.name} x{model.scale}" + (f" ({options})" if options else "")


def _build(model: ModelConfig, dtype: str = "float32") -> nn.Module:
    return create_model(model.name, model.scale, dtype=jnp.dtype(dtype), **model.options)


def _expected(module: nn.Module) -> Variables:
    """Shapes of the variables of a network."""
    return jax.eval_shape(lambda: initialize(module, 0))


def _numbers(name: str) -> list[str]:
    """The hyper-parameters that make a network what it is, all numbers; not how it is compiled."""
    return [
        key for key, hint in model_options(name).items() if hint in (int, float) and key != "unroll"
    ]


def checked(weights: Weights, path: Path, scale: int | None, res_scale: float | None) -> Weights:
    """Returns `weights`, whose network must have the scale and `res_scale` that are not None.

    Raises:
      ValueError: it has others.
    """
    if scale not in (None, weights.model.scale):
        raise ValueError(f"{path} enlarges x{weights.model.scale}, not x{scale}")
    own = getattr(weights.module(), "res_scale", None)
    if res_scale not in (None, own):
        raise ValueError(
            f"res_scale is {res_scale}, but {path} has {'none' if own is None else own}; leave it "
            "out"
        )
    return weights


def _check_shapes(arrays: Mapping[str, np.ndarray], module: nn.Module, summary: str) -> None:
    """Raises ValueError for arrays that are not the variables of a network."""
    expected = {key: leaf.shape for key, leaf in flatten_dict(_expected(module), sep="/").items()}
    problems = [f"missing {key}" for key in expected.keys() - arrays.keys()]
    problems += [f"unexpected {key}" for key in arrays.keys() - expected.keys()]
    problems += [
        f"{key} has shape {arrays[key].shape} instead of {expected[key]}"
        for key in expected.keys() & arrays.keys()
        if arrays[key].shape != expected[key]
    ]
    raise_if(problems, summary)


def _parse_metadata(path: Path, text: str) -> tuple[ModelConfig, int, str]:
    """The network, the step and the dtype that a file of ours names."""
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
            if key not in _numbers(model.name) or isinstance(value, bool):
                raise ValueError(f"options has {key}={value!r}")
        _build(model)
        step = operator.index(tree["step"])
        if not 0 <= step < 2**63:
            raise ValueError(f"step is {step}")
        if (dtype := tree.get("dtype", "float32")) not in _DTYPES:
            raise ValueError(f"dtype is {dtype!r}")
        return model, step, dtype
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} has metadata that this version of lnln_jax cannot read "
            f"({type(error).__name__}: {error}); update lnln_jax, or download the file again"
        ) from error
