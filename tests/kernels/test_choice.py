"""The plain definitions of the kernels and their tuned forms, against float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax import kernels
from lnln_jax.kernels import convolution as ops
from lnln_jax.kernels import normalization, reference
from lnln_jax.kernels.attention import attend
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize

SHAPE = (2, 9, 7, 8)
# Of the norm. Sums over up to 126 pixels or 72 taps: a few roundings of 6e-8. Measured: 3e-7.
FLOAT32 = 1e-6


def images(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


KERNELS = {
    "conv": (ops.conv, reference.conv, images(SHAPE, (3, 3, 8, 5))),
    "conv 1x1": (ops.conv, reference.conv, images(SHAPE, (1, 1, 8, 5))),
    "depthwise, shifted": (
        functools.partial(ops.depthwise_conv3x3, implementation="shifted"),
        reference.depthwise_conv3x3,
        images(SHAPE, (3, 3, 8), (8,)),
    ),
    "depthwise, grouped": (
        functools.partial(ops.depthwise_conv3x3, implementation="grouped"),
        reference.depthwise_conv3x3,
        images(SHAPE, (3, 3, 8), (8,)),
    ),
    "channel product": (ops.channel_product, reference.channel_product, images(SHAPE, (8, 5))),
    "add bias": (ops.add_bias, reference.add_bias, images(SHAPE, (8,))),
    "moments": (normalization.moments, reference.moments, images(SHAPE)),
    "normalize": (normalization.normalize, reference.normalize, images(SHAPE, (8,), (8,), (8,))),
    "normalize by image": (
        normalization.normalize,
        reference.normalize,
        images(SHAPE, (8,), (2, 8), (2, 8)),
    ),
    "attention, dense": (
        functools.partial(attend, implementation="dense"),
        reference.attend,
        images((3, 20, 8), (3, 24, 8), (3, 24, 8)),
    ),
    "attention, chunked": (
        functools.partial(attend, implementation="chunked"),
        reference.attend,
        images((3, 20, 8), (3, 24, 8), (3, 24, 8)),
    ),
}


def values_and_gradients(function, arrays):
    """The result and the gradients, for a cotangent that varies and does not cancel in sums."""
    out, pull = jax.vjp(function, *arrays)
    weights = jax.tree.map(
        lambda x: (0.5 + jnp.cos(jnp.arange(x.size, dtype=x.dtype))).reshape(x.shape), out
    )
    return out, pull(weights)


def errors(actual, truth):
    return [
        float(np.linalg.norm(np.subtract(a, t)) / np.linalg.norm(t))
        for a, t in zip(jax.tree.leaves(actual), jax.tree.leaves(truth), strict=True)
    ]


@functools.cache
def truth_of(name):
    _, definition, arrays = KERNELS[name]
    with jax.enable_x64(True):
        wide = [jnp.asarray(a, jnp.float64) for a in arrays]
        return jax.device_get(jax.jit(functools.partial(values_and_gradients, definition))(wide))


@pytest.mark.parametrize("form", ["plain", "tuned"])
@pytest.mark.parametrize("name", KERNELS)
def test_values_and_gradients(name, form):
    kernel, _, arrays = KERNELS[name]
    with kernels.using(form):
        actual = jax.jit(lambda arrays: values_and_gradients(kernel, arrays))(arrays)
    assert max(errors(actual, truth_of(name))) < FLOAT32


@pytest.mark.parametrize("form", ["plain", "tuned"])
@pytest.mark.parametrize("name", KERNELS)
def test_float64(name, form):
    """Nothing on the way is rounded to float32, so that networks in float64 are a reference."""
    kernel, _, arrays = KERNELS[name]
    with jax.enable_x64(True), kernels.using(form):
        wide = [jnp.asarray(a, jnp.float64) for a in arrays]
        actual = jax.jit(lambda arrays: values_and_gradients(kernel, arrays))(wide)
        assert {leaf.dtype for leaf in jax.tree.leaves(actual)} == {jnp.dtype("float64")}
        assert max(errors(jax.device_get(actual), truth_of(name))) < 1e-14


def network_pass(module, variables, lr):
    """Output, gradients and statistics of a training pass."""

    def loss(params):
        rest = {"batch_stats": variables["batch_stats"]}
        sr, changed = module.apply(
            {"params": params, **rest}, lr, train=True, mutable="batch_stats"
        )
        return (sr**2).mean(), (sr, changed)

    (_, (sr, changed)), grads = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return sr, grads, changed


@pytest.mark.slow
def test_a_network_in_either_form():
    """A whole LNLN: plain and tuned kernels are as near to float64 as each other."""
    options = {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4}
    module = create_model("lnln", **options)
    variables = jax.device_get(initialize(module, 3))
    lr = np.random.default_rng(0).uniform(0, 255, (2, 9, 8, 3)).astype(np.float32)
    found = {}
    for form in ("plain", "tuned"):
        with kernels.using(form):
            found[form] = jax.device_get(
                jax.jit(functools.partial(network_pass, module))(variables, lr)
            )
    with jax.enable_x64(True), kernels.using("plain"):
        wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), variables)
        module = create_model("lnln", dtype=jnp.float64, **options)
        step = jax.jit(functools.partial(network_pass, module))
        truth = jax.device_get(step(wide, jnp.asarray(lr, jnp.float64)))
    assert {leaf.dtype for leaf in jax.tree.leaves(truth)} == {np.dtype("float64")}
    for form, results in found.items():
        for actual, expected in zip(results, truth, strict=True):
            total = [
                np.concatenate([x.ravel() for x in jax.tree.leaves(t)]) for t in (actual, expected)
            ]
            # Measured: 1.4e-6, for gradients through a ReLU and batch statistics of 144 pixels.
            assert np.linalg.norm(total[0] - total[1]) < 1e-5 * np.linalg.norm(total[1]), form


def test_the_form_is_read_while_tracing():
    x, kernel = images((1, 4, 4, 2), (3, 3, 2, 2))

    def primitives(form):
        with kernels.using(form):
            return str(jax.make_jaxpr(lambda x: ops.conv(x, kernel))(x))

    assert "custom_vjp" in primitives("tuned")
    assert "custom_vjp" not in primitives("plain")
    assert primitives("auto") == primitives("tuned" if jax.default_backend() == "cpu" else "plain")
    assert (
        "custom_vjp" in str(jax.make_jaxpr(lambda x: ops.conv(x, kernel))(x)) or not kernels.tuned()
    )


def test_an_unknown_form():
    problem = "form is 'fast'; it must be one of auto, plain, tuned"
    with pytest.raises(ValueError, match=problem), kernels.using("fast"):
        pass
    problem = "depthwise is 'dense'; it must be one of auto, shifted, grouped"
    with pytest.raises(ValueError, match=problem), kernels.using(depthwise="dense"):
        pass
