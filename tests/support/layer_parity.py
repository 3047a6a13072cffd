"""Layers by themselves, in both frameworks: output, gradients, running statistics."""

import copy
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from lnln_jax.models import layers
from lnln_jax.models.residual_groups import ResidualBlock, ResidualGroup
from lnln_jax.torch_reference.training import is_cancelled
from lnln_jax.weights.torch_port import to_torch
from tests.support import parity
from tests.support.parity import (
    SIZES,
    check,
    in_float64,
    make_networks,
    random_features,
    to_nchw,
    to_nhwc,
)


class Layer(NamedTuple):
    """A layer, with the weights that it has in a network; `index` is its place in stacked ones."""

    network: str
    module: nn.Module
    flax_path: str
    torch_path: str
    channels: int
    scale: int = 2
    index: tuple[int, ...] = ()


def subtree(tree, path, index):
    prefix = f"{path}/"
    flat = {k: v for k, v in flatten_dict(tree, sep="/").items() if k.startswith(prefix)}
    return unflatten_dict({k.removeprefix(prefix): v[index] for k, v in flat.items()}, sep="/")


def layer_in_flax(layer, variables, x, options):
    """The output; under PyTorch's keys the gradients and statistics; the gradient of x: "input"."""
    all_stats = variables.get("batch_stats", {})

    @jax.jit
    def run(variables, x):
        def forward(params, x):
            collections = {"params": params, "batch_stats": all_stats}
            local = {k: subtree(v, layer.flax_path, layer.index) for k, v in collections.items()}
            apply = partial(layer.module.apply, local, mutable=["batch_stats"], **options)
            return apply(x)

        out, pullback, changed = jax.vjp(forward, variables["params"], x, has_aux=True)
        return out, pullback(random_features(2, out.shape)), changed.get("batch_stats", {})

    out, (grads, grad_x), changed = run(variables, x)
    stats = flatten_dict(all_stats, sep="/")
    stats |= {f"{layer.flax_path}/{k}": v for k, v in flatten_dict(changed, sep="/").items()}
    stats = unflatten_dict(stats, sep="/")
    arrays = to_torch({"params": grads, "batch_stats": stats}, name=layer.network)
    prefix = f"{layer.torch_path}."
    arrays = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    return out, arrays | {"input": grad_x}


def layer_in_torch(network, x):
    """The output, and the gradient of x; the network keeps the other gradients and statistics."""
    dtype = next(network.parameters()).dtype
    margins = parity.watch_kinks(network)
    x = to_nchw(x, dtype).requires_grad_()
    out = to_nhwc(y := network(x))
    y.backward(to_nchw(random_features(2, out.shape), dtype))
    parity.assert_no_ties(margins)
    return out, to_nhwc(x.grad)


def check_layer(layer, size, *, train=True):
    """Compares output, gradients of input and parameters, and statistics of a layer."""
    _, variables, network = make_networks(layer.network, layer.scale)
    x = random_features(1, (2, *SIZES[size], layer.channels))
    normalises = isinstance(layer.module, layers.BatchNorm | ResidualBlock | ResidualGroup)
    ours = layer_in_flax(layer, variables, x, {"train": train} if normalises else {})
    part = copy.deepcopy(network.get_submodule(layer.torch_path)).train(train)
    results = [ours]
    for reference in (part, in_float64(part)):
        out, grad_x = layer_in_torch(reference, x)
        arrays = parity.get_gradients(reference) | parity.get_statistics(reference)
        results.append((out, arrays | {"input": grad_x}))

    check("output", *({"output": out} for out, _ in results))
    statistics = parity.get_statistics(part)
    gradients = results[2][1].keys() - statistics.keys()
    if train:
        prefix = layer.torch_path
        gradients = {key for key in gradients if not is_cancelled(layer.network, f"{prefix}.{key}")}
    for what, keys in (("gradients", gradients), ("statistics", statistics)):
        if keys:
            check(what, *({key: arrays[key] for key in keys} for _, arrays in results))
