"""SwinIR-light's layers by themselves: output, gradients of the input and of all parameters."""

import copy
from functools import partial

import numpy as np
import pytest

from lnln_jax.models.layers import Conv
from lnln_jax.models.swinir_light import SwinBlock, SwinGroup
from lnln_jax.models.window_attention import SHIFT, LayerNorm, Linear, relative_positions
from lnln_jax.models.window_attention import shifted_mask as our_mask
from lnln_jax.torch_reference.swinir_light import WindowAttention, attention_mask
from tests.support import parity
from tests.support.layer_parity import Layer, layer_in_flax, layer_in_torch
from tests.support.parity import check, in_float64, make_networks, torch

settings = parity.one_thread_and_full_precision

_BLOCK = partial(SwinBlock, 3, 2)
_BLOCKS = ("groups/blocks", "layers.1.residual_group.blocks")
LAYERS = {
    "linear": Layer(
        "swinir_light",
        Linear(24),
        f"{_BLOCKS[0]}/mlp_1",
        f"{_BLOCKS[1]}.1.mlp.fc1",
        12,
        index=(1, 1),
    ),
    "layer norm": Layer("swinir_light", LayerNorm(), "norm", "norm", 12),
    "block": Layer("swinir_light", _BLOCK(), _BLOCKS[0], f"{_BLOCKS[1]}.0", 12, index=(1, 0)),
    "shifted": Layer("swinir_light", _BLOCK(), _BLOCKS[0], f"{_BLOCKS[1]}.1", 12, index=(1, 1)),
    "group": Layer(
        "swinir_light", SwinGroup(_BLOCK, Conv, 2), "groups", "layers.1", 12, index=(1,)
    ),
}


class InChannels(torch.nn.Module):
    """A layer of `B H W C` as one of `B C H W`."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, (16, 24)) for name in LAYERS), ("shifted", (8, 8)), ("shifted", (8, 16))],
)
def test_layer(name, size):
    layer = LAYERS[name]
    _, variables, network = make_networks(layer.network, 2)
    x = parity.random_features(1, (2, *size, layer.channels))
    blocks = isinstance(layer.module, SwinBlock)
    shift = {"shift": SHIFT if name == "shifted" else 0} if blocks else {}
    results = [layer_in_flax(layer, variables, x, shift)]
    part = InChannels(copy.deepcopy(network.get_submodule(layer.torch_path)))
    for reference in (part, in_float64(part)):
        out, grad_x = layer_in_torch(reference, x)
        arrays = parity.get_gradients(reference.layer)
        results.append((out, arrays | {"input": grad_x}))

    check("output", *({"output": out} for out, _ in results))
    check("gradients", *({key: a[key] for key in results[2][1]} for _, a in results))


@pytest.mark.parametrize("size", [(8, 8), (8, 24), (16, 16)])
def test_masks_are_the_same(size):
    np.testing.assert_array_equal(our_mask(*size, SHIFT), attention_mask(*size))
    assert not np.any(our_mask(*size, 0))


def test_relative_positions_are_the_same():
    buffer = WindowAttention(12, 3).relative_position_index.numpy()
    np.testing.assert_array_equal(relative_positions(), buffer, strict=True)
