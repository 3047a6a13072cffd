"""WDSR and weight normalisation: how they begin, and what a direction's length means."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_parameters, receptive_field
from lnln_jax.models.layers import DIV2K_MEAN, Conv
from lnln_jax.models.variables import abstract_variables, initialize
from lnln_jax.models.weight_norm import WeightNormConv

SMALL = {
    "wdsr_a": {"n_resblocks": 2, "n_feats": 6, "block_feats": 8},
    "wdsr_b": {"n_resblocks": 2, "n_feats": 6, "block_feats": 8, "low_rank_feats": 4},
    "wdsr_reloaded": {"n_resblocks": 2, "n_feats": 6, "block_feats": 8},
}


@partial(jax.jit, static_argnums=0)
def apply(module, variables, lr):
    return module.apply(variables, lr)


def image(height, width):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(0, 255, (1, height, width, 3)), jnp.float32)


# ---- weight normalisation ----


@pytest.mark.parametrize("size", [1, 3, 5])
def test_it_begins_as_an_ordinary_convolution(size):
    module, x = WeightNormConv(4, size), image(6, 5)
    params = module.init(jax.random.key(0), x)["params"]
    plain = {"kernel": params["direction"], "bias": params["bias"]}
    expected = Conv(4, size).apply({"params": plain}, x)
    # Divided by its length and multiplied by it: two roundings of each weight.
    np.testing.assert_allclose(module.apply({"params": params}, x), expected, rtol=0, atol=1e-4)
    bound = (size**2 * 3) ** -0.5
    assert 0 < np.abs(params["bias"]).max() <= bound


def test_the_length_of_a_direction_means_nothing():
    module, x = WeightNormConv(4), image(6, 5)
    params = module.init(jax.random.key(0), x)["params"]
    longer = {**params, "direction": params["direction"] * jnp.array([0.5, 2, 4, 8])}  # exact
    y = module.apply({"params": params}, x)
    np.testing.assert_array_equal(module.apply({"params": longer}, x), y)
    gained = {**params, "gain": 2 * params["gain"], "bias": 2 * params["bias"]}
    np.testing.assert_array_equal(module.apply({"params": gained}, x), 2 * y)


def test_the_gradient_of_a_direction_is_at_right_angles_to_it():
    module, x = WeightNormConv(4), image(6, 5)
    params = module.init(jax.random.key(0), x)["params"]
    grads = jax.grad(lambda p: jnp.square(module.apply({"params": p}, x)).mean())(params)
    along = (grads["direction"] * params["direction"]).sum((0, 1, 2))
    lengths = (
        jnp.linalg.norm(g.reshape(-1, 4), axis=0) for g in (grads["direction"], params["direction"])
    )
    assert np.abs(along / np.prod(list(lengths), axis=0)).max() < 1e-5


def test_a_given_start():
    params = WeightNormConv(4, start=2.0).init(jax.random.key(0), image(6, 5))["params"]
    np.testing.assert_array_equal(params["gain"], np.full(4, 2, np.float32))
    np.testing.assert_array_equal(params["bias"], np.zeros(4))
    assert np.abs(params["direction"]).max() > 0.1


# ---- the networks ----


@pytest.mark.parametrize(
    ("n_resblocks", "of_a", "of_b"),
    [
        (1, 79_380, 84_250),
        (3, 227_476, 233_318),
        (5, 375_572, 382_386),
        (8, 597_716, 605_988),
    ],
)
def test_published_counts_of_other_depths(n_resblocks, of_a, of_b):
    found = [
        count_parameters(create_model(n, n_resblocks=n_resblocks)) for n in ("wdsr_a", "wdsr_b")
    ]
    assert found == [of_a, of_b]


def test_the_published_count_of_the_large_form():
    count = count_parameters(create_model("wdsr_reloaded_large"))
    assert round(count / 1e6, 1) == 37.8


@pytest.mark.parametrize(("name", "side"), [("wdsr_a", 2 * 6 + 1), ("wdsr_b", 2 * 4 + 1)])
def test_receptive_field(name, side):
    """1 pixel to each side of the head, 2 or 1 of each block, 1 of the tail."""
    assert receptive_field(create_model(name, **SMALL[name])) == side


def test_the_later_form_begins_with_given_gains():
    module = create_model("wdsr_reloaded", **{**SMALL["wdsr_reloaded"], "n_resblocks": 4})
    params = initialize(module, 0)["params"]
    starts = {"head": 1, "tail": 1, "skip": 1}
    for name, start in starts.items():
        assert set(np.unique(params[name]["gain"])) == {start}
    for name, start in {"expand": 2, "shrink": 0.5}.items():
        layer = params["blocks"][name]
        assert layer["gain"].shape[0] == 4
        assert set(np.unique(layer["gain"])) == {start}
        assert not np.array_equal(layer["direction"][0], layer["direction"][1])
        assert not layer["bias"].any()


@pytest.mark.parametrize(
    ("name", "middle"), [("wdsr_a", DIV2K_MEAN), ("wdsr_b", DIV2K_MEAN), ("wdsr_reloaded", 127.5)]
)
def test_without_gains_the_middle_of_the_range_comes_out(name, middle):
    module = create_model(name, 3, **SMALL[name])
    params = initialize(module, 0)["params"]
    zeroed = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if path[-1].key == "direction" else 0 * leaf, params
    )
    sr = apply(module, {"params": zeroed}, image(4, 5))
    np.testing.assert_array_equal(sr, np.broadcast_to(np.float32(middle), (1, 12, 15, 3)))


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_under_strict_promotion(name):
    """8 bits through nine layers: a percent of the deviation from the middle."""
    half = create_model(name, dtype=jnp.bfloat16, **SMALL[name])
    variables = initialize(half, 0)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    with jax.numpy_dtype_promotion("strict"):
        sr = apply(half, variables, image(8, 8))
    expected = apply(create_model(name, **SMALL[name]), variables, image(8, 8))
    assert sr.dtype == expected.dtype == jnp.float32
    assert 0 < np.abs(sr - expected).max() < 0.02 * np.abs(expected - 120).max()


def test_res_scale_scales_the_residual():
    options, x = SMALL["wdsr_b"], image(6, 6)
    variables = initialize(create_model("wdsr_b", **options), 0)
    scaled = apply(create_model("wdsr_b", res_scale=2.0**-40, **options), variables, x)
    params = variables["params"]
    last = params["blocks"]["conv"]
    silent = {**last, "gain": 0 * last["gain"], "bias": 0 * last["bias"]}
    without = {**params, "blocks": {**params["blocks"], "conv": silent}}
    expected = apply(create_model("wdsr_b", **options), {"params": without}, x)
    np.testing.assert_array_equal(scaled, expected)
    assert np.abs(apply(create_model("wdsr_b", **options), variables, x) - scaled).max() > 1e-3


def test_what_depends_on_the_scale_lies_in_the_tail_and_the_skip():
    for name, options in SMALL.items():
        two, four = (abstract_variables(create_model(name, s, **options)) for s in (2, 4))
        differing = {key for key, part in two["params"].items() if part != four["params"][key]}
        assert differing == {"tail", "skip"}
