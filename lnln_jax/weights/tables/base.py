"""What a table consists of that describes the PyTorch state dict of a network.

A row of a table stands for a layer: its path in the Flax tree, the prefix of its PyTorch keys, and
its kind, which `LAYERS` spells out array by array. In paths and prefixes

- `{group}` is an index that counts from zero, `{group+1}` is one more, and `{groups}` is how many
  there are;
- `blocks[block]` is a subtree whose arrays hold all blocks, stacked along axis 0.

Beside its layers a network has a mark, keys that no other network has, says which key shows each
hyper-parameter, and in which order the parts of keys stand in the published files.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


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
# Reads a hyper-parameter; 0, LookupError or ZeroDivisionError where it does not show.
Measure = Callable[[Shapes], int]


def measured(measure: Measure, shapes: Shapes) -> int | None:
    """Returns a hyper-parameter, or None where it does not show."""
    try:
        return measure(shapes) or None
    except (LookupError, ZeroDivisionError):
        return None  # a key is missing or misshapen, which `from_torch` says


def _no_extras(shapes: Shapes) -> dict[str, np.ndarray]:
    return {}


class Network(NamedTuple):
    """Contents of a state dict, and what tells the network from it.

    Attributes:
      layers: rows of what differs from one state dict to the next.
      constants: arrays by key that are the same in every one.
      mark: regular expression of how keys begin that this network has and no other.
      measures: hyper-parameters that show, and `scale` where it does.
      alike: scales whose arrays may be alike, so that one of them must be given.
      order: parts of keys, in the order in which published files have them; "block_" stands for
        block_1, block_2 and so on.
      extras: function of the shapes by PyTorch's keys that returns arrays which the authors' module
        has and does not need: written for it to load the file, and never read.
    """

    layers: tuple[Row, ...]
    constants: Mapping[str, np.ndarray]
    mark: str
    measures: Mapping[str, Measure]
    alike: tuple[int, ...] = ()
    order: tuple[str, ...] = ()
    extras: Callable[[Shapes], Mapping[str, np.ndarray]] = _no_extras


TRANSFORMS = {
    "same": Transform(lambda x: x, lambda x: x),
    # H W I O <-> O I H W
    "conv": Transform(lambda x: x.transpose(3, 2, 0, 1), lambda x: x.transpose(2, 3, 1, 0)),
    # O <-> O 1 1 1
    "gain": Transform(lambda x: x[:, None, None, None], lambda x: x[:, 0, 0, 0]),
    # I O <-> O I
    "linear": Transform(lambda x: x.T, lambda x: x.T),
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
    "array": (Row("params/{}", "{}", "same"),),
    "conv_without_bias": (Row("params/{}/kernel", "{}.weight", "conv"),),
    "weight_norm": (
        Row("params/{}/bias", "{}.bias", "same"),
        Row("params/{}/gain", "{}.weight_g", "gain"),
        Row("params/{}/direction", "{}.weight_v", "conv"),
    ),
    "parametrized_weight_norm": (
        Row("params/{}/bias", "{}.bias", "same"),
        Row("params/{}/gain", "{}.parametrizations.weight.original0", "gain"),
        Row("params/{}/direction", "{}.parametrizations.weight.original1", "conv"),
    ),
    "linear": (
        Row("params/{}/kernel", "{}.weight", "linear"),
        Row("params/{}/bias", "{}.bias", "same"),
    ),
    "layer_norm": (
        Row("params/{}/scale", "{}.weight", "same"),
        Row("params/{}/bias", "{}.bias", "same"),
    ),
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


# Of an `Upsampler`, whose convolutions are 0, 2 and 4.
_STEPS = {4: 8, 2: 4}


def scale_of(
    upsampler: str, n_feats: Measure, layer: str = "", steps: Mapping[int, int] = _STEPS
) -> Measure:
    """Reads the scale of an upsampler whose first step at 2 and 3 makes 4 or 9 times `n_feats`.

    Args:
      upsampler: prefix of the upsampler's keys.
      n_feats: reads the width of the network.
      layer: pattern that leads from a convolution to the array that shows its outputs.
      steps: scales by the index of the convolution that smaller ones lack, the largest first.
    """
    outputs = size_of(rf"{re.escape(upsampler)}0\.{layer}bias")

    def scale(shapes: Shapes) -> int:
        for index, factor in steps.items():
            if any(key.startswith(f"{upsampler}{index}.") for key in shapes):
                return factor
        return {4: 2, 9: 3}[outputs(shapes) // n_feats(shapes)]

    return scale


def single_step_scale_of(keys: str) -> Measure:
    """Reads the scale from the bias of one convolution that makes all colours of `scale**2` pixels.

    Args:
      keys: regular expression of its key.
    """
    outputs = size_of(keys)

    def scale(shapes: Shapes) -> int:
        return {12: 2, 27: 3, 48: 4}[outputs(shapes)]

    return scale


def mean_shift(mean: Sequence[float], layer: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of frozen 1x1 convolutions that subtract and add a mean.

    Args:
      mean: mean of RGB, in the range that the authors' network takes.
      layer: what stands between their names and those of their arrays.
    """
    identity = np.eye(3, dtype=np.float32)[:, :, None, None]
    bias = np.asarray(mean, np.float32)
    return {
        f"sub_mean{layer}.weight": identity,
        f"sub_mean{layer}.bias": -bias,
        f"add_mean{layer}.weight": identity,
        f"add_mean{layer}.bias": bias,
    }


def ends_of(head: str, upsampler: str, tail: str, kind: str = "conv") -> tuple[Row, ...]:
    """Returns the rows of a network's first convolution, its `Upsampler` and its last convolution.

    Args:
      head: prefix of PyTorch's keys of the first convolution.
      upsampler: prefix of those of the upsampler, whose convolutions are 0, 2 and 4.
      tail: prefix of those of the last convolution.
      kind: kind of all but the last.
    """
    return (
        Row("head", head, kind),
        *(Row(f"upsampler/conv_{i + 1}", f"{upsampler}.{2 * i}", kind) for i in range(3)),
        Row("tail", tail, "conv"),
    )
