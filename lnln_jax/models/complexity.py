"""How large and how expensive a network is: parameters, multiply-adds, receptive field.

Nothing here is a formula typed by hand. Multiply-adds are counted in the traced computation of the
network, and the receptive field is found by sending a NaN through it.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax import kernels
from lnln_jax.kernels.reference import PRODUCT
from lnln_jax.models import input_channels, least_side, window
from lnln_jax.models.variables import abstract_variables
from lnln_jax.runtime.numbers import whole

HD = (720, 1280)  # height and width of the output that papers count multiply-adds for

# Wider than twice the reach of the deepest network here without global pooling or attention.
_STRIP = 4096


def count_parameters(module: nn.Module) -> int:
    """Returns the number of trainable parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_variables(module)["params"]))


def count_multiply_adds(module: nn.Module, output_shape: tuple[int, int] = HD) -> dict[str, int]:
    """Counts the multiplications, each with its addition, of one forward pass.

    As papers count them: those of convolutions and matrix products. Normalisation, activations,
    skips and interpolation are left out.

    Args:
      module: a network.
      output_shape: height and width of the result, rounded down to multiples of the scale.

    Returns:
      "convolution" and "attention" (the products of positions with positions).
    """
    counts = _count_forward(module, output_shape)
    return {kind: counts[kind] for kind in ("convolution", "attention")}


def count_activations(module: nn.Module, output_shape: tuple[int, int] = HD) -> dict[str, int]:
    """Counts activations by the convention of the NTIRE challenges on efficient super-resolution.

    Args:
      module: a network.
      output_shape: as for `count_multiply_adds`.

    Returns:
      "activations", the elements of all results of convolutions, and "convolutions", how many
      there are; linear layers on tokens are neither.
    """
    counts = _count_forward(module, output_shape)
    return {kind: counts[kind] for kind in ("activations", "convolutions")}


def count_elements_moved(module: nn.Module, output_shape: tuple[int, int] = HD) -> int:
    """Counts the numbers that the convolutions of one forward pass must read and write.

    Each input, kernel and result counts once, as if all else happened on the way and nothing
    stayed in a cache from one convolution to the next. The scores of attention are left out.

    Args:
      module: a network.
      output_shape: as for `count_multiply_adds`.
    """
    return _count_forward(module, output_shape)["moved"]


def _count_forward(module: Any, output_shape: tuple[int, int]) -> Counter[str]:
    height, width = (
        whole("output_shape", size, least=module.scale) // module.scale for size in output_shape
    )
    lr = jax.ShapeDtypeStruct((1, height, width, input_channels(module)), jnp.float32)
    if hasattr(module, "attention"):  # others compute padding too, which is no part of the network
        module = module.clone(attention="dense")
    with kernels.using("plain", depthwise="grouped"):  # each convolution is one operation
        traced = jax.make_jaxpr(module.apply)(abstract_variables(module), lr)
    return _count(traced.jaxpr)


def _count(jaxpr: Any) -> Counter[str]:
    """Counts in a jaxpr and those inside it."""
    counts: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        outputs = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
        if name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            features = kernel[params["dimension_numbers"].rhs_spec[0]]
            counts["convolution"] += outputs * math.prod(kernel) // features
            counts["moved"] += _moved(equation)
            counts["activations"] += outputs
            counts["convolutions"] += 1
        elif name == "name" and params["name"] == PRODUCT:  # the result of a 1x1 convolution
            counts["activations"] += outputs
            counts["convolutions"] += 1
        elif name == "dot_general":
            (contracted, _), (batched, _) = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            kind = "attention" if batched else "convolution"
            counts[kind] += outputs * math.prod(shape[axis] for axis in contracted)
            counts["moved"] += 0 if batched else _moved(equation)
        for inner in _inner_jaxprs(name, params):
            repeats = params["length"] if name == "scan" else 1
            for kind, count in _count(inner).items():
                counts[kind] += repeats * count
    return counts


def _moved(equation: Any) -> int:
    """Counts the elements of all that an equation takes and makes."""
    return sum(math.prod(v.aval.shape) for v in (*equation.invars, *equation.outvars))


def _inner_jaxprs(name: str, params: dict[str, Any]) -> Iterator[Any]:
    """Returns the jaxprs that an equation runs; of branches for platforms the most common one."""
    if name == "cond":
        yield params["branches"][-1].jaxpr
        return
    for key in ("jaxpr", "call_jaxpr"):
        if key in params:
            yield getattr(params[key], "jaxpr", params[key])


def receptive_field(module: nn.Module) -> int | None:
    """Returns the side in LR pixels of the square that an output pixel sees; None: all of them.

    One pixel of a long strip becomes NaN. A network of the same depth, narrow and with all weights
    zero, carries the NaN to every output pixel that depends on it, and to no other. In windows one
    pixel reaches farther than another, so each of a window's columns has its turn.
    """
    narrow: dict[str, Any] = {"n_feats": 2, "reduction": 1, **getattr(module, "narrow", {})}
    known = {field.name for field in dataclasses.fields(module)}
    module = module.clone(**{key: value for key, value in narrow.items() if key in known})
    variables = jax.tree_util.tree_map_with_path(_zeros, abstract_variables(module))
    size, scale = window(module), module.scale
    turns, columns = np.arange(size), _STRIP // 2 + np.arange(size)
    lr = np.zeros((size, least_side(module), _STRIP, input_channels(module)), np.float32)
    lr[turns, :, columns] = np.nan
    with jax.debug_nans(False):  # JAX_DEBUG_NANS is for those that nobody asked for
        sr = np.asarray(jax.jit(module.apply)(variables, lr))
    reached = np.isnan(sr).any(axis=(1, 3))
    if reached.all():
        return None
    first, last = reached.argmax(1), sr.shape[2] - 1 - reached[:, ::-1].argmax(1)
    # All of it repeats with the windows: what the output pixels of one of them see at most.
    outputs = np.arange(size * scale)[:, None]
    rightmost = columns + (outputs - first) // (size * scale) * size
    leftmost = columns - (last - outputs) // (size * scale) * size
    return int((rightmost.max(1) - leftmost.min(1)).max()) + 1


def _zeros(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """Returns zeros; but ones for a direction, which is divided by its length."""
    fill = jnp.ones if path[-1].key == "direction" else jnp.zeros
    return fill(leaf.shape, leaf.dtype)
