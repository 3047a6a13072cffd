"""PyTorch weights in and out: the state dict of each network, described by a table.

A row of a table stands for a layer: its path in the Flax tree, the prefix of its PyTorch keys, and
its kind, which `LAYERS` spells out array by array. In paths and prefixes

- `{group}` is an index that counts from zero, `{group+1}` is one more, and `{groups}` is how many
  there are;
- `blocks[block]` is a subtree whose arrays hold all blocks, stacked along axis 0.

DRCA's keys are those of the published checkpoints. Nobody published LNLN, so its keys follow
DRCA's: `head.0`, `body.<group>.body.<block>.body.<0, 1, 3, 4, 5>`, `tail.0.<0, 2>` and so on are
the same layers, a depthwise separable convolution holds a `depthwise` and a `pointwise` one, and
the non-local module is `non_local.<theta, phi, g, W>`.

PyTorch is not needed here: a state dict comes in as tensors or arrays and goes out as arrays, for
`{key: torch.from_numpy(array) for key, array in to_torch(variables, name="lnln").items()}`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lnln_jax.layers import DIV2K_MEAN


class Transform(NamedTuple):
    """How an array changes on the way to PyTorch, and back."""

    to_torch: Callable[[np.ndarray], np.ndarray]
    from_torch: Callable[[np.ndarray], np.ndarray]


class Row(NamedTuple):
    """A layer of a network (its kind is in `LAYERS`) or an array of a layer (in `TRANSFORMS`)."""

    flax: str
    torch: str
    kind: str


class Network(NamedTuple):
    """What a state dict holds: layers, and keys whose values are the same in every one."""

    layers: tuple[Row, ...]
    constants: Mapping[str, np.ndarray]


TRANSFORMS = {
    "same": Transform(lambda x: x, lambda x: x),
    # H W I O <-> O I H W
    "conv": Transform(lambda x: x.transpose(3, 2, 0, 1), lambda x: x.transpose(2, 3, 1, 0)),
    # H W C <-> C 1 H W
    "depthwise": Transform(
        lambda x: x.transpose(2, 0, 1)[:, None], lambda x: x[:, 0].transpose(1, 2, 0)
    ),
    # PyTorch counts the batches that a running mean has seen; the mean's values say nothing of it.
    "count": Transform(lambda x: np.zeros((), np.int64), lambda x: x),
}

# Braces stand for the path, or the prefix of the keys, of the layer.
LAYERS = {
    "conv": (
        Row("params/{}/kernel", "{}.weight", "conv"),
        Row("params/{}/bias", "{}.bias", "same"),
    ),
    "conv_without_bias": (Row("params/{}/kernel", "{}.weight", "conv"),),
    "separable": (
        Row("params/{}/depthwise/kernel", "{}.depthwise.weight", "depthwise"),
        Row("params/{}/depthwise/bias", "{}.depthwise.bias", "same"),
        Row("params/{}/pointwise/kernel", "{}.pointwise.weight", "conv"),
        Row("params/{}/pointwise/bias", "{}.pointwise.bias", "same"),
    ),
    "batch_norm": (
        Row("params/{}/scale", "{}.weight", "same"),
        Row("params/{}/bias", "{}.bias", "same"),
        Row("batch_stats/{}/mean", "{}.running_mean", "same"),
        Row("batch_stats/{}/var", "{}.running_var", "same"),
        Row("batch_stats/{}/mean", "{}.num_batches_tracked", "count"),
    ),
}


def _block(flax: str, torch: str, conv: str) -> tuple[Row, ...]:
    """A residual channel-attention block with BatchNorm."""
    return (
        Row(f"{flax}/conv_1", f"{torch}.body.0", conv),
        Row(f"{flax}/norm_1", f"{torch}.body.1", "batch_norm"),
        Row(f"{flax}/conv_2", f"{torch}.body.3", conv),
        Row(f"{flax}/norm_2", f"{torch}.body.4", "batch_norm"),
        Row(f"{flax}/attention/squeeze", f"{torch}.body.5.conv_du.0", "conv"),
        Row(f"{flax}/attention/excite", f"{torch}.body.5.conv_du.2", "conv"),
    )


def _dense_groups(conv: str) -> tuple[Row, ...]:
    """What DRCA and LNLN share; `conv` is the kind of the 3x3 convolutions that differ."""
    return (
        Row("head", "head.0", conv),
        *_block("body/group_{group+1}/first", "body.{group}.body.0", conv),
        Row("body/group_{group+1}/first/skip", "body.{group}.body.0.proj.0", "conv"),
        *_block("body/group_{group+1}/blocks[block]", "body.{group}.body.{block+1}", conv),
        Row("body/projection", "body.{groups}", "conv"),
        Row("upsampler/conv_1", "tail.0.0", conv),
        Row("upsampler/conv_2", "tail.0.2", conv),
        Row("tail", "tail.1", "conv"),
    )


# What EDSR and RCAN share.
_ENDS = (
    Row("head", "head.0", "conv"),
    Row("upsampler/conv_1", "tail.0.0", "conv"),
    Row("upsampler/conv_2", "tail.0.2", "conv"),
    Row("tail", "tail.1", "conv"),
)

# A frozen 1x1 convolution in PyTorch, two additions in Flax.
_MEAN_SHIFT = {
    "sub_mean.weight": np.eye(3, dtype=np.float32)[:, :, None, None],
    "sub_mean.bias": -np.asarray(DIV2K_MEAN, np.float32),
    "add_mean.weight": np.eye(3, dtype=np.float32)[:, :, None, None],
    "add_mean.bias": np.asarray(DIV2K_MEAN, np.float32),
}

NETWORKS = {
    "drca": Network(_dense_groups("conv"), _MEAN_SHIFT),
    "lnln": Network(
        (
            *_dense_groups("separable"),
            Row("non_local/theta", "non_local.theta", "conv"),
            Row("non_local/phi", "non_local.phi", "conv"),
            Row("non_local/g", "non_local.g", "conv"),
            Row("non_local/w", "non_local.W", "conv"),
        ),
        _MEAN_SHIFT,
    ),
    "rcan": Network(
        (
            *_ENDS,
            *(
                Row(
                    f"groups[group]/blocks[block]/{flax}",
                    f"body.{{group}}.body.{{block}}.body.{torch}",
                    "conv",
                )
                for flax, torch in (
                    ("conv_1", "0"),
                    ("conv_2", "2"),
                    ("attention/squeeze", "3.conv_du.0"),
                    ("attention/excite", "3.conv_du.2"),
                )
            ),
            Row("groups[group]/conv", "body.{group}.body.{blocks}", "conv"),
            Row("body", "body.{groups}", "conv"),
        ),
        _MEAN_SHIFT,
    ),
    "edsr": Network(
        (
            *_ENDS,
            Row("blocks[block]/conv_1", "body.{block}.body.0", "conv"),
            Row("blocks[block]/conv_2", "body.{block}.body.2", "conv"),
            Row("body", "body.{blocks}", "conv"),
        ),
        _MEAN_SHIFT,
    ),
    "vdsr": Network(
        (
            Row("first/conv", "input", "conv_without_bias"),
            Row("layers[layer]/conv", "residual_layer.{layer}.conv", "conv_without_bias"),
            Row("last", "output", "conv_without_bias"),
        ),
        {},
    ),
}


class _Entry(NamedTuple):
    """A PyTorch key, and the Flax array or the part of a stacked one that it holds."""

    key: str
    path: str
    position: tuple[int, ...]
    kind: str


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
    _raise_if(
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


def _raise_if(problems: Iterable[str], summary: str) -> None:
    if problems := sorted(problems):
        raise ValueError("\n  ".join([f"{summary}:", *problems]))


def _as_array(value: Any) -> np.ndarray:
    """A float32 array of an array, or of a PyTorch tensor of any dtype on any device."""
    if hasattr(value, "detach"):
        value = value.detach().float().cpu()
    return np.asarray(value, np.float32)


def to_torch(variables: Mapping[str, Any], *, name: str, step: int = 0) -> dict[str, np.ndarray]:
    """Makes the PyTorch state dict of a Flax network.

    Args:
      variables: `{"params": ..., "batch_stats": ...}`, as the network's `init` returns them.
      name: "lnln" or "drca".
      step: the batches trained on, for `num_batches_tracked`. PyTorch stores this number but reads
        it only in a BatchNorm without momentum, which no network here has.

    Returns:
      Arrays by key, each a contiguous copy in PyTorch's layout.

    Raises:
      ValueError: an unknown name, or variables of another network; all such paths are listed.
    """
    arrays = {path: np.asarray(a) for path, a in flatten_dict(variables, sep="/").items()}
    state_dict = {key: value.copy() for key, value in _network(name).constants.items()}
    for key, path, position, kind in _entries(name, {p: a.shape for p, a in arrays.items()}):
        array = TRANSFORMS[kind].to_torch(arrays[path][position])
        state_dict[key] = np.array(array + step if kind == "count" else array, order="C")
    return state_dict


def from_torch(
    state_dict: Mapping[str, Any], *, name: str, like: Mapping[str, Any]
) -> dict[str, Any]:
    """Makes a Flax network's variables of a PyTorch state dict.

    Args:
      state_dict: tensors or arrays by key; `num_batches_tracked` may be absent and is ignored.
      name: "lnln" or "drca".
      like: the variables that are wanted, of which only the shapes are read, such as
        `jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))`.

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
            # EDSR's code multiplies 255 in float32, which differs in the last bit.
            if not np.allclose(value, constants[key], rtol=1e-6, atol=1e-6):
                values = value.ravel().tolist(), constants[key].ravel().tolist()
                problems.append(f"{key} is {values[0]} instead of {values[1]}")
    _raise_if(problems, f"state_dict does not fit this {name}; check hyper-parameters and scale")

    arrays = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    for key, path, position, kind in entries:
        if kind != "count":
            arrays[path][position] = TRANSFORMS[kind].from_torch(_as_array(state_dict[key]))
    return unflatten_dict(arrays, sep="/")
