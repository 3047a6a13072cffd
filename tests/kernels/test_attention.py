from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.images.products import quiet_products
from lnln_jax.kernels import attention
from lnln_jax.kernels.attention import IMPLEMENTATIONS, attend, attend_dense, region_attention
from lnln_jax.kernels.chunked_attention import Chunks, attend_chunked
from lnln_jax.models import create_model
from lnln_jax.models.layers import RegionNonLocal


def draw(*shape, count=3, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(scale * rng.normal(size=shape), jnp.float32) for _ in range(count)]


@quiet_products()
def by_equation(theta, phi, g):
    """Equations 1 to 3 in float64, position by position."""
    theta, phi, g = (np.asarray(a, np.float64) for a in (theta, phi, g))
    out = np.empty((len(theta), g.shape[1]))
    for i in range(len(theta)):
        scores = phi @ theta[i]
        weights = np.exp(scores - scores.max())
        out[i] = weights @ g / weights.sum()
    return out


@quiet_products()
def gradients_by_equation(theta, phi, g, grad):
    """The gradients of sum(out * grad) in float64, with the weights in full."""
    theta, phi, g, grad = (np.asarray(a, np.float64) for a in (theta, phi, g, grad))
    weights = np.exp(theta @ phi.T - (theta @ phi.T).max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    grad_weights = grad @ g.T
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(1, keepdims=True))
    return grad_scores @ phi, grad_scores.T @ theta, weights.T @ grad


def gradients(function, grad, *args):
    return jax.jit(lambda *args: jax.vjp(function, *args)[1](grad))(*args)


def assert_close(actual, expected, tolerance):
    """Compares to within a share of the largest number."""
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


def test_dense_follows_the_equations():
    theta, phi, g = draw(2, 30, 4)
    out = attend_dense(theta, phi, g)
    for b in range(2):
        # Scores of about 10 have an absolute error of 1e-6, which exp makes a relative one.
        np.testing.assert_allclose(out[b], by_equation(theta[b], phi[b], g[b]), atol=2e-6)


# Chunks of one position, that divide nothing, of everything, and longer than everything.
CHUNKS = [Chunks(1, 1, 1), Chunks(1, 7, 11), Chunks(2, 11, 7), Chunks(3, 30, 23), Chunks(4, 64, 64)]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("scale", [0.5, 8.0], ids=["flat", "steep"])
def test_chunks_follow_the_equations(chunks, scale):
    """Three elements of a batch, 30 queries, 23 keys; steep: scores of several hundreds."""
    theta, grad = (f * a for f, a in zip((scale, 1), draw(3, 30, 4, count=2), strict=True))
    phi, g = (f * a for f, a in zip((scale, 1), draw(3, 23, 4, count=2, seed=1), strict=True))
    if scale == 8:
        assert jnp.abs(jnp.einsum("bnd,bmd->bnm", theta, phi)).max() > 500
    function = partial(attend_chunked, chunks=chunks)
    out = jax.jit(function)(theta, phi, g)
    grads = gradients(function, grad, theta, phi, g)
    # Scores of 500 are rounded by 3e-5, and so is the logarithm of their sum.
    tolerance = 2e-6 if scale < 1 else 1e-4
    for b in range(3):
        arrays = theta[b], phi[b], g[b]
        assert_close([out[b]], [by_equation(*arrays)], tolerance)
        expected = gradients_by_equation(*arrays, grad[b])
        assert_close([part[b] for part in grads], expected, tolerance)


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_far_from_zero_neither_overflow_nor_vanish(sign):
    """All scores are 400 apart from zero, so that a padded key of zeros would win or lose."""
    theta, phi = jnp.full((1, 5, 4), 10.0), jnp.full((1, 5, 4), 10.0 * sign)
    g, grad = draw(1, 5, 4, count=2)
    function = partial(attend_chunked, chunks=Chunks(1, 2, 2))
    np.testing.assert_allclose(function(theta, phi, g)[0], np.tile(g[0].mean(0), (5, 1)), rtol=1e-5)
    # All weights are 1/5; the gradients of queries and keys that are all alike are 0 or sum to 0.
    grad_theta, grad_phi, grad_g = (a[0] for a in gradients(function, grad, theta, phi, g))
    expected = gradients_by_equation(theta[0], phi[0], g[0], grad[0])
    assert_close([grad_phi, grad_g], expected[1:], 1e-4)
    np.testing.assert_allclose(grad_theta, 0, atol=1e-3)  # sums of terms of up to 10


@pytest.mark.slow
def test_chunks_of_the_real_sizes_agree_with_dense(monkeypatch):
    """1100 positions: two chunks of queries, padded; keys in one chunk and in two."""
    args, (grad,) = draw(2, 1100, 32, scale=0.5), draw(2, 1100, 32, count=1, seed=1)
    expected = [attend_dense(*args), *gradients(attend_dense, grad, *args)]
    for longest in (2048, 1024):
        monkeypatch.setattr(attention, "CPU_KEYS", longest)
        jax.clear_caches()
        chunked = partial(attend, implementation="chunked")
        actual = [chunked(*args), *gradients(chunked, grad, *args)]
        assert_close(actual[:1], expected[:1], 5e-6)
        assert_close(actual[1:], expected[1:], 5e-6)


@pytest.mark.parametrize("implementation", ["dense", "chunked"])
def test_bfloat16_is_computed_in_float32(implementation):
    theta, phi, g = (a.astype(jnp.bfloat16) for a in draw(1, 40, 8))
    grad = draw(1, 40, 8, count=1, seed=1)[0].astype(jnp.bfloat16)
    function = partial(attend, implementation=implementation)
    out = function(theta, phi, g)
    grads = gradients(function, grad, theta, phi, g)
    assert {a.dtype for a in (out, *grads)} == {jnp.dtype(jnp.bfloat16)}
    # Scores rounded to bfloat16 would be wrong by 0.06, and the output by as much.
    expected = by_equation(*(np.asarray(a[0], np.float32) for a in (theta, phi, g)))
    assert_close([np.asarray(out[0], np.float32)], [expected], 0.008)
    if implementation == "chunked":  # the only rounding is that of the result
        np.testing.assert_allclose(np.asarray(out[0], np.float32), expected, rtol=0.004, atol=1e-6)


@pytest.mark.parametrize(
    ("backend", "shape", "dense"),
    [
        ("cpu", (4, 576), True),
        ("cpu", (64, 576), False),  # small regions, but too many
        ("cpu", (1, 2304), False),  # one region, but long
        ("gpu", (64, 576), True),
        ("gpu", (1, 4096), True),
        ("gpu", (1, 4097), False),
    ],
)
def test_auto_chooses_by_size_and_device(monkeypatch, backend, shape, dense):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    args = [jax.ShapeDtypeStruct((*shape, 32), jnp.float32)] * 3
    jaxpr = jax.make_jaxpr(lambda *args: attend(*args))(*args)  # not one traced for another backend
    assert ("custom_vjp" not in str(jaxpr)) == dense


def test_chunks_are_even_and_bounded():
    assert attention.choose_chunks(64, 576, 576) == (6, 576, 576)
    assert attention.choose_chunks(8, 576, 576) == (4, 576, 576)  # two of four, not six and two
    assert attention.choose_chunks(4, 2305, 2305) == (2, 784, 1168)
    assert attention.choose_chunks(4, 262144, 262144) == (1, 1024, 2048)


@pytest.mark.parametrize("function", [attend, region_attention])
def test_unknown_implementations_are_refused(function):
    args = draw(1, 4, 4, 8) if function is region_attention else draw(1, 4, 8)
    with pytest.raises(ValueError, match="implementation is 'fast'; it must be one of auto, dense"):
        function(*args, implementation="fast")
    with pytest.raises(ValueError, match=r'is "cudnn", .* dtype is float32; choose dtype bfloat16'):
        function(*args, implementation="cudnn")
    args = [a.astype(jnp.bfloat16) for a in args]
    with pytest.raises(ValueError, match=r'is "cudnn", which needs an NVIDIA GPU, .* on cpu'):
        function(*args, implementation="cudnn")


def test_cudnn_is_called_without_scaling(monkeypatch):
    """No GPU here: JAX's own implementation stands in for cuDNN's."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    original, seen = jax.nn.dot_product_attention, []

    def stand_in(*args, implementation, **options):
        seen.append(implementation)
        return original(*args, **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    args = [a.astype(jnp.bfloat16) for a in draw(1, 6, 6, 8)]
    out = region_attention(*args, implementation="cudnn")
    expected = region_attention(*args, implementation="dense")
    np.testing.assert_allclose(*(np.asarray(a, np.float32) for a in (out, expected)), atol=0.03)
    assert seen == ["cudnn"]
    with pytest.raises(ValueError, match="4 channels, and cuDNN takes multiples of 8"):
        attend(*(a[:, 0, :, :4] for a in args), implementation="cudnn")


def pooled(x, size):
    """The largest numbers of squares of `H W D`, square by square."""
    rows, columns = (range(0, side - size + 1, size) for side in x.shape[:2])
    return np.stack([x[i : i + size, j : j + size].max((0, 1)) for i in rows for j in columns])


@pytest.mark.parametrize(
    ("height", "width", "pool"),
    [
        *((4, 6, 1), (5, 7, 1), (2, 2, 1), (3, 2, 1), (6, 5, 1)),
        *((8, 12, 2), (6, 10, 2), (9, 6, 2), (4, 4, 2), (6, 7, 3)),
    ],
)
@pytest.mark.parametrize("implementation", ["dense", "chunked"])
def test_each_quarter_attends_to_itself_alone(height, width, pool, implementation):
    theta, phi, g = draw(2, height, width, 3)
    with jax.numpy_dtype_promotion("strict"):
        out = region_attention(theta, phi, g, pool=pool, implementation=implementation)
    cuts = [
        (b, rows, columns)
        for b in range(2)
        for rows in (slice(0, height // 2), slice(height // 2, height))
        for columns in (slice(0, width // 2), slice(width // 2, width))
    ]
    for cut in cuts:
        flat = [pooled(np.asarray(a[cut]), n) for a, n in ((theta, 1), (phi, pool), (g, pool))]
        np.testing.assert_allclose(out[cut], by_equation(*flat).reshape(out[cut].shape), atol=2e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 8), (8, 1), (1, 1)])
def test_images_without_quarters_are_refused(height, width):
    for pool, least in ((1, "at least 2x2"), (4, "at least 8x8")):
        with pytest.raises(ValueError, match=f"image is {height}x{width} pixels; .* {least}"):
            region_attention(*draw(1, height, width, 3), pool=pool)


# Megabytes that XLA plans for a float32 map of this side, 32 channels, batch 1.
@pytest.mark.parametrize(
    ("side", "forward", "gradient"),
    [(512, 300, 350), pytest.param(1024, 1000, 1250, marks=pytest.mark.slow)],
)
def test_memory_of_large_maps_is_bounded(side, forward, gradient):
    shape = jax.ShapeDtypeStruct((1, side, side, 32), jnp.float32)

    def planned(function, *args):
        compiled = jax.jit(function).lower(*args).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 1e6

    def backward(theta, phi, g, grad):
        return jax.vjp(region_attention, theta, phi, g)[1](grad)

    assert planned(region_attention, *[shape] * 3) < forward
    assert planned(backward, *[shape] * 4) < gradient


@pytest.mark.parametrize("implementation", ["auto", "dense", "chunked"])
def test_the_network_hands_its_choice_down(implementation, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "lnln_jax.models.layers.region_attention",
        lambda *args, pool, implementation: seen.append(implementation) or args[2],
    )
    options = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 2}
    module = create_model("lnln", attention=implementation, **options)
    jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    assert seen == [implementation] * 2


def test_the_module_is_the_same_with_chunks():
    x = draw(1, 12, 10, 8, count=1)[0]
    modules = [RegionNonLocal(4, attention=name) for name in ("dense", "chunked")]
    variables = modules[0].init(jax.random.key(0), x)
    variables["params"]["w"]["kernel"] += 0.1
    dense, chunked = (module.apply(variables, x) for module in modules)
    assert jnp.abs(dense - x).max() > 0.01
    np.testing.assert_allclose(chunked, dense, atol=2e-6)


def test_models_refuse_what_does_not_run():
    with pytest.raises(ValueError, match="attention is 'flash'; it must be one of auto, dense, ch"):
        create_model("lnln", attention="flash")
    with pytest.raises(ValueError, match=r'attention is "cudnn", .* the dtype is float32'):
        create_model("lnln", attention="cudnn")
    with pytest.raises(ValueError, match=r'attention is "cudnn", which needs an NVIDIA GPU'):
        create_model("lnln", attention="cudnn", dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match="edsr has no hyper-parameter 'attention'"):
        create_model("edsr", attention="auto")
    assert IMPLEMENTATIONS == ("auto", "dense", "chunked", "cudnn")
