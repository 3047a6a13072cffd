"""Networks by numbers of all kinds."""

import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_multiply_adds
from lnln_jax.models.spec import ModelConfig
from lnln_jax.models.variables import initialize
from tests.support.small_networks import assert_same

KINDS = [np.int64, np.int32, np.array, jnp.array]


@pytest.mark.parametrize("kind", KINDS)
def test_create_model_takes_numbers_of_all_kinds(kind):
    plain = create_model("edsr", 2, n_resblocks=2, n_feats=8, res_scale=1)
    other = create_model("edsr", kind(2), n_resblocks=kind(2), n_feats=kind(8), res_scale=kind(1))
    assert other == plain
    assert type(other.n_feats) is type(other.scale) is int
    assert create_model("edsr", res_scale=np.float32(0.1)) == create_model("edsr", res_scale=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_keeps_pythons_numbers(kind):
    config = ModelConfig("edsr", kind(3), {"n_feats": kind(8)})
    assert config == ModelConfig("edsr", 3, {"n_feats": 8})
    assert type(config.scale) is type(config.options["n_feats"]) is int


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_sizes(kind):
    module = create_model("edsr", n_resblocks=1, n_feats=4)
    assert_same(initialize(module, kind(3)), initialize(module, 3))
    counts = count_multiply_adds(module, (kind(20), kind(30)))
    assert counts == count_multiply_adds(module, (20, 30))
    with pytest.raises(ValueError, match="seed is True; it must be a whole number from 0 to"):
        initialize(module, True)
    with pytest.raises(ValueError, match="output_shape is 1; it must be a whole number of at lea"):
        count_multiply_adds(module, (1, 30))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": True}, "scale is True; it must be a whole number"),
        ({"scale": "2"}, "scale is '2'; it must be a whole number"),
        ({"n_feats": True}, "n_feats is True; it must be a whole number from 1"),
        ({"n_feats": 8.5}, "n_feats is 8.5; it must be a whole number from 1"),
        ({"res_scale": float("nan")}, "res_scale is nan; it must be a number above 0"),
        ({"res_scale": True}, "res_scale is True; it must be a number above 0"),
    ],
)
def test_no_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        create_model("edsr", **options)
