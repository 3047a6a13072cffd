"""SAN's layers by themselves, and its covariance where the image is larger than what it sees."""

from functools import partial

import pytest

from lnln_jax.models.edsr import EDSRBlock
from lnln_jax.models.layers import ChannelAttention, Conv, RegionNonLocal
from lnln_jax.models.san import SANGroup, second_order_statistic
from tests.support import parity
from tests.support.layer_parity import Layer, check_layer

settings = parity.one_thread_and_full_precision

_ATTEND = partial(ChannelAttention, 4, second_order_statistic)
LAYERS = {
    "attention": Layer("san", _ATTEND(), "groups/attention", "RG.1.soca", 16, index=(1,)),
    "non-local": Layer("san", RegionNonLocal(2, pool=2), "non_local", "non_local", 16),
    "group": Layer(
        "san", SANGroup(partial(EDSRBlock, 16), _ATTEND, Conv, 2), "groups", "RG.1", 16, index=(1,)
    ),
}


@pytest.mark.parametrize(
    ("name", "size"), [*((name, "odd") for name in LAYERS), ("non-local", "even")]
)
def test_layer(name, size):
    check_layer(LAYERS[name], size)
