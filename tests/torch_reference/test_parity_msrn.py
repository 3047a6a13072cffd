"""MSRN's layers by themselves."""

import pytest

from lnln_jax.models.layers import Conv, MeanShift
from lnln_jax.models.msrn import MultiScaleBlock
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer

settings = parity.one_thread_and_full_precision

LAYERS = {
    "multi-scale block": Layer("msrn", MultiScaleBlock(Conv), "blocks", "body.1", 8, index=(1,)),
    "learnt shift down": Layer("msrn", MeanShift(-1), "sub_mean", "sub_mean", 3),
    "learnt shift up": Layer("msrn", MeanShift(1), "add_mean", "add_mean", 3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    check_layer(LAYERS[name], "odd")
