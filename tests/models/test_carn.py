"""CARN and CARN-M: what they share, and several scales in one."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.layers import DIV2K_MEAN
from lnln_jax.models.variables import abstract_variables, initialize
from tests.models.test_networks import apply, image

SMALL = {"carn": {"n_feats": 8}, "carn_m": {"n_feats": 8, "groups": 2}}


@cache
def drawn(name):
    return initialize(create_model(name, n_scales=3, **SMALL[name]), 0)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_of_bfloat16_are_float32(name):
    module = create_model(name, dtype=jnp.bfloat16, **SMALL[name])
    variables = abstract_variables(module)
    lr = jax.ShapeDtypeStruct((1, 5, 7, 3), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        sr, grads = jax.eval_shape(
            jax.value_and_grad(lambda v, x: module.apply(v, x).mean()), variables, lr
        )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((sr, variables, grads)))


@pytest.mark.parametrize("name", ["carn_m", pytest.param("carn", marks=pytest.mark.slow)])
def test_bfloat16_is_near(name):
    full, half = (
        apply(create_model(name, dtype=dtype, n_scales=3, **SMALL[name]), drawn(name), image(8, 8))
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    # 8 bits through some twenty layers: a percent of the deviation from the mean.
    mean = np.float32(DIV2K_MEAN)
    assert 0 < np.abs(half - full).max() < 0.03 * np.abs(full - mean).max()


def test_a_recursive_block_has_one_unit():
    params = abstract_variables(create_model("carn_m"))["params"]
    for i in (1, 2, 3):
        assert params[f"block_{i}"].keys() == {"unit", "fuse_1", "fuse_2", "fuse_3"}


@pytest.mark.parametrize("name", SMALL)
def test_all_scales_in_one_have_parameters_from_the_start(name):
    options = {"n_scales": 3, **SMALL[name]}
    shapes = [abstract_variables(create_model(name, scale, **options)) for scale in (2, 3, 4)]
    assert shapes[0]["params"]["upsampler"].keys() == {"x2", "x3", "x4"}
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_scale_uses_its_own_upsampler_alone():
    module, variables = create_model("carn", 3, n_scales=3, **SMALL["carn"]), drawn("carn")
    own = {"params": {**variables["params"], "upsampler": variables["params"]["upsampler"]["x3"]}}
    alone = apply(create_model("carn", 3, **SMALL["carn"]), own, image(4, 5))
    np.testing.assert_array_equal(apply(module, variables, image(4, 5)), alone)
    used = variables["params"]["upsampler"]["x2"]
    without = {"params": {**variables["params"], "upsampler": {"x2": used}}}
    assert apply(module.clone(scale=2), without, image(4, 5)).shape == (1, 8, 10, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("carn", {"n_scales": 2}, r"n_scales is 2; it must be 1 or 3 \(x2, x3 and x4\)"),
        ("carn_m", {"n_scales": 4}, "n_scales is 4; it must be 1 or 3"),
        ("carn_m", {"n_feats": 10}, "n_feats is 10, which groups 4 cannot share"),
        ("carn", {"groups": 2}, "carn has no hyper-parameter 'groups'"),
    ],
)
def test_wrong_hyper_parameters_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, **options)
