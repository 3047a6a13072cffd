"""Sizes and behaviour of the networks; full-size ones only through `jax.eval_shape`."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.images.resize import imresize
from lnln_jax.models import create_model, input_channels
from lnln_jax.models.layers import DIV2K_MEAN, BatchNorm, RegionNonLocal, Upsampler, uniform_fan_in
from lnln_jax.models.variables import abstract_variables, initialize

TINY = {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4}


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@cache
def shapes_of(name, scale, **overrides):
    return abstract_variables(create_model(name, scale, **overrides))


def tiny(name="lnln", **overrides):
    """A small network with random parameters and statistics, none of them zero."""
    options = {**TINY, **overrides}
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        # Deviations of 1 / sqrt(fan_in) for kernels; scales and variances around 1.
        kind = path[-1].key
        if kind in ("scale", "var"):
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
        deviation = np.prod(leaf.shape[-4:-1]) ** -0.5 if kind == "kernel" else 0.1
        return jnp.asarray(deviation * rng.normal(size=leaf.shape), jnp.float32)

    variables = jax.tree_util.tree_map_with_path(draw, shapes_of(name, 2, **options))
    return create_model(name, 2, **options), variables


@partial(jax.jit, static_argnums=0)
def apply(module, variables, lr):
    return module.apply(variables, lr)


def image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(0, 255, (1, height, width, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("name", "scale", "parameters"),
    [
        ("lnln", 2, 2_039_889),
        # x3 and x4 follow from x2: the upsampler's separable convolution (depthwise 64*9 + 64,
        # pointwise 64*n + n) has n = 576 instead of 256, or is there twice.
        ("lnln", 3, 2_039_889 + 65 * (576 - 256)),
        ("lnln", 4, 2_039_889 + 640 + 65 * 256),
        ("drca", 2, 14_050_835),
        ("drca", 3, 14_050_835 + 577 * (576 - 256)),
        ("drca", 4, 14_198_547),
        ("rcan", 2, 15_444_643),
        ("rcan", 3, 15_444_643 + 577 * (576 - 256)),
        ("rcan", 4, 15_592_355),
        ("edsr", 2, 40_729_603),
        ("edsr", 3, 40_729_603 + (9 * 256 + 1) * 5 * 256),
        ("edsr", 4, 43_089_923),
        ("edsr_baseline", 2, 1_369_859),
        ("edsr_baseline", 3, 1_554_499),
        ("edsr_baseline", 4, 1_517_571),
        ("vdsr", 2, 664_704),
        ("vdsr", 3, 664_704),
        ("vdsr", 4, 664_704),
        ("vdsr_rgb", 2, 664_704 + 2 * 2 * 9 * 64),
    ],
)
def test_parameter_counts(name, scale, parameters):
    assert count(shapes_of(name, scale)["params"]) == parameters


def test_the_figures_of_a_lightweight_residual_group():
    groups = {
        name: [count(shapes_of(name, 2)["params"]["body"][f"group_{i}"]) for i in range(1, 6)]
        for name in ("lnln", "drca")
    }
    assert groups["lnln"][0] == 379_856  # the paper's 0.38 M
    assert np.mean(groups["lnln"]) == 397_520
    assert groups["drca"][0] == 2_693_072
    assert groups["lnln"][0] / groups["drca"][0] == pytest.approx(0.14105, abs=5e-6)


def test_storage_is_the_papers():
    # float32 parameters and running statistics; a PyTorch file adds names and padding to these.
    megabytes = 4 * count(shapes_of("lnln", 2)) / 2**20
    assert 7.7 < megabytes < 8.72


@pytest.mark.parametrize("name", ["lnln", "drca"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_full_size_output_shape(name, scale):
    module = create_model(name, scale)
    variables = shapes_of(name, scale)
    lr = jax.ShapeDtypeStruct((2, 7, 11, 3), jnp.float32)
    sr = jax.eval_shape(module.apply, variables, lr)
    assert sr.shape == (2, 7 * scale, 11 * scale, 3)
    assert sr.dtype == jnp.float32


@pytest.mark.parametrize("n_resblocks", [1, 3])
def test_any_number_of_blocks(n_resblocks):
    module, variables = tiny(n_resblocks=n_resblocks)
    group = variables["params"]["body"]["group_1"]
    stacked = jax.tree.leaves(group["blocks"]) if "blocks" in group else []
    assert ("blocks" in group) == (n_resblocks > 1)
    assert all(leaf.shape[0] == n_resblocks - 1 for leaf in stacked)
    assert apply(module, variables, image(6, 6)).shape == (1, 12, 12, 3)


@pytest.mark.slow
def test_blocks_start_with_different_weights():
    variables = initialize(create_model("lnln", **{**TINY, "n_resblocks": 3}), seed=0)
    kernel = variables["params"]["body"]["group_1"]["blocks"]["conv_1"]["pointwise"]["kernel"]
    assert kernel.shape == (2, 1, 1, 16, 16)
    assert not np.array_equal(kernel[0], kernel[1])


@pytest.mark.slow
def test_strict_promotion_and_finite_gradients():
    module, variables = tiny()

    def loss(params):
        variables_ = {**variables, "params": params}
        sr, changed = module.apply(variables_, image(9, 7), train=True, mutable=["batch_stats"])
        return jnp.abs(sr).mean(), changed

    with jax.numpy_dtype_promotion("strict"):
        grads, changed = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(
        variables["batch_stats"]
    )
    for grad in jax.tree.leaves(grads):
        assert np.isfinite(grad).all()
    # Every parameter takes part (biases before a normalisation have a zero gradient by nature).
    flat = jax.tree_util.tree_leaves_with_path(grads)
    dead = [jax.tree_util.keystr(path) for path, grad in flat if not np.abs(grad).max() > 0]
    assert all("bias" in name for name in dead), dead


def test_inference_depends_on_the_running_statistics_alone():
    # Of DRCA, since the softmax over unscaled scores of random weights amplifies any rounding.
    module, variables = tiny("drca")
    one, two = image(8, 8, seed=1), image(8, 8, seed=2)
    alone = apply(module, variables, one)
    together = apply(module, variables, jnp.concatenate([one, two]))[:1]
    # Another shape, another order of sums: some units of 2**-23 of the largest value, about 300.
    np.testing.assert_allclose(alone, together, atol=3e-4)


def test_bfloat16_keeps_float32_parameters_and_output():
    # Of DRCA, for the reason above.
    module, variables = tiny("drca", dtype=jnp.bfloat16)
    full, _ = tiny("drca")
    drawn = shapes_of("lnln", 2, dtype=jnp.bfloat16, **TINY)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(drawn))
    with jax.numpy_dtype_promotion("strict"):
        sr = apply(module, variables, image(8, 8))
    assert sr.dtype == jnp.float32
    expected = apply(full, variables, image(8, 8))
    # 8 bits through some twenty layers: a percent of the deviation from the mean.
    assert 0 < np.abs(sr - expected).max() < 0.03 * np.abs(expected - 114).max()


def test_the_non_local_module_is_the_identity_at_first():
    module = RegionNonLocal(8)
    x = jax.random.normal(jax.random.key(0), (1, 6, 5, 16))
    variables = module.init(jax.random.key(1), x)
    np.testing.assert_array_equal(module.apply(variables, x), x)


def test_both_uses_of_the_non_local_module_share_weights():
    params = shapes_of("lnln", 2)["params"]
    assert [key for key in params if "non_local" in key] == ["non_local"]
    jaxpr = str(
        jax.make_jaxpr(lambda v, x: create_model("lnln", **TINY).apply(v, x))(
            shapes_of("lnln", 2, **TINY), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
        )
    )
    assert jaxpr.count("exp ") == 2  # a softmax of all four quarters, in two uses


@pytest.mark.parametrize("size", [(1, 9), (9, 1)])
def test_too_small_images_are_refused(size):
    module = create_model("lnln", **TINY)
    with pytest.raises(ValueError, match="at least 2x2 pixels"):
        jax.eval_shape(module.init, jax.random.key(0), image(*size))


def test_smallest_images_work():
    module, variables = tiny()
    assert np.isfinite(apply(module, variables, image(2, 3))).all()


def test_running_variance_is_unbiased():
    module = BatchNorm()
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 4))
    variables = module.init(jax.random.key(1), x, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(4))
    _, changed = module.apply(variables, x, train=True, mutable=["batch_stats"])
    expected = 0.9 + 0.1 * np.asarray(x, np.float64).var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(changed["batch_stats"]["var"], expected, rtol=1e-6)


def test_initial_weights_are_uniform_in_the_bound():
    values = uniform_fan_in(9)(jax.random.key(0), (10_000,), jnp.float32)
    assert float(jnp.abs(values).max()) <= 1 / 3
    assert float(values.std()) == pytest.approx(1 / 3 / 3**0.5, rel=0.02)  # 10,000 draws


def test_the_mean_goes_straight_through():
    module, variables = tiny()
    zeros = jax.tree.map(jnp.zeros_like, variables)
    sr = apply(module, zeros, image(4, 4))
    np.testing.assert_array_equal(sr, np.broadcast_to(np.float32(DIV2K_MEAN), sr.shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lnlm", 2, {}), "name is 'lnlm'; the networks are carn, carn_m, carn_m_multi"),
        (("lnln", 5, {}), "scale is 5"),
        (("lnln", 2, {"n_feat": 3}), "no hyper-parameter 'n_feat'; it has n_resgroups"),
        (("lnln", 2, {"n_feats": 0}), "n_feats is 0; it must be a whole number"),
        (("lnln", 2, {"n_resblocks": 2.5}), "n_resblocks is 2.5"),
        (("drca", 2, {"n_feats": 8}), "reduction 16 leaves no channel"),
        (("rcan", 2, {"n_feats": 8}), "reduction 16 leaves no channel"),
        (("edsr", 2, {"res_scale": 0}), "res_scale is 0; it must be a number above 0"),
        (("vdsr", 2, {"n_layers": 2}), "n_layers is 2; VDSR has at least 3"),
        (("vdsr", 2, {"n_colors": 2}), "n_colors is 2; it must be 1"),
    ],
)
def test_wrong_hyper_parameters_are_named(arguments, message):
    name, scale, overrides = arguments
    with pytest.raises(ValueError, match=message):
        create_model(name, scale, **overrides)


def test_the_upsampler_knows_four_scales():
    with pytest.raises(ValueError, match="scale is 5"):
        Upsampler(5).init(jax.random.key(0), jnp.zeros((1, 2, 2, 4)))


# ---- the networks that LNLN is compared with ----

SMALL_BASELINES = {
    "rcan": TINY,
    "edsr": {"n_resblocks": 2, "n_feats": 8},
    "vdsr": {"n_layers": 4, "n_feats": 8},
    "vdsr_rgb": {"n_layers": 4, "n_feats": 8},
}


@pytest.mark.parametrize("name", SMALL_BASELINES)
@pytest.mark.parametrize("scale", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4))])
def test_baselines_enlarge(name, scale):
    module = create_model(name, scale, **SMALL_BASELINES[name])
    variables = initialize(module, 0)
    assert variables.keys() == {"params"}
    lr = image(5, 7)[..., : input_channels(module)]
    sr = apply(module, variables, lr)
    assert sr.shape == (1, 5 * scale, 7 * scale, input_channels(module))
    assert sr.dtype == jnp.float32
    trained, changed = module.apply(variables, lr, train=True, mutable=["batch_stats"])
    assert not changed
    # Compiled and run operation by operation: some units of 2**-23 of the largest value, 255.
    np.testing.assert_allclose(trained, sr, atol=2e-4)


def test_vdsr_without_a_correction_is_bicubic():
    module = create_model("vdsr", 3, **SMALL_BASELINES["vdsr"])
    variables = initialize(module, 0)
    variables["params"]["last"]["kernel"] *= 0
    lr = image(6, 5)[..., :1]
    # The weights of the interpolation sum to one in float32 up to rounding.
    np.testing.assert_allclose(
        apply(module, variables, lr)[0], imresize(np.asarray(lr[0]), 3), atol=1e-4
    )


def test_res_scale_scales_the_residual():
    options = SMALL_BASELINES["edsr"]
    variables = initialize(create_model("edsr", **options), 0)
    x, tiny_scale = image(6, 6), 2.0**-40
    scaled = apply(create_model("edsr", **options, res_scale=tiny_scale), variables, x)
    params = variables["params"]
    without = {**params, "blocks": jax.tree.map(jnp.zeros_like, params["blocks"])}
    zeroed = apply(create_model("edsr", **options, res_scale=1.0), {"params": without}, x)
    np.testing.assert_array_equal(scaled, zeroed)
    assert np.abs(apply(create_model("edsr", **options), variables, x) - scaled).max() > 1e-3
