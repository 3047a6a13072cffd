"""SAN: its second-order attention, what it sees of large and of flat images, and its sizes."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.san import covariance, second_order_statistic, square_root
from lnln_jax.models.variables import initialize
from tests.support.small_networks import OPTIONS


def features(*shape, seed=0):
    return np.random.default_rng(seed).normal(3, 10, shape).astype(np.float32)


@cache
def small(**options):
    module = create_model("san", 2, **OPTIONS["san"], **options)
    variables = initialize(module, 0)
    variables["params"]["gamma"] += 0.3
    variables["params"]["non_local"]["w"]["kernel"] += 0.02
    return module, variables


@jax.jit
def statistic(x):
    return second_order_statistic(x)


def test_the_covariance_is_that_of_the_positions():
    x = features(2, 7, 5, 6)
    expected = [np.cov(image.reshape(-1, 6).astype(float).T, bias=True) for image in x]
    np.testing.assert_allclose(covariance(x), expected, rtol=1e-5, atol=1e-5 * np.max(expected))


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((1005, 4), np.s_[2:1002, :]),
        ((3, 1003), np.s_[:, 1:1001]),
        ((1000, 4), np.s_[:, :]),  # where the authors' code would take the end of the columns
        ((4, 999), np.s_[:, :]),
        ((1002, 1001), np.s_[1:1001, :1000]),
    ],
)
def test_of_large_images_the_middle_counts(shape, seen):
    x = features(1, *shape, 2)
    np.testing.assert_allclose(covariance(x), covariance(x[:, *seen]), rtol=1e-6)
    assert np.abs(covariance(x) - covariance(x[:, 1:, 1:])).max() > 1e-4


def test_the_square_root_is_one():
    """After five steps, for matrices whose eigenvalues are of a size."""
    matrix = np.stack([np.cov(features(4, 400, seed=seed)) for seed in range(2)])
    root = np.asarray(square_root(matrix.astype(np.float32)))
    np.testing.assert_allclose(root @ root, matrix, rtol=0, atol=1e-4 * matrix.max())


def test_features_of_any_size_have_the_same_gate():
    """The root is as exact for features in the thousandths as in the millions."""
    x = features(1, 6, 6, 8)
    for factor in (2.0**-20, 2.0**20):
        np.testing.assert_allclose(statistic(factor * x), factor * statistic(x), rtol=1e-5)


def test_constant_features_are_no_nan():
    """They divide by zero in the published form; here the statistic is zero, with a gradient."""
    x = np.full((1, 4, 8, 4), 7, np.float32)  # so many that their mean is exact
    assert not np.asarray(statistic(x)).any()
    gradient = jax.grad(lambda x: second_order_statistic(x).sum())(x)
    assert np.isfinite(gradient).all()


def test_flat_images_come_out_finite():
    module, variables = small()
    apply = jax.jit(module.apply)
    for value in (0, 114, 255):
        lr = np.full((1, 8, 8, 3), value, np.float32)
        assert np.isfinite(apply(variables, lr)).all()
    zeros = jax.tree.map(jnp.zeros_like, variables)
    zeros["params"]["add_mean"]["bias"] += 100
    sr = apply(zeros, features(1, 8, 8, 3))
    np.testing.assert_array_equal(sr, np.full((1, 16, 16, 3), 100, np.float32))


def test_bfloat16_keeps_float32_parameters_output_and_covariances():
    lr = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)
    module, variables = small()
    half, drawn = small(dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {jnp.dtype(jnp.float32)}
    sr = jax.jit(half.apply)(variables, lr)
    assert sr.dtype == jnp.float32
    expected = jax.jit(module.apply)(variables, lr)
    # 8 bits through some twenty layers: a percent of the deviation from the mean.
    assert 0 < np.abs(sr - expected).max() < 0.03 * np.abs(expected - 114).max()
    assert second_order_statistic(lr.astype(jnp.bfloat16)).dtype == jnp.float32


def test_every_parameter_has_a_finite_gradient():
    module, variables = small()
    lr = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)

    def loss(params):
        return jnp.abs(module.apply({"params": params}, lr, train=True)).mean()

    grads = jax.jit(jax.grad(loss))(variables["params"])
    assert all(np.isfinite(grad).all() for grad in jax.tree.leaves(grads))
    flat = jax.tree_util.tree_leaves_with_path(grads)
    still = [jax.tree_util.keystr(path) for path, grad in flat if not np.abs(grad).max() > 0]
    assert not still


@pytest.mark.parametrize("size", [(3, 9), (9, 3)])
def test_too_small_images_are_refused(size):
    module, variables = small()
    lr = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    with pytest.raises(ValueError, match="at least 4x4 pixels"):
        jax.eval_shape(module.apply, variables, lr)


def test_sizes_that_leave_no_channel_are_refused():
    with pytest.raises(ValueError, match=r"n_feats is 7; with reduction 4 it must be at least 8"):
        create_model("san", n_feats=7, reduction=4)
    with pytest.raises(ValueError, match=r"n_feats is 8; .* at least 16"):
        create_model("san", n_feats=8)
