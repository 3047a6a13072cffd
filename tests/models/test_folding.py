"""Folded batch normalisation against the network that normalises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lnln_jax.models import create_model
from lnln_jax.models.folding import fold_batch_norm
from lnln_jax.models.variables import initialize

SMALL = {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 16, "reduction": 4}


def trained_looking(name):
    """A small network whose statistics and normalisations are far from their initial values."""
    module = create_model(name, **SMALL)
    rng = np.random.default_rng(0)
    variables = jax.device_get(initialize(module, 0))
    stats = {
        "mean": lambda x: rng.normal(size=x.shape),
        "var": lambda x: rng.gamma(2, size=x.shape),
    }
    stats |= {"scale": lambda x: rng.normal(1, 0.3, x.shape)}
    drawn = jax.tree_util.tree_map_with_path(
        lambda path, x: np.float32(stats.get(path[-1].key, lambda x: x)(x)), variables
    )
    return module, drawn


@pytest.mark.parametrize("name", ["lnln", "drca"])
def test_a_folded_network_computes_the_same(name):
    module, variables = trained_looking(name)
    folded, weights = fold_batch_norm(module, variables)
    lr = jnp.asarray(np.random.default_rng(1).uniform(0, 255, (2, 11, 8, 3)), jnp.float32)
    expected = jax.jit(module.apply)(variables, lr)
    sr = jax.jit(folded.apply)(weights, lr)
    changed = jax.jit(module.apply)(
        {
            **variables,
            "batch_stats": jax.tree.map(lambda x: x * np.float32(1.01), variables["batch_stats"]),
        },
        lr,
    )
    # A few units of the last place, which is that of the mean shift; a statistic off by 1 % shows.
    bound = 1e-6 * np.abs(expected).max()
    assert np.abs(sr - expected).max() < bound
    assert np.abs(sr - changed).max() > 10 * bound


def test_nothing_of_the_normalisation_is_left():
    module, variables = trained_looking("lnln")
    folded, weights = fold_batch_norm(module, variables)
    paths = flatten_dict(weights, sep="/")
    assert not any("norm" in path or "batch_stats" in path for path in paths)
    shapes = jax.eval_shape(folded.init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    assert jax.tree.map(jnp.shape, weights) == jax.tree.map(jnp.shape, shapes)
    assert all(x.dtype == jnp.float32 for x in paths.values())


def test_the_weights_given_are_left_alone():
    module, variables = trained_looking("lnln")
    before = jax.tree.map(np.copy, variables)
    fold_batch_norm(module, variables)
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def test_networks_without_normalisation_stay_as_they_are():
    module = create_model("edsr", n_resblocks=1, n_feats=4)
    variables = initialize(module, 0)
    assert fold_batch_norm(module, variables) == (module, variables)
    folded = fold_batch_norm(*trained_looking("lnln"))
    assert fold_batch_norm(*folded) == folded


def test_folding_is_no_hyper_parameter():
    with pytest.raises(ValueError, match="no hyper-parameter 'normalize'"):
        create_model("lnln", normalize=False)


def test_a_folded_network_does_not_train():
    module, variables = fold_batch_norm(*trained_looking("lnln"))
    with pytest.raises(ValueError, match="cannot train"):
        module.apply(variables, jnp.zeros((1, 4, 4, 3)), train=True, mutable=["batch_stats"])
