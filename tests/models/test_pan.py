"""PAN: behaviour of the network and of its upsampler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.layers import Conv
from lnln_jax.models.pan import UpsamplingBlock
from lnln_jax.models.variables import abstract_variables, initialize
from tests.models.test_networks import apply, image

SMALL = {"n_resblocks": 2, "n_feats": 8, "n_upsampler_feats": 4}


def test_gradients_of_bfloat16_are_float32():
    module = create_model("pan", dtype=jnp.bfloat16, **SMALL)
    variables = abstract_variables(module)
    lr = jax.ShapeDtypeStruct((1, 5, 7, 3), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        sr, grads = jax.eval_shape(
            jax.value_and_grad(lambda v, x: module.apply(v, x).mean()), variables, lr
        )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((sr, variables, grads)))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(2, [0, 25, 75, 85, 55, 40]), (3, [0, 0, 100 / 3, 200 / 3, 100, 80, 60, 40, 40])],
)
def test_without_weights_it_interpolates_bilinearly(scale, expected):
    """As `torch.nn.functional.interpolate` does: half-pixel centres, edges repeated."""
    module = create_model("pan", scale, **SMALL)
    variables = abstract_variables(module)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), variables)
    lr = jnp.broadcast_to(jnp.float32([0, 100, 40])[:, None], (1, 2, 3, 3))
    sr = apply(module, zeros, lr)
    # Divided by 255 and multiplied again: some units of 2**-23 of 100.
    for rows in sr[0, ..., 0], sr[0, ..., 2]:
        np.testing.assert_allclose(rows, np.float32([expected] * 2 * scale), atol=2e-5)


def test_bfloat16_is_near():
    variables = initialize(create_model("pan", **SMALL), 0)
    full, half = (
        apply(create_model("pan", dtype=dtype, **SMALL), variables, image(8, 8))
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    zeros = jax.tree.map(jnp.zeros_like, variables)
    correction = full - apply(create_model("pan", **SMALL), zeros, image(8, 8))
    # 8 bits through ten layers: a few percent of what the network adds to the interpolation.
    assert 0 < np.abs(half - full).max() < 0.03 * np.abs(correction).max()


def test_nearest_neighbours_come_before_the_convolutions():
    block = UpsamplingBlock(1, 2, Conv)
    x = jnp.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    params = block.init(jax.random.key(0), x)["params"]
    zeros = jax.tree.map(jnp.zeros_like, params)
    centre = zeros["conv_1"]["kernel"].at[1, 1].set(1)
    kept = {name: {**zeros[name], "kernel": centre} for name in ("conv_1", "conv_2")}
    y = block.apply({"params": {**zeros, **kept}}, x)  # attention: the sigmoid of 0
    expected = 0.5 * np.kron([[1, 2], [3, 4]], np.ones((2, 2)))
    np.testing.assert_array_equal(y[0, :, :, 0], expected)


def test_x4_has_two_blocks_and_others_one():
    params = [abstract_variables(create_model("pan", scale))["params"] for scale in (2, 3, 4)]
    assert params[0] == params[1]
    assert params[2]["upsampler"].keys() == {"block_1", "block_2"}


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="n_feats is 7; its halves are a block's branches"):
        create_model("pan", n_feats=7)
