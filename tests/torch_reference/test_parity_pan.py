"""The layers of PAN by themselves."""

import pytest

from lnln_jax.models import layers
from lnln_jax.models.pan import PAConv, PixelAttention, SCPABlock
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer

settings = parity.one_thread_and_full_precision

LAYERS = {
    "pixel attention": Layer(
        "pan", PixelAttention(layers.Conv), "upsampler/block_1/attention", "att1", 6
    ),
    "PA convolution": Layer(
        "pan", PAConv(layers.Conv), "blocks/conv_b", "SCPA_trunk.1.PAConv", 4, index=(1,)
    ),
    "block": Layer("pan", SCPABlock(layers.Conv), "blocks", "SCPA_trunk.0", 8, index=(0,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    check_layer(LAYERS[name], "odd")
