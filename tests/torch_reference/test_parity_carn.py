"""The layers of CARN and CARN-M by themselves, and the networks for several scales."""

import copy
from functools import partial

import jax
import numpy as np
import pytest

from lnln_jax.models import create_model, layers
from lnln_jax.models.carn import CascadingBlock, ConvReLU, ResidualUnit
from lnln_jax.models.carn_m import EfficientUnit
from lnln_jax.models.variables import abstract_variables
from lnln_jax.torch_reference import NETWORKS
from lnln_jax.weights.torch_port import from_torch
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer
from tests.support.parity import SIZES, check, in_float64, to_nchw, to_nhwc, torch

settings = parity.one_thread_and_full_precision

_UNIT = partial(ResidualUnit, layers.Conv)
_EFFICIENT = partial(EfficientUnit, layers.Conv, 2)
_GROUPED = partial(layers.Conv, groups=2)
LAYERS = {
    "grouped conv": Layer("carn_m", _GROUPED(8), "block_2/unit/conv_1", "b2.b1.body.0", 8),
    "unit": Layer("carn", _UNIT(), "block_2/unit_3", "b2.b3", 8),
    "efficient unit": Layer("carn_m", _EFFICIENT(), "block_3/unit", "b3.b1", 8),
    "block": Layer("carn", CascadingBlock(layers.Conv, _UNIT), "block_1", "b1", 8),
    "recursive block": Layer(
        "carn_m", CascadingBlock(layers.Conv, _EFFICIENT, recursive=True), "block_1", "b1", 8
    ),
    **{
        f"upsampler x{scale}": Layer(
            "carn_m",
            layers.Upsampler(scale, partial(ConvReLU, groups=2)),
            "upsampler",
            "upsample.up",
            8,
            scale=scale,
        )
        for scale in (2, 3, 4)
    },
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    check_layer(LAYERS[name], "even" if name == "upsampler x4" else "odd")  # far from kinks


@pytest.mark.parametrize("scale", [2, pytest.param(3, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("name", ["carn", pytest.param("carn_m", marks=pytest.mark.slow)])
def test_several_scales_in_one(name, scale):
    """Each scale has its own upsampler behind the body that they share."""
    options = {**parity.SMALL[name], "n_scales": 3}
    torch.manual_seed(parity.SEEDS[name])
    network = NETWORKS[name](scale, **options).eval()
    module = create_model(name, scale, **options)
    variables = from_torch(network.state_dict(), name=name, like=abstract_variables(module))
    lr = parity.random_image(3, SIZES["odd"])
    with torch.no_grad():
        theirs = network(to_nchw(lr))
        truth = in_float64(copy.deepcopy(network))(to_nchw(lr, torch.float64))
    ours = jax.jit(module.apply)(variables, lr)
    check("output", *({"output": x} for x in (np.asarray(ours), to_nhwc(theirs), to_nhwc(truth))))
