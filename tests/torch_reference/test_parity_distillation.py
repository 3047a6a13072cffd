"""The layers of RLFN, RFDN and IMDN by themselves, and IMDN's attention without contrast."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models.imdn import IMDNBlock, contrast
from lnln_jax.models.interpolation import bilinear_resize
from lnln_jax.models.layers import ChannelAttention, Conv
from lnln_jax.models.rfdn import RFDNBlock
from lnln_jax.models.rlfn import RLFNBlock
from lnln_jax.models.spatial_attention import ESA
from lnln_jax.torch_reference.distillation import ContrastAttention
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer
from tests.support.parity import random_features, to_nchw, to_nhwc, torch

settings = parity.one_thread_and_full_precision

_CONTRAST = partial(ChannelAttention, 4, contrast)
_SHALLOW, _DEEP = partial(ESA, 4), partial(ESA, 3, n_coarse=3)
_FIRST, _SECOND = {"index": (0,)}, {"index": (1,)}
LAYERS = {
    "RLFN attention": Layer("rlfn", _SHALLOW(), "blocks/attention", "block_2.esa", 8, **_SECOND),
    "RLFN block": Layer("rlfn", RLFNBlock(8, 6, Conv, _SHALLOW), "blocks", "block_2", 8, **_SECOND),
    "RFDN attention": Layer("rfdn", _DEEP(), "blocks/attention", "B1.esa", 12, **_FIRST),
    "RFDN block": Layer("rfdn", RFDNBlock(12, Conv, _DEEP), "blocks", "B2", 12, **_SECOND),
    "IMDN attention": Layer("imdn", _CONTRAST(), "blocks/attention", "IMDB1.cca", 8, **_FIRST),
    "IMDN block": Layer("imdn", IMDNBlock(8, Conv, _CONTRAST), "blocks", "IMDB1", 8, **_FIRST),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    check_layer(LAYERS[name], "odd" if name.startswith("IMDN") else "large")


@pytest.mark.parametrize(
    ("small", "large"),
    [((2, 3), (22, 27)), ((1, 4), (15, 9)), ((5, 5), (5, 4))],
)
def test_interpolation(small, large):
    """Values and gradients; the last is one that does not enlarge."""
    x, grad = random_features(1, (2, *small, 3)), random_features(2, (2, *large, 3))
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = to_nchw(x, dtype).requires_grad_()
        out = torch.nn.functional.interpolate(leaf, large, mode="bilinear", align_corners=False)
        out.backward(to_nchw(grad, dtype))
        results.append({"output": to_nhwc(out), "gradients": to_nhwc(leaf.grad)})
    out, pullback = jax.vjp(lambda x: bilinear_resize(x, *large), x)
    ours = {"output": out, "gradients": pullback(grad)[0]}
    for what in ours:
        parity.check(what, *({what: arrays[what]} for arrays in (ours, *results)))


def test_without_contrast_the_gradient_is_finite():
    """The values are PyTorch's, whose gradient is NaN in the channel that is constant."""
    x = random_features(1, (1, 4, 5, 8))
    x[..., 2] = 7
    torch.manual_seed(0)
    layer = ContrastAttention(8, 4)
    params = {
        name: {
            "kernel": jnp.asarray(layer.conv_du[i].weight.detach().numpy().transpose(2, 3, 1, 0)),
            "bias": jnp.asarray(layer.conv_du[i].bias.detach().numpy()),
        }
        for name, i in (("squeeze", 0), ("excite", 2))
    }
    leaf = to_nchw(x).requires_grad_()
    theirs = layer(leaf)
    theirs.sum().backward()
    apply = jax.jit(lambda x: _CONTRAST().apply({"params": params}, x))
    # Products of four and eight numbers: a few units of 2**-23 of the largest value.
    np.testing.assert_allclose(apply(x), to_nhwc(theirs), rtol=0, atol=4e-5)
    gradient = np.asarray(jax.grad(lambda x: apply(x).sum())(x))
    expected = to_nhwc(leaf.grad)
    assert np.isnan(expected[..., 2]).all()
    assert np.isfinite(gradient).all()
    others = [0, 1, *range(3, 8)]
    np.testing.assert_allclose(gradient[..., others], expected[..., others], rtol=1e-4, atol=1e-5)
