"""The fused residual block against the plain one, as the paper has it: values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax import kernels
from lnln_jax.models import layers
from lnln_jax.models.fused_block import FusedResidualBlock, best_block
from lnln_jax.models.residual_groups import ResidualBlock

# Of the norm, in float64: roundings of 1e-16 in sums whose terms cancel. Measured: 2e-14, where
# float32 anywhere on the way would be 1e-7.
FLOAT64 = 1e-12


def block(kind, conv, project, dtype):
    return kind(
        8,
        conv=partial(conv, dtype=dtype),
        norm=layers.BatchNorm,
        attend=partial(layers.ChannelAttention, 4, dtype=dtype),
        project=partial(layers.Conv, kernel_size=1, dtype=dtype) if project else None,
    )


def shapes_of(module):
    x = jnp.zeros((1, 4, 4, 8), jnp.float32)
    return jax.eval_shape(partial(module.init, train=True), jax.random.key(0), x)


def variables_like(shapes, rng):
    """Variables in which nothing is 0 or 1, so that every one of them matters."""
    return jax.tree.map(lambda leaf: rng.uniform(0.2, 0.9, leaf.shape) / leaf.size**0.3, shapes)


def results(module, variables, x, train):
    """The output, the statistics that it leaves, and the gradients of everything."""

    def forward(params, x):
        rest = {"params": params, "batch_stats": variables["batch_stats"]}
        return module.apply(rest, x, train=train, mutable=["batch_stats"])

    out, pull, changed = jax.vjp(forward, variables["params"], x, has_aux=True)
    return out, changed, pull(jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("conv", [layers.Conv, layers.DepthwiseSeparableConv])
def test_fused_is_plain(conv, project, train):
    rng = np.random.default_rng(0)
    variables = variables_like(shapes_of(block(ResidualBlock, conv, project, jnp.float32)), rng)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(2, 6, 5, 8)))
        plain, fused = (
            block(kind, conv, project, jnp.float64) for kind in (ResidualBlock, FusedResidualBlock)
        )
        variables = jax.tree.map(jnp.asarray, variables)
        expected = jax.device_get(results(plain, variables, x, train))
        actual = jax.device_get(results(fused, variables, x, train))
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    scale = max(np.linalg.norm(leaf) for leaf in jax.tree.leaves(expected[2]))
    for (path, a), (_, b) in zip(
        *(jax.tree_util.tree_leaves_with_path(t) for t in (actual, expected)), strict=True
    ):
        assert a.dtype == b.dtype == np.float64
        # The gradients of biases before a normalisation in training are 0 but for rounding.
        name = jax.tree_util.keystr(path)
        cancelled = train and "conv" in name and name.endswith("['bias']")
        bound = FLOAT64 * (scale if cancelled else np.linalg.norm(b))
        assert np.linalg.norm(a - b) <= bound, name


def test_parameters_are_the_same():
    plain, fused = (
        shapes_of(block(kind, layers.Conv, True, jnp.float32))
        for kind in (ResidualBlock, FusedResidualBlock)
    )
    assert plain == fused


def test_the_switch_of_the_kernels_chooses():
    with kernels.using("plain"):
        assert best_block() is ResidualBlock
    with kernels.using("tuned"):
        assert best_block() is FusedResidualBlock
