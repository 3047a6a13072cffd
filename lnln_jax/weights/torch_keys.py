"""The PyTorch state dict of each network, described by a table.

A row of a table stands for a layer: its path in the Flax tree, the prefix of its PyTorch keys, and
its kind, which `LAYERS` spells out array by array. In paths and prefixes

- `{group}` is an index that counts from zero, `{group+1}` is one more, and `{groups}` is how many
  there are;
- `blocks[block]` is a subtree whose arrays hold all blocks, stacked along axis 0.

EDSR's, RCAN's, DRCA's and VDSR's keys are those of the published checkpoints. Nobody published
LNLN, so its keys follow DRCA's: `head.0`, `body.<group>.body.<block>.body.<0, 1, 3, 4, 5>`,
`tail.0.<0, 2>` and so on are the same layers, a depthwise separable convolution holds a
`depthwise` and a `pointwise` one, and the non-local module is `non_local.<theta, phi, g, W>`.

Beside its layers a network has a mark, keys that no other network has, and says which key shows
each hyper-parameter.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from lnln_jax.models.layers import DIV2K_MEAN


class Transform(NamedTuple):
    """Changes of an array on the way to PyTorch, and back."""

    to_torch: Callable[[np.ndarray], np.ndarray]
    from_torch: Callable[[np.ndarray], np.ndarray]


class Row(NamedTuple):
    """A layer of a network (its kind is in `LAYERS`) or an array of a layer (in `TRANSFORMS`)."""

    flax: str
    torch: str
    kind: str


Shapes = Mapping[str, tuple[int, ...]]
# Reads a hyper-parameter; LookupError or ZeroDivisionError where it does not show.
Measure = Callable[[Shapes], int]


class Network(NamedTuple):
    """Contents of a state dict, and what tells the network from it.

    Attributes:
      layers: rows of what differs from one state dict to the next.
      constants: arrays by key that are the same in every one.
      mark: regular expression of how keys begin that this network has and no other.
      measures: hyper-parameters that show, and `scale` where it does.
    """

    layers: tuple[Row, ...]
    constants: Mapping[str, np.ndarray]
    mark: str
    measures: Mapping[str, Measure]


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
    """Returns the rows of a residual channel-attention block with BatchNorm."""
    return (
        Row(f"{flax}/conv_1", f"{torch}.body.0", conv),
        Row(f"{flax}/norm_1", f"{torch}.body.1", "batch_norm"),
        Row(f"{flax}/conv_2", f"{torch}.body.3", conv),
        Row(f"{flax}/norm_2", f"{torch}.body.4", "batch_norm"),
        Row(f"{flax}/attention/squeeze", f"{torch}.body.5.conv_du.0", "conv"),
        Row(f"{flax}/attention/excite", f"{torch}.body.5.conv_du.2", "conv"),
    )


def _dense_groups(conv: str) -> tuple[Row, ...]:
    """Returns what DRCA and LNLN share; `conv` is the kind of the 3x3 convolutions that differ."""
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


def size_of(keys: str, axis: int = 0) -> Measure:
    """Reads the length of an axis of the first array whose key matches."""
    regex = re.compile(keys)

    def size(shapes: Shapes) -> int:
        found = [shape for key, shape in shapes.items() if regex.fullmatch(key)]
        return found[0][axis]

    return size


def count_of(keys: str, more: int = 0) -> Measure:
    """Counts indices from 0 on without a gap, at least one; the group in `keys` is the index."""
    regex = re.compile(keys)

    def count(shapes: Shapes) -> int:
        found = {int(match[1]) for match in map(regex.match, shapes) if match}
        return more + next(i for i in itertools.count(1) if i not in found)

    return count


def scale_of(upsampler: str, n_feats: Measure, layer: str = "") -> Measure:
    """Reads the scale: 4 has two convolutions, 2 and 3 have one to 4 or 9 times `n_feats`.

    Args:
      upsampler: prefix of the upsampler's keys.
      n_feats: reads the width of the network.
      layer: pattern that leads from a convolution to the array that shows its outputs.
    """
    outputs = size_of(rf"{re.escape(upsampler)}0\.{layer}bias")

    def scale(shapes: Shapes) -> int:
        if any(key.startswith(f"{upsampler}2.") for key in shapes):
            return 4
        return {4: 2, 9: 3}[outputs(shapes) // n_feats(shapes)]

    return scale


def _grouped_measures(attention: int, layer: str = "") -> dict[str, Measure]:
    """Returns DRCA's, LNLN's and RCAN's.

    Args:
      attention: index of the channel attention in a block.
      layer: pattern that leads from a 3x3 convolution to the array that shows its outputs.
    """
    n_feats = size_of(rf"(head\.0|body\.\d+\.body\.0\.body\.0)\.{layer}bias")
    squeezed = size_of(rf"body\.\d+\.body\.\d+\.body\.{attention}\.conv_du\.0\.bias")
    return {
        "scale": scale_of("tail.0.", n_feats, layer),
        "n_resgroups": count_of(r"body\.(\d{1,9})\.body\."),
        "n_resblocks": count_of(r"body\.0\.body\.(\d{1,9})\.body\."),
        "n_feats": n_feats,
        "reduction": lambda shapes: n_feats(shapes) // squeezed(shapes),
    }


_EDSR_FEATS = size_of(r"(head\.0|body\.\d+\.body\.0)\.bias")

# A frozen 1x1 convolution in PyTorch, two additions in Flax.
_MEAN_SHIFT = {
    "sub_mean.weight": np.eye(3, dtype=np.float32)[:, :, None, None],
    "sub_mean.bias": -np.asarray(DIV2K_MEAN, np.float32),
    "add_mean.weight": np.eye(3, dtype=np.float32)[:, :, None, None],
    "add_mean.bias": np.asarray(DIV2K_MEAN, np.float32),
}

NETWORKS = {
    "drca": Network(
        _dense_groups("conv"),
        _MEAN_SHIFT,
        mark=r"body\.\d+\.body\.\d+\.body\.3\.weight",
        measures=_grouped_measures(5),
    ),
    "lnln": Network(
        (
            *_dense_groups("separable"),
            Row("non_local/theta", "non_local.theta", "conv"),
            Row("non_local/phi", "non_local.phi", "conv"),
            Row("non_local/g", "non_local.g", "conv"),
            Row("non_local/w", "non_local.W", "conv"),
        ),
        _MEAN_SHIFT,
        mark=r"body\.\d+\.body\.\d+\.body\.3\.depthwise\.",
        measures=_grouped_measures(5, r"pointwise\."),
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
        mark=r"body\.\d+\.body\.\d+\.body\.3\.conv_du\.",
        measures=_grouped_measures(3),
    ),
    "edsr": Network(
        (
            *_ENDS,
            Row("blocks[block]/conv_1", "body.{block}.body.0", "conv"),
            Row("blocks[block]/conv_2", "body.{block}.body.2", "conv"),
            Row("body", "body.{blocks}", "conv"),
        ),
        _MEAN_SHIFT,
        mark=r"body\.\d+\.body\.0\.weight$",  # WDSR goes on with _g or _v
        measures={
            "scale": scale_of("tail.0.", _EDSR_FEATS),
            "n_resblocks": count_of(r"body\.(\d{1,9})\.body\."),
            "n_feats": _EDSR_FEATS,
        },
    ),
    "vdsr": Network(
        (
            Row("first/conv", "input", "conv_without_bias"),
            Row("layers[layer]/conv", "residual_layer.{layer}.conv", "conv_without_bias"),
            Row("last", "output", "conv_without_bias"),
        ),
        {},
        mark=r"residual_layer\.\d+\.conv\.",
        measures={
            "n_layers": count_of(r"residual_layer\.(\d{1,9})\.conv\.", more=2),
            "n_feats": size_of(r"residual_layer\.\d+\.conv\.weight"),
            "n_colors": size_of(r"input\.weight", axis=1),
        },
    ),
}

# The parts of keys, in the order in which the published files have them.
KEY_ORDER = (
    *("sub_mean", "add_mean", "head", "non_local", "body", "proj", "tail"),
    *("residual_layer", "input", "output"),
    *("conv", "conv_du", "depthwise", "pointwise", "theta", "phi", "g", "W"),
    *("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
)


def default_res_scale(n_feats: int) -> float:
    """Returns EDSR's `res_scale`, which no array shows: 0.1 in the large networks, else 1."""
    return 0.1 if n_feats == 256 else 1.0
