import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lnln_jax.images import arrays as image_lib
from lnln_jax.images.resize import imresize
from lnln_jax.inference import network as inference
from lnln_jax.inference.network import Bicubic, SuperResolver
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize

SCALE = 2
RADIUS = 3  # LR pixels that `SmallNet` looks away: a 3x3 convolution dilated by 3


class SmallNet(nn.Module):
    """Convolution and pixel shuffle. With whole numbers in and in the kernel it is exact."""

    scale: int = SCALE

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        assert not train
        b, h, w, _ = x.shape
        conv = nn.Conv(3 * self.scale**2, (3, 3), kernel_dilation=RADIUS, padding="SAME")
        x = conv(x).reshape(b, h, w, self.scale, self.scale, 3)
        return x.swapaxes(2, 3).reshape(b, h * self.scale, w * self.scale, 3)


def small_resolver(scale: int = SCALE) -> SuperResolver:
    rng = np.random.default_rng(0)
    kernel = rng.integers(-3, 4, (3, 3, 3, 3 * scale**2)).astype(np.float32)
    bias = rng.integers(0, 200, 3 * scale**2).astype(np.float32)
    variables = {"params": {"Conv_0": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}}}
    return SuperResolver("small", scale, SmallNet(scale), variables)


def image(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def directly(resolver: SuperResolver, lr: np.ndarray) -> np.ndarray:
    x = jnp.asarray(lr, jnp.float32)[None]
    return np.asarray(resolver.module.apply(resolver.variables, x))[0]


# ---- whole images ----


@pytest.mark.parametrize("scale", [2, 3])
def test_upscale_is_the_network_rounded(scale):
    resolver, lr = small_resolver(scale), image(9, 14)
    expected = directly(resolver, lr)
    sr = resolver.upscale(lr)
    assert sr.dtype == np.uint8
    assert sr.shape == (9 * scale, 14 * scale, 3)
    np.testing.assert_array_equal(sr, np.rint(expected).clip(0, 255))
    sr_float = resolver.upscale_float(lr.astype(np.float32))
    assert sr_float.dtype == np.float32
    np.testing.assert_array_equal(sr_float, expected)  # neither rounded nor clipped
    assert sr_float.min() < 0
    assert sr_float.max() > 255


def test_the_result_can_be_written_to():
    for resolver in (small_resolver(), Bicubic(SCALE)):
        resolver.upscale(image(4, 4))[:] = 0
        resolver.upscale_float(image(4, 4).astype(np.float32))[:] = 0


def test_the_input_is_left_alone():
    lr = image(40, 36)
    before = lr.copy()
    small_resolver().upscale(lr, self_ensemble=True, tile=32)
    np.testing.assert_array_equal(lr, before)


def test_gray_comes_back_gray():
    resolver, lr = small_resolver(), image(9, 14, 1)
    rgb = resolver.upscale_float(np.repeat(lr, 3, axis=2).astype(np.float32))
    luma = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
    for gray in (lr, lr[..., 0]):
        sr = resolver.upscale_float(gray.astype(np.float32))
        assert sr.shape == (18, 28, *gray.shape[2:])
        assert sr.dtype == np.float32
        np.testing.assert_allclose(sr.reshape(18, 28), luma, atol=2e-3)
        assert resolver.upscale(gray).shape == sr.shape
        assert Bicubic(SCALE).upscale(gray).shape == sr.shape


def test_one_compilation_per_shape_also_across_resolvers():
    inference._compile.cache_clear()
    for resolver in (small_resolver(), small_resolver()):
        for _ in range(2):
            resolver.upscale(image(9, 14))
            resolver.upscale(image(14, 9))
    assert inference._compile.cache_info().misses == 2


def test_compile_before_use():
    inference._compile.cache_clear()
    resolver = small_resolver()
    peak = resolver.compile((40, 30, 3))
    # At least the weights, the image and the result, all float32.
    assert peak >= 4 * (9 * 3 * 12 + 12 + 40 * 30 * 3 * (1 + SCALE**2))
    assert resolver.compile((20, 30, 3), self_ensemble=True) < peak
    assert inference._compile.cache_info().misses == 3  # a turned shape as well
    resolver.upscale(image(20, 30), self_ensemble=True)
    resolver.upscale(image(40, 30))
    assert inference._compile.cache_info().misses == 3
    assert Bicubic(2).compile((20, 30, 3)) == 0


# ---- networks of luma ----


def luma_resolver(scale: int = SCALE) -> SuperResolver:
    module = create_model("vdsr", scale, n_layers=3, n_feats=4)
    return SuperResolver("luma", scale, module, initialize(module, 0))


@pytest.mark.parametrize("options", [{}, {"self_ensemble": True}, {"tile": 16, "overlap": 8}])
def test_luma_networks_get_y_and_bicubic_the_chroma(data_dir, options):
    with Image.open(data_dir / "Set5" / "LRx2" / "butterfly.png") as file:
        lr = np.asarray(file, np.float32)[:24, :30]
    resolver = luma_resolver()
    y = image_lib.rgb_to_y(lr)[..., None]
    expected_y = resolver.module.apply(resolver.variables, y[None])[0]
    ycbcr = image_lib.rgb_to_ycbcr(resolver.upscale_float(lr, **options))
    chroma = imresize(image_lib.rgb_to_ycbcr(lr)[..., 1:], SCALE)
    np.testing.assert_allclose(ycbcr[..., 1:], chroma, atol=2e-4)  # as in test_image.py
    assert np.abs(expected_y[..., 0] - imresize(y, SCALE)[..., 0]).max() > 0.1  # it does something
    if "self_ensemble" not in options:
        # The network sees 3 + 2 pixels around: less than half of the overlap.
        np.testing.assert_allclose(ycbcr[..., :1], expected_y, atol=2e-4)


def test_luma_networks_keep_gray_gray(data_dir):
    lr = image(12, 9, 1)
    sr = luma_resolver().upscale(np.repeat(lr, 3, axis=2))
    assert (sr == sr[..., :1]).all()
    gray = luma_resolver().upscale(lr)
    assert gray.shape == (24, 18, 1)
    # Rounded once as gray, once as RGB: a value between two integers may fall to either.
    assert np.abs(gray.astype(int) - sr[..., :1]).max() <= 1


# ---- self-ensemble ----


def test_self_ensemble_is_the_mean_of_eight_turned_back():
    resolver, lr = small_resolver(), image(9, 14)
    results = []
    for turns in range(4):
        for mirror in (False, True):
            turned = np.rot90(lr, turns)
            turned = turned[:, ::-1] if mirror else turned
            sr = directly(resolver, turned)
            sr = sr[:, ::-1] if mirror else sr
            results.append(np.rot90(sr, -turns))
    expected = np.mean(results, axis=0)
    sr = resolver.upscale_float(lr.astype(np.float32), self_ensemble=True)
    np.testing.assert_allclose(sr, expected, rtol=1e-6, atol=1e-3)
    assert sr.dtype == np.float32
    assert not np.allclose(sr, results[0], atol=1)
    rounded = resolver.upscale(lr, self_ensemble=True)
    np.testing.assert_array_equal(rounded, sr.round().clip(0, 255).astype(np.uint8))


def test_self_ensemble_commutes_with_turning():
    resolver, lr = small_resolver(), image(9, 14)
    once = resolver.upscale(lr, self_ensemble=True)
    turned = resolver.upscale(np.rot90(lr), self_ensemble=True)
    np.testing.assert_array_equal(np.rot90(once), turned)


# ---- tiles ----

SIZES = [(40, 56), (17, 17), (18, 17), (31, 47)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("tile", "overlap"), [(16, 6), (16, 8), (17, 7)])
def test_tiles_change_nothing_where_the_overlap_covers_the_receptive_field(size, tile, overlap):
    assert overlap // 2 >= RADIUS
    resolver, lr = small_resolver(), image(*size).astype(np.float32)
    whole = resolver.upscale_float(lr)
    np.testing.assert_array_equal(resolver.upscale_float(lr, tile=tile, overlap=overlap), whole)


def test_too_little_overlap_shows():
    resolver, lr = small_resolver(), image(40, 56).astype(np.float32)
    whole = resolver.upscale_float(lr)
    assert (resolver.upscale_float(lr, tile=16, overlap=4) != whole).any()


def test_tiles_with_self_ensemble_and_the_default_overlap():
    resolver, lr = small_resolver(), image(40, 57)
    whole = resolver.upscale(lr, self_ensemble=True)
    np.testing.assert_array_equal(resolver.upscale(lr, self_ensemble=True, tile=32), whole)


@pytest.mark.parametrize("batch", [1, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_in_batches_are_the_same(batch, channels):
    single, lr = small_resolver(), image(50, 41, channels)
    batched = dataclasses.replace(single, tile_batch=batch)
    for self_ensemble in (False, True):
        expected = single.upscale(lr, self_ensemble, 16, 6)
        np.testing.assert_array_equal(batched.upscale(lr, self_ensemble, 16, 6), expected)


def test_a_real_network_in_batches():
    module = create_model("lnln", n_resgroups=1, n_resblocks=1, n_feats=16)
    single = SuperResolver("lnln", 2, module, initialize(module, 0))
    x = image(45, 33).astype(np.float32)
    expected = single.upscale_float(x, tile=16, overlap=8)
    batched = dataclasses.replace(single, tile_batch=4).upscale_float(x, tile=16, overlap=8)
    np.testing.assert_allclose(batched, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("size", [(33, 12), (2, 45), (15, 3), (7, 9), (2, 2)])
def test_short_sides_are_mirrored_until_they_fill_a_tile(size):
    resolver, lr = small_resolver(), image(*size).astype(np.float32)
    height, width = size
    mirrored = np.pad(lr, ((0, 40), (0, 40), (0, 0)), mode="symmetric")
    mirrored = mirrored[: max(height, 16), : max(width, 16)]
    expected = resolver.upscale_float(mirrored)[: 2 * height, : 2 * width]
    np.testing.assert_array_equal(resolver.upscale_float(lr, tile=16, overlap=8), expected)


@pytest.mark.parametrize("options", [{}, {"tile": 16, "overlap": 8, "self_ensemble": True}])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("resolver", [small_resolver(), Bicubic(3)], ids=["net", "bicubic"])
def test_bands_are_the_result_from_top_to_bottom(monkeypatch, resolver, channels, options):
    monkeypatch.setattr(inference, "_BAND_PIXELS", 500)
    lr = image(50, 41, 3)[..., 0] if channels == () else image(50, 41, *channels)
    bands = list(resolver.bands(lr, **options))
    expected = resolver.upscale(lr, **options)
    assert expected.dtype == np.uint8
    assert len(bands) > 3 or (isinstance(resolver, SuperResolver) and not options)
    np.testing.assert_array_equal(np.concatenate(bands), expected)
    x = lr.astype(np.float32)
    expected = resolver.upscale_float(x, **options)
    np.testing.assert_array_equal(np.concatenate(list(resolver.bands(x, **options))), expected)
    deep = np.concatenate(list(resolver.bands(lr.astype(np.uint16) * 257, **options)))
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(deep, np.rint(expected.clip(0, 255) * np.float32(257)))


def test_one_program_for_images_of_all_sizes():
    inference._compile.cache_clear()
    for size in ((70, 81), (33, 100), (7, 9), (40, 3), (32, 32)):
        small_resolver().upscale(image(*size), tile=32)
        small_resolver().upscale(image(*size), tile=32, self_ensemble=True)
    assert inference._compile.cache_info().misses == 1


# ---- bicubic ----


def test_bicubic_is_imresize(data_dir):
    with Image.open(data_dir / "Set5" / "LRx2" / "butterfly.png") as file:
        lr = np.asarray(file)
    bicubic = Bicubic(3)
    assert (bicubic.name, bicubic.scale, bicubic.module, bicubic.variables) == (
        "bicubic",
        3,
        None,
        {},
    )
    np.testing.assert_array_equal(bicubic.upscale(lr), imresize(lr, 3))
    np.testing.assert_array_equal(bicubic.upscale(lr, True, 32, 8), imresize(lr, 3))
    x = lr.astype(np.float32)
    np.testing.assert_array_equal(bicubic.upscale_float(x, self_ensemble=True), imresize(x, 3))
    assert bicubic.upscale(lr[:1, :1]).shape == (3, 3, 3)


# ---- the real network ----


def test_a_real_network_takes_odd_sizes():
    module = create_model("lnln", scale=2, n_resgroups=1, n_resblocks=1, n_feats=16)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), shapes)
    resolver = SuperResolver("lnln", 2, module, variables)
    assert resolver.upscale(image(5, 7)).shape == (10, 14, 3)


# ---- errors ----


@pytest.mark.parametrize("resolver", [small_resolver(), Bicubic(SCALE)], ids=["net", "bicubic"])
def test_wrong_images_are_refused(resolver):
    lr = image(8, 8)
    x = lr.astype(np.float32)
    for shape in ((8, 8, 4), (8, 8, 2), (1, 8, 8, 3), (8,)):
        with pytest.raises(ValueError, match=r"must have shape \(H, W, 3\).*got"):
            resolver.upscale(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"must be uint8 with values in 0..255, got float32"):
        resolver.upscale(x)
    with pytest.raises(ValueError, match=r"must be uint8 or uint16 or .* got int64"):
        resolver.bands(lr.astype(np.int64))
    with pytest.raises(ValueError, match=r"must be float32 with values in 0..255, got uint8"):
        resolver.upscale_float(lr)
    with pytest.raises(ValueError, match="got float64"):
        resolver.upscale_float(x.astype(np.float64))
    with pytest.raises(ValueError, match="the image is 8x0 pixels"):
        resolver.upscale(lr[:0])


def test_an_image_too_small_for_a_network():
    with pytest.raises(ValueError, match="the image is 5x1 pixels; small takes at least 2 a side"):
        small_resolver().upscale(image(1, 5))


@pytest.mark.parametrize("resolver", [small_resolver(), Bicubic(SCALE)], ids=["net", "bicubic"])
def test_wrong_tiles_are_refused(resolver):
    for tile, overlap in ((31, 16), (0, 0), (1, 0), (-4, 0)):
        with pytest.raises(ValueError, match=f"got tile {tile} with overlap {overlap}"):
            resolver.upscale(image(8, 8), tile=tile, overlap=overlap)
    with pytest.raises(ValueError, match="overlap must be at least 0, got -1"):
        resolver.upscale(image(8, 8), tile=8, overlap=-1)


def test_a_wrong_scale_is_noticed():
    good = small_resolver(2)
    bad = SuperResolver("bad", 3, good.module, good.variables)
    with pytest.raises(ValueError, match=r"network of bad made \(16, 16, 3\) of .*scale is 3"):
        bad.upscale(image(8, 8))


def test_damaged_weights_are_noticed():
    good = small_resolver()
    variables = jax.tree.map(lambda x: x * np.float32("nan"), good.variables)
    with pytest.raises(ValueError, match="returned NaN or infinity; its weights are damaged"):
        SuperResolver("bad", 2, good.module, variables).upscale(image(8, 8))
