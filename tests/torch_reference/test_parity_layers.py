"""Every layer by itself: output, gradients of its input and parameters, running statistics."""

from functools import partial

import numpy as np
import pytest

from lnln_jax.models import layers
from lnln_jax.models.edsr import EDSRBlock
from lnln_jax.models.rcan import RCANBlock, RCANGroup
from lnln_jax.models.residual_groups import ResidualBlock, ResidualGroup
from lnln_jax.models.vdsr import VDSRLayer
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer
from tests.support.parity import (
    SIZES,
    check,
    in_float64,
    make_networks,
    random_features,
    to_nchw,
    to_nhwc,
    torch,
)

settings = parity.one_thread_and_full_precision

_DSC = layers.DepthwiseSeparableConv
_MAKE = {
    "conv": _DSC,
    "norm": layers.BatchNorm,
    "attend": partial(layers.ChannelAttention, 4),
    "project": partial(layers.Conv, kernel_size=1),
}
_RCAB = partial(RCANBlock, 16, layers.Conv, _MAKE["attend"])
_FIRST = ("body/group_1/first", "body.0.body.0.body")
LAYERS = {
    "conv 3x3": Layer("drca", layers.Conv(16), "head", "head.0", 3),
    "conv 1x1": Layer("drca", layers.Conv(16, 1), "body/projection", "body.2", 48),
    "conv without bias": Layer("vdsr", layers.Conv(1, use_bias=False), "last", "output", 16),
    "depthwise": Layer(
        "lnln", layers.DepthwiseConv(), "upsampler/conv_1/depthwise", "tail.0.0.depthwise", 16
    ),
    "separable": Layer("lnln", _DSC(64), "upsampler/conv_1", "tail.0.0", 16),
    "norm": Layer(
        "lnln",
        layers.BatchNorm(),
        f"{_FIRST[0]}/norm_1",
        f"{_FIRST[1]}.1",
        16,
    ),
    "attention": Layer(
        "lnln",
        layers.ChannelAttention(4),
        f"{_FIRST[0]}/attention",
        f"{_FIRST[1]}.5",
        16,
    ),
    "non-local": Layer("lnln", layers.RegionNonLocal(8), "non_local", "non_local", 16),
    "upsampler x2": Layer("drca", layers.Upsampler(2), "upsampler", "tail.0", 16),
    "upsampler x3": Layer("drca", layers.Upsampler(3), "upsampler", "tail.0", 16, scale=3),
    "upsampler x4": Layer("lnln", layers.Upsampler(4, _DSC), "upsampler", "tail.0", 16, scale=4),
    "upsampler x8": Layer("edsr", layers.Upsampler(8), "upsampler", "tail.0", 16, scale=8),
    "block": Layer("lnln", ResidualBlock(16, **_MAKE), "body/group_2/first", "body.1.body.0", 32),
    "group": Layer(
        "lnln", ResidualGroup(partial(ResidualBlock, 16, **_MAKE), 3), "body/group_2", "body.1", 32
    ),
    "EDSR block": Layer("edsr", EDSRBlock(16, 0.1), "blocks", "body.1", 16, index=(1,)),
    "RCAN block": Layer("rcan", _RCAB(), "groups/blocks", "body.1.body.2", 16, index=(1, 2)),
    "RCAN group": Layer(
        "rcan", RCANGroup(_RCAB, layers.Conv, 3), "groups", "body.1", 16, index=(1,)
    ),
    "VDSR layer": Layer("vdsr", VDSRLayer(16), "layers", "residual_layer.1", 16, index=(1,)),
}


@pytest.mark.parametrize(
    ("name", "size", "train"),
    [
        *((name, "odd", True) for name in LAYERS),
        ("non-local", "even", True),
        ("norm", "even", False),
    ],
)
def test_layer(name, size, train):
    check_layer(LAYERS[name], size, train=train)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_pixel_shuffle(factor):
    x = random_features(1, (2, *SIZES["odd"], 5 * factor**2))
    expected = torch.nn.functional.pixel_shuffle(to_nchw(x), factor)
    np.testing.assert_array_equal(layers.pixel_shuffle(x, factor), to_nhwc(expected))


@pytest.mark.parametrize("name", ["sub_mean", "add_mean"])
def test_mean_shift(name):
    shift = {"sub_mean": layers.subtract_mean, "add_mean": layers.add_mean}[name]
    layer, lr = getattr(make_networks("lnln", 2)[2], name), parity.random_image(1, SIZES["odd"])
    theirs, truth = layer(to_nchw(lr)), in_float64(layer)(to_nchw(lr, torch.float64))
    check("output", *({name: x} for x in (shift(lr), to_nhwc(theirs), to_nhwc(truth))))
