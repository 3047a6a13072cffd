"""Initial weights need uniform draws, independent between keys; these are fixed, not flaky."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.models.prng import hash_key

COUNT = 2**18


def draws(keys: jax.Array, count: int = 4096) -> np.ndarray:
    """Uniform numbers, `keys count`."""
    return np.asarray(jax.jit(jax.vmap(lambda key: jax.random.uniform(key, (count,))))(keys))


def assert_uncorrelated(rows: np.ndarray) -> None:
    """No two rows correlate by more than five standard deviations of chance."""
    correlations = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlations).max() < 5 / np.sqrt(rows.shape[1])


def chi_square(values: np.ndarray, bins: int) -> float:
    """Standard deviations by which integers in [0, bins) are off an even distribution."""
    counts, expected = np.bincount(values, minlength=bins), len(values) / bins
    return (((counts - expected) ** 2 / expected).sum() - (bins - 1)) / np.sqrt(2 * (bins - 1))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_uniform_numbers_are_uniform(seed):
    values = np.asarray(jax.random.uniform(hash_key(seed), (COUNT,)), np.float64)
    assert values.min() >= 0
    assert values.max() < 1
    deviation = np.sqrt(1 / 12 / COUNT)
    assert abs(values.mean() - 0.5) < 4 * deviation
    assert abs(values.std() - np.sqrt(1 / 12)) < 4 * deviation
    assert abs(chi_square((values * 1024).astype(int), 1024)) < 5
    pairs = (values.reshape(-1, 2) * 32).astype(int)  # neighbours fill the square evenly
    assert abs(chi_square(pairs[:, 0] * 32 + pairs[:, 1], 1024)) < 5


def test_every_bit_is_a_fair_coin():
    words = np.asarray(jax.random.bits(hash_key(3), (COUNT // 8,), jnp.uint32))
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(len(words))
    assert_uncorrelated(bits.T.astype(float))
    assert abs(chi_square(words & 0xFF, 256)) < 5


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    values = np.asarray(jax.random.normal(hash_key(4), (COUNT,)), np.float64)
    for power, moment in [(1, 0), (2, 1), (3, 0), (4, 3)]:
        deviation = np.sqrt(np.var(values**power) / COUNT)
        assert abs((values**power).mean() - moment) < 4 * deviation


def test_a_stream_does_not_repeat_itself():
    values = np.asarray(jax.random.uniform(hash_key(5), (COUNT,)), np.float64) - 0.5
    power = np.abs(np.fft.rfft(values)) ** 2
    correlations = np.fft.irfft(power)[1 : COUNT // 2] / (values**2).sum()
    assert np.abs(correlations).max() < 6 / np.sqrt(COUNT)  # of 131 000 lags
    words = np.asarray(jax.random.bits(hash_key(5), (COUNT,), jnp.uint32))
    assert len(np.unique(words)) == COUNT  # a bijection of the position


def test_keys_are_independent():
    root = hash_key(0)
    seeds = jax.vmap(hash_key)(jnp.arange(32))
    folds = jax.vmap(lambda index: jax.random.fold_in(root, index))(jnp.arange(32))
    grandchildren = jax.random.split(jax.random.fold_in(root, 7), 32)
    assert_uncorrelated(draws(jnp.concatenate([seeds, folds, grandchildren])))


def test_many_keys_do_not_collide():
    keys = jax.random.split(hash_key(0), 300_000)
    first = jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys)
    assert len(np.unique(np.asarray(first), axis=0)) == len(keys)


def test_draws_are_the_same_alone_compiled_and_in_a_batch():
    keys = jax.random.split(hash_key(6), 3)
    batched = draws(keys, 10)
    for key, row in zip(keys, batched, strict=True):
        np.testing.assert_array_equal(jax.random.uniform(key, (10,)), row)
        np.testing.assert_array_equal(jax.random.uniform(key, (2, 5)).ravel(), row)
    np.testing.assert_array_equal(draws(jax.random.split(hash_key(6), 3), 10), batched)


def test_other_widths_are_refused():
    with pytest.raises(ValueError, match="bit_width is 16; this generator draws 32 bits"):
        jax.random.bits(hash_key(0), (2,), jnp.uint16)


@pytest.mark.slow
def test_a_seed_is_a_network():
    module = create_model("lnln", n_resgroups=1, n_resblocks=2, n_feats=16, reduction=4)
    shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    initialize = jax.jit(lambda key: module.lazy_init(key, shape)["params"])
    one, other = (initialize(hash_key(seed)) for seed in (1, 2))
    drawn = [
        (a.ravel(), b.ravel())
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        if len(np.unique(a)) > 1  # not the zeros and ones of biases and norms
    ]
    assert sum(len(a) for a, _ in drawn) > 4000
    for a, b in drawn:
        assert not np.intersect1d(a, b).size
    a, b = (
        np.concatenate([(x - x.mean()) / x.std() for x in column])
        for column in zip(*drawn, strict=True)
    )
    assert_uncorrelated(np.stack([a, b, np.roll(a, 1), np.roll(b, 1)]))
    assert len(np.unique(np.concatenate([a, b]))) > 0.99 * 2 * len(a)  # no layer copies another
