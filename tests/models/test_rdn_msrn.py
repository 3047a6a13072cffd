"""RDN and MSRN: how far they see, where the scale shows, and computation in bfloat16."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.complexity import receptive_field
from lnln_jax.models.layers import DIV2K_MEAN
from lnln_jax.models.variables import abstract_variables, initialize

SMALL = {
    "rdn": {"n_resblocks": 2, "n_layers": 2, "growth_rate": 4, "n_feats": 6},
    "msrn": {"n_resblocks": 2, "n_feats": 6},
}


@partial(jax.jit, static_argnums=0)
def apply(module, variables, lr):
    return module.apply(variables, lr)


def image(height, width):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(0, 255, (1, height, width, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("name", "side"),
    # To each side: 2 of the head and 2 behind the blocks, 1 of each 3x3 and 2 of each 5x5 within
    # them. At x2 the last convolution works on half pixels, and one of two is a whole one on.
    [("rdn", 2 * (2 + 2 * 2 + 2) + 2), ("msrn", 2 * (1 + 2 * 4 + 2) + 2)],
)
def test_receptive_field(name, side):
    assert receptive_field(create_model(name, **SMALL[name])) == side


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_under_strict_promotion(name):
    """8 bits through some fifteen layers: a few percent of what there is."""
    half = create_model(name, dtype=jnp.bfloat16, **SMALL[name])
    variables = initialize(half, 0)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    with jax.numpy_dtype_promotion("strict"):
        sr = apply(half, variables, image(8, 8))
    expected = apply(create_model(name, **SMALL[name]), variables, image(8, 8))
    assert sr.dtype == expected.dtype == jnp.float32
    deviation = np.abs(expected - (np.float32(DIV2K_MEAN) if name == "msrn" else 0)).max()
    assert 0 < np.abs(sr - expected).max() < 0.03 * deviation


def test_the_shift_of_msrn_learns_and_begins_as_edsrs():
    module = create_model("msrn", **{**SMALL["msrn"], "n_resblocks": 1})
    params = initialize(module, 0)["params"]
    for name, sign in (("sub_mean", -1), ("add_mean", 1)):
        np.testing.assert_array_equal(params[name]["kernel"][0, 0], np.eye(3))
        np.testing.assert_array_equal(params[name]["bias"], sign * np.float32(DIV2K_MEAN))
    grads = jax.jit(jax.grad(lambda p: module.apply({"params": p}, image(4, 4)).mean()))(params)
    assert all(np.abs(grads[name]["bias"]).min() > 0 for name in ("sub_mean", "add_mean"))


@pytest.mark.parametrize("name", SMALL)
def test_what_depends_on_the_scale_lies_in_the_upsampler(name):
    two, three = (abstract_variables(create_model(name, s, **SMALL[name])) for s in (2, 3))
    differing = {key for key, part in two["params"].items() if part != three["params"][key]}
    assert differing == {"upsampler"}


def test_configuration_a():
    """Narrower layers than the features between blocks, which the upsampler leads to."""
    shapes = abstract_variables(create_model("rdn_a", 4))["params"]["upsampler"]
    assert shapes["conv_1"]["kernel"].shape == (3, 3, 64, 4 * 32)
    assert shapes["conv_2"]["kernel"].shape == (3, 3, 32, 4 * 32)
    assert shapes["conv_3"]["kernel"].shape == (3, 3, 32, 3)
