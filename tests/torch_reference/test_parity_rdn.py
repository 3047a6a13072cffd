"""RDN's layers by themselves."""

import pytest

from lnln_jax.models.layers import Conv
from lnln_jax.models.rdn import ResidualDenseBlock, UPNet
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer

settings = parity.one_thread_and_full_precision

LAYERS = {
    "dense block": Layer("rdn", ResidualDenseBlock(3, 8, Conv), "blocks", "RDBs.1", 12, index=(1,)),
    **{
        f"UPNet x{scale}": Layer("rdn", UPNet(scale, 8, Conv), "upsampler", "UPNet", 12, scale)
        for scale in (2, 3, 4)
    },
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    check_layer(LAYERS[name], "odd")
