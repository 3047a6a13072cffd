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

Beside its layers a network has a key that no other network has, by which a file is recognised, and
says where its hyper-parameters show: in many arrays wherever that can be, so that a bad one is
outvoted, and named.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from lnln_jax.models.layers import DIV2K_MEAN


class Transform(NamedTuple):
    """How an array changes on the way to PyTorch, and back."""

    to_torch: Callable[[np.ndarray], np.ndarray]
    from_torch: Callable[[np.ndarray], np.ndarray]


class Row(NamedTuple):
    """A layer of a network (its kind is in `LAYERS`) or an array of a layer (in `TRANSFORMS`)."""

    flax: str
    torch: str
    kind: str


# The indices in a key, and the shape of its array.
Found = list[tuple[tuple[int, ...], tuple[int, ...]]]


class Measure(NamedTuple):
    """Where a hyper-parameter shows: `read` makes it of the keys that begin as `keys` says.

    `keys` has `*` for an index, and `|` between alternatives. `read` gets `n_feats` as well, which
    is measured first, and raises IndexError or ZeroDivisionError where nothing shows.
    """

    keys: str
    read: Callable[[Found, int], int]


class Network(NamedTuple):
    """What a state dict holds, and how to tell from it which network it is.

    Attributes:
      layers: what differs from one state dict to the next.
      constants: keys whose values are the same in every one.
      mark: the beginning of keys that this network has and no other, with `*` for an index.
      measures: the hyper-parameters that show, and `scale` where it does.
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


def _most_common(numbers: Iterable[int]) -> int:
    return Counter(numbers).most_common(1)[0][0]


def _count(found: Found, _: int) -> int:
    """How many indices there are from 0: the number that most keys speak for."""
    keys = Counter(indices[-1] for indices, _ in found)
    usual = _most_common(keys.values())
    # Of each count, the keys that it lacks, less those that it has; and the larger of two equals.
    below = itertools.accumulate(keys[index] for index in sorted(keys))
    costs = [((i + 1) * usual - 2 * n, -1 - i) for i, n in zip(sorted(keys), below, strict=True)]
    return -min([(usual, -1), *costs])[1]


def _outputs(found: Found, _: int) -> int:
    return _most_common(shape[0] for _, shape in found if shape and shape[0] > 0)


def _scale(found: Found, n_feats: int) -> int:
    """4 is two convolutions to 4 times `n_feats` outputs."""
    arrays = Counter(indices[-1] for indices, _ in found)
    if 2 * arrays[2] >= arrays[0]:
        return 4
    factors = {4 * n_feats: 2, 9 * n_feats: 3}
    return _most_common(factors[s[0]] for _, s in found if s and s[0] in factors)


def _partners(found: Found, n_feats: int) -> list[int]:
    """The channels at the other end of convolutions from, or to, `n_feats` channels."""
    products = [math.prod(shape[:2]) for _, shape in found]
    return [product // n_feats for product in products if product and product % n_feats == 0]


def _reduction(found: Found, n_feats: int) -> int:
    return n_feats // _most_common(_partners(found, n_feats))


def _colors(found: Found, n_feats: int) -> int:
    return _most_common(number for number in _partners(found, n_feats) if number in (1, 3))


def _grouped_measures(attention: str, upsampler: str = "") -> dict[str, Measure]:
    """DRCA's, LNLN's and RCAN's.

    Args:
      attention: its index in a block.
      upsampler: leads to what decides on the outputs of a convolution in it.
    """
    return {
        "scale": Measure(f"tail.0.*.{upsampler}", _scale),
        "n_resgroups": Measure("body.*.body.", _count),
        "n_resblocks": Measure("body.*.body.*.body.", _count),
        "n_feats": Measure("body.", _outputs),
        "reduction": Measure(f"body.*.body.*.body.{attention}.conv_du.*.weight", _reduction),
    }


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
        mark="body.*.body.*.body.3.weight",
        measures=_grouped_measures("5"),
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
        mark="body.*.body.*.body.3.depthwise.",
        measures=_grouped_measures("5", "pointwise."),
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
        mark="body.*.body.*.body.3.conv_du.",
        measures=_grouped_measures("3"),
    ),
    "edsr": Network(
        (
            *_ENDS,
            Row("blocks[block]/conv_1", "body.{block}.body.0", "conv"),
            Row("blocks[block]/conv_2", "body.{block}.body.2", "conv"),
            Row("body", "body.{blocks}", "conv"),
        ),
        _MEAN_SHIFT,
        mark="body.*.body.0.weight",
        measures={
            "scale": Measure("tail.0.*.", _scale),
            "n_resblocks": Measure("body.*.body.", _count),
            "n_feats": Measure("body.", _outputs),
        },
    ),
    "vdsr": Network(
        (
            Row("first/conv", "input", "conv_without_bias"),
            Row("layers[layer]/conv", "residual_layer.{layer}.conv", "conv_without_bias"),
            Row("last", "output", "conv_without_bias"),
        ),
        {},
        mark="residual_layer.*.conv.",
        measures={
            "n_layers": Measure("residual_layer.*.conv.", lambda *found: _count(*found) + 2),
            "n_feats": Measure("residual_layer.*.conv.", _outputs),
            "n_colors": Measure("input.weight|output.weight", _colors),
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
    """EDSR's `res_scale`, which no array shows: 0.1 in the authors' large networks, else 1."""
    return 0.1 if n_feats == 256 else 1.0
