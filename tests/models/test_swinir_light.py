"""SwinIR-light: windows, sizes of inputs, stochastic depth, and what it costs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_activations, count_multiply_adds, receptive_field
from lnln_jax.models.stochastic_depth import batch_key, drop_path
from lnln_jax.models.variables import abstract_variables, initialize
from lnln_jax.models.window_attention import (
    SHIFT,
    from_windows,
    relative_positions,
    shifted_mask,
    to_windows,
)

TINY = {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 8, "n_heads": 2}


def image(height, width, seed=0, batch=1):
    shape = (batch, height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)


def tiny(**options):
    """A small network of random weights, all of which are large enough to matter."""
    module, rng = create_model("swinir_light", 2, **TINY, **options), np.random.default_rng(0)

    def draw(leaf):
        return rng.normal(0, 0.2, leaf.shape).astype(np.float32)

    return module, jax.tree.map(draw, abstract_variables(module))


@partial(jax.jit, static_argnums=0, static_argnames="train")
def apply(module, variables, lr, train=False):
    return module.apply(variables, lr, train=train)


# ---- windows ----


def test_windows_are_cut_row_by_row():
    x = np.arange(16 * 24).reshape(1, 16, 24, 1)
    windows = to_windows(x)
    assert windows.shape == (1, 6, 64, 1)
    np.testing.assert_array_equal(windows[0, 4].reshape(8, 8), x[0, 8:, 8:16, 0])
    np.testing.assert_array_equal(from_windows(windows, 16), x)


def test_relative_positions_by_hand():
    index = relative_positions()
    query, key = 8 * 2 + 5, 8 * 6 + 3  # row 2, column 5; row 6, column 3
    assert index[query, key] == (2 - 6 + 7) * 15 + (5 - 3 + 7)
    assert index[0, 63] == 0
    assert (np.diag(index) == 7 * 15 + 7).all()


def test_the_mask_keeps_opposite_edges_apart():
    """Of 16x8 pixels: the first window lies within the image, the second across its ends."""
    first, second = np.asarray(shifted_mask(16, 8, SHIFT)).reshape(2, 8, 8, 8, 8)
    left, right = np.arange(8) < 4, np.arange(8) >= 4
    same = (left[:, None] & left) | (right[:, None] & right)
    allowed = np.broadcast_to(same[None, :, None], (8, 8, 8, 8))  # columns alone
    np.testing.assert_array_equal(first, np.where(allowed, 0, -100))
    np.testing.assert_array_equal(second, np.where(allowed & same[:, None, :, None], 0, -100))


def test_a_single_window_is_shifted_and_masked_too():
    assert (np.asarray(shifted_mask(8, 8, SHIFT)) < 0).sum() == 64 * 48


# ---- sizes ----


def test_inputs_are_filled_by_reflection():
    """As an input of whole windows that is mirrored without repeating its edge."""
    module, variables = tiny()
    size = (5, 12)
    lr = image(*size)
    filled = np.pad(lr, [(0, 0), (0, -size[0] % 8), (0, -size[1] % 8), (0, 0)], "reflect")
    sr, whole = apply(module, variables, lr), apply(module, variables, filled)
    assert sr.shape == (1, 2 * size[0], 2 * size[1], 3)
    np.testing.assert_array_equal(sr, whole[:, : sr.shape[1], : sr.shape[2]])


@pytest.mark.parametrize("size", [(4, 8), (9, 4)])
def test_smaller_inputs_are_refused(size):
    module = create_model("swinir_light", **TINY)
    with pytest.raises(ValueError, match=f"is {size[0]}x{size[1]} pixels; .* at least 5x5 pixels"):
        jax.eval_shape(module.init, jax.random.key(0), image(*size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_feats": 50}, "n_feats is 50, which n_heads 6 cannot share equally"),
        ({"drop_path": 1.0}, "drop_path is 1.0; it must be below 1"),
        ({"drop_path": -0.1}, "drop_path is -0.1"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        create_model("swinir_light", **options)


# ---- dtypes ----


def test_bfloat16_and_strict_promotion():
    module, variables = tiny(dtype=jnp.bfloat16)
    full = create_model("swinir_light", 2, **TINY)
    shapes = jax.tree.leaves(abstract_variables(module))
    assert all(leaf.dtype == jnp.float32 for leaf in shapes)
    with jax.numpy_dtype_promotion("strict"):
        sr = apply(module, variables, image(8, 8))
    assert sr.dtype == jnp.float32
    expected = apply(full, variables, image(8, 8))
    # 8 bits through some twenty layers: a percent or two of the deviation from the mean.
    assert 0 < np.abs(sr - expected).max() < 0.03 * np.abs(expected - 114).max()


@pytest.mark.slow
def test_gradients_in_bfloat16():
    """All finite, and no parameter is left out."""
    module, variables = tiny(dtype=jnp.bfloat16, drop_path=0.1)
    with jax.numpy_dtype_promotion("strict"):
        grads = jax.jit(
            jax.grad(lambda v: jnp.abs(module.apply(v, image(8, 8), train=True)).mean())
        )
        leaves = jax.tree.leaves(grads(variables))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert all(np.any(leaf) for leaf in leaves)


# ---- stochastic depth ----


def test_dropping_keeps_the_mean():
    x = jnp.ones((20_000, 1, 1, 1))
    y = np.asarray(drop_path(x, jax.random.key(0), jnp.float32(0.3)))
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1) / np.float32(0.7))}
    deviation = (0.3 / 0.7 / len(x)) ** 0.5
    assert abs(y.mean() - 1) < 4 * deviation


def test_whole_images_are_dropped():
    x = jnp.ones((64, 3, 4, 5), jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        y = drop_path(x, jax.random.key(1), jnp.float32(0.5))
    assert y.dtype == jnp.bfloat16
    y = np.asarray(y, np.float32)
    assert (y.reshape(64, -1) == y[:, :1, 0, 0]).all()
    assert 0 < (y == 0).mean() < 1


def test_the_key_is_that_of_the_batch():
    batch = image(8, 8, batch=2)
    key, again = (jax.random.key_data(batch_key(lr)) for lr in (batch, batch.copy()))
    other = jax.random.key_data(batch_key(image(8, 8, seed=1, batch=2)))
    np.testing.assert_array_equal(key, again)
    assert (key != other).any()


def test_training_drops_alike_for_the_same_batch():
    module, variables = tiny(drop_path=0.9)
    batch = image(8, 8, batch=8)
    first, second = (apply(module, variables, batch, train=True) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    # Each image by its own lots: of equal images not all results are equal.
    alike = np.broadcast_to(batch[:1], batch.shape)
    results = np.asarray(apply(module, variables, alike, train=True))
    assert len({sr.tobytes() for sr in results}) > 1


def test_nothing_is_dropped_in_inference_nor_without_a_rate():
    always, variables = tiny(drop_path=0.9)
    never, _ = tiny(drop_path=0.0)
    batch = image(8, 8, batch=8)
    sr = apply(always, variables, batch)
    np.testing.assert_array_equal(apply(never, variables, batch, train=True), sr)
    dropped = apply(always, variables, batch, train=True)
    assert np.abs(dropped - sr).max() > 1


# ---- what it costs, beside the authors' module ----


@pytest.mark.parametrize(
    ("scale", "convolution", "attention"), [(2, 198.4, 42.5), (3, 90.1, 19.1), (4, 51.9, 10.9)]
)
def test_multiply_adds(scale, convolution, attention):
    shape = (720, 1281) if scale == 3 else (720, 1280)
    counts = count_multiply_adds(create_model("swinir_light", scale), shape)
    assert round(counts["convolution"] / 1e9, 1) == convolution
    assert round(counts["attention"] / 1e9, 1) == attention


def test_linear_layers_are_no_convolutions():
    counts = count_activations(create_model("swinir_light", 2), (128, 128))
    assert counts == {"convolutions": 7, "activations": 64 * 64 * (6 * 60 + 12)}


@pytest.mark.parametrize(("groups", "blocks"), [(2, 2), pytest.param(4, 6, marks=pytest.mark.slow)])
def test_receptive_field(groups, blocks):
    """The columns that an output column depends on, layer by layer from the last to the first."""

    def seen(column):
        first = last = column
        for layer in ["conv", "conv", *["conv", *[SHIFT, 0] * (blocks // 2)] * groups, "conv"]:
            if layer == "conv":
                first, last = first - 1, last + 1
            else:  # whole windows
                first = (first - layer) // 8 * 8 + layer
                last = (last - layer) // 8 * 8 + layer + 7
        return last - first + 1

    module = create_model("swinir_light", 2, n_resgroups=groups, n_resblocks=blocks)
    expected = {(2, 2): 42, (4, 6): 202}[groups, blocks]
    assert max(seen(column) for column in range(8)) == expected
    assert receptive_field(module) == expected


def test_initial_weights():
    """Linear layers and tables with a deviation of 0.02, biases zero, LayerNorms the identity."""
    params = initialize(create_model("swinir_light", 2, n_resgroups=1, n_resblocks=2), 0)["params"]
    blocks = params["groups"]["blocks"]
    drawn = blocks["attention"]["qkv"]["kernel"], blocks["mlp_1"]["kernel"]
    for kernel in (*drawn, blocks["attention"]["bias_table"]):
        assert float(kernel.std()) == pytest.approx(0.02, rel=0.05)  # 2,700 draws or more
    assert not np.any(blocks["mlp_2"]["bias"])
    assert not np.array_equal(drawn[0][0, 0], drawn[0][0, 1])
    np.testing.assert_array_equal(params["norm"]["scale"], np.ones(60))
