"""WDSR's layers by themselves; weight normalisation is PyTorch's own."""

import jax
import numpy as np
import pytest

from lnln_jax.models.wdsr import LowRankBlock, WideBlock
from lnln_jax.models.weight_norm import WeightNormConv
from lnln_jax.torch_reference import wdsr
from lnln_jax.weights.tables.base import TRANSFORMS
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer
from tests.support.parity import check, random_features, to_nchw, to_nhwc, torch

settings = parity.one_thread_and_full_precision

LAYERS = {
    "weight norm 3x3": Layer("wdsr_a", WeightNormConv(8), "head", "head.0", 3),
    "weight norm 5x5": Layer("wdsr_a", WeightNormConv(12, 5), "skip", "skip.0", 3),
    "weight norm 1x1": Layer(
        "wdsr_b", WeightNormConv(12, 1), "blocks/expand", "body.1.body.0", 8, index=(1,)
    ),
    "block A": Layer(
        "wdsr_a",
        WideBlock(12, WeightNormConv, WeightNormConv, 0.5),
        "blocks",
        "body.0",
        8,
        index=(0,),
    ),
    "block B": Layer(
        "wdsr_b", LowRankBlock(12, 6, WeightNormConv), "blocks", "body.1", 8, index=(1,)
    ),
    "later block": Layer(
        "wdsr_reloaded",
        WideBlock(12, WeightNormConv, WeightNormConv),
        "blocks",
        "body.2",
        8,
        index=(1,),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    check_layer(LAYERS[name], "odd")


def by_pytorch(conv, x, dtype):
    """Output and gradients with `torch.nn.utils.parametrizations.weight_norm`."""
    plain = torch.nn.Conv2d(8, 12, 3, padding=1)
    normed = torch.nn.utils.parametrizations.weight_norm(plain).to(dtype)
    parts = normed.parametrizations.weight
    with torch.no_grad():
        normed.bias.copy_(conv.bias)
        parts.original0.copy_(conv.weight_g)
        parts.original1.copy_(conv.weight_v)
    y = normed(to_nchw(x, dtype))
    y.backward(to_nchw(random_features(2, to_nhwc(y).shape), dtype))
    grads = {"gain": parts.original0.grad, "direction": parts.original1.grad}
    return {"output": to_nhwc(y)}, {key: grad.numpy() for key, grad in grads.items()}


def test_weight_norm_is_pytorchs():
    """And gains that are not the directions' lengths, which are not 1 either."""
    torch.manual_seed(0)
    conv = wdsr.WeightNormConv(8, 12)
    with torch.no_grad():
        conv.weight_g.uniform_(-2, 2)
        conv.weight_v.mul_(torch.rand(12, 1, 1, 1) * 3 + 0.1)
    x = random_features(1, (2, 11, 13, 8))
    arrays = {"gain": conv.weight_g, "direction": conv.weight_v, "bias": conv.bias}
    kinds = {"gain": "gain", "direction": "conv", "bias": "same"}
    params = {
        key: TRANSFORMS[kinds[key]].from_torch(a.detach().numpy()) for key, a in arrays.items()
    }
    out, pullback = jax.vjp(lambda p: WeightNormConv(12).apply({"params": p}, x), params)
    (grads,) = pullback(random_features(2, out.shape))
    ours = {key: TRANSFORMS[kinds[key]].to_torch(np.asarray(grads[key])) for key in kinds}
    theirs, truth = (by_pytorch(conv, x, dtype) for dtype in (torch.float32, torch.float64))
    check("output", {"output": out}, theirs[0], truth[0])
    check("gradients", ours, theirs[1], truth[1])
