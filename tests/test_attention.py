import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax import attention
from lnln_jax.attention import attend, attend_dense, attend_in_blocks, region_attention


def draw(*shape, count=3, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(count)]


def by_equation(theta, phi, g):
    """Equations 1 to 3 in float64, position by position."""
    theta, phi, g = (np.asarray(a, np.float64) for a in (theta, phi, g))
    out = np.empty_like(g)
    for i in range(len(theta)):
        weights = np.exp(phi @ theta[i])
        out[i] = weights @ g / weights.sum()
    return out


def test_dense_follows_the_equations():
    theta, phi, g = draw(2, 30, 4)
    out = attend_dense(theta, phi, g)
    for b in range(2):
        # Scores of about 10 have an absolute error of 1e-6, which exp makes a relative one.
        np.testing.assert_allclose(out[b], by_equation(theta[b], phi[b], g[b]), atol=2e-6)


@pytest.mark.parametrize("block_size", [1, 7, 30, 64])
def test_blocks_agree_with_dense(block_size):
    args = draw(2, 30, 4)

    def loss(function, *args):
        return jnp.sum(jnp.sin(function(*args)))

    blocks = lambda *args: attend_in_blocks(*args, block_size=block_size)  # noqa: E731
    np.testing.assert_allclose(blocks(*args), attend_dense(*args), atol=1e-6)
    gradients = [jax.grad(loss, (1, 2, 3))(f, *args) for f in (blocks, attend_dense)]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # sums of 30 terms of up to 10, reordered


def test_long_inputs_take_blocks_and_agree(monkeypatch):
    args = draw(1, 50, 4)
    dense = attend(*args)
    monkeypatch.setattr(attention, "DENSE_POSITIONS", 49)
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", 50 * 8)
    assert "scan" not in str(jax.make_jaxpr(attend_dense)(*args))
    assert "scan" in str(jax.make_jaxpr(attend)(*args))
    np.testing.assert_allclose(attend(*args), dense, atol=1e-6)


def test_blocks_are_even(monkeypatch):
    monkeypatch.setattr(attention, "DENSE_POSITIONS", 59)
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", 60 * 40)  # room for 40 of 60 queries
    jaxpr = str(jax.make_jaxpr(attend)(*draw(1, 60, 4)))
    assert "f32[2,1,30,4]" in jaxpr  # two blocks of 30, not 40 and 20 padded to 40


def test_blocks_bound_the_memory():
    shape = jax.ShapeDtypeStruct((1, 128 * 128, 32), jnp.float32)
    compiled = jax.jit(attend).lower(shape, shape, shape).compile()
    scores = 4 * (128 * 128) ** 2  # 1 GiB
    assert compiled.memory_analysis().temp_size_in_bytes < scores / 2


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (2, 2), (3, 2)])
def test_each_quarter_attends_to_itself_alone(height, width):
    theta, phi, g = draw(1, height, width, 3)
    with jax.numpy_dtype_promotion("strict"):
        out = region_attention(theta, phi, g)
    cuts = [
        (rows, columns)
        for rows in (slice(0, height // 2), slice(height // 2, height))
        for columns in (slice(0, width // 2), slice(width // 2, width))
    ]
    for rows, columns in cuts:
        flat = [np.asarray(a[0, rows, columns]).reshape(-1, 3) for a in (theta, phi, g)]
        expected = by_equation(*flat).reshape(out[0, rows, columns].shape)
        np.testing.assert_allclose(out[0, rows, columns], expected, atol=2e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 8), (8, 1), (1, 1)])
def test_images_without_quarters_are_refused(height, width):
    with pytest.raises(ValueError, match=f"the image is {height}x{width} pixels"):
        region_attention(*draw(1, height, width, 3))
