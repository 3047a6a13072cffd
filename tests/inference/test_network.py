"""Networks as upscalers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lnln_jax.images import arrays as image_lib
from lnln_jax.images.resize import imresize
from lnln_jax.inference import network as inference
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.models import create_model
from lnln_jax.models.variables import abstract_variables, initialize
from tests.support.small_upscaler import RADIUS, SCALE, image, small_upscaler


def directly(upscaler: NetworkUpscaler, lr: np.ndarray) -> np.ndarray:
    x = jnp.asarray(lr, jnp.float32)[None]
    return np.asarray(upscaler.module.apply(upscaler.variables, x))[0]


# ---- whole images ----


@pytest.mark.parametrize("scale", [2, 3])
def test_upscale_is_the_network_rounded(scale):
    upscaler, lr = small_upscaler(scale), image(9, 14)
    expected = directly(upscaler, lr)
    sr = upscaler.upscale(lr)
    assert sr.dtype == np.uint8
    assert sr.shape == (9 * scale, 14 * scale, 3)
    np.testing.assert_array_equal(sr, np.rint(expected).clip(0, 255))
    sr_float = upscaler.upscale_float(lr.astype(np.float32))
    assert sr_float.dtype == np.float32
    np.testing.assert_array_equal(sr_float, expected)  # neither rounded nor clipped
    assert sr_float.min() < 0
    assert sr_float.max() > 255


def test_gray_comes_back_gray():
    upscaler, lr = small_upscaler(), image(9, 14, 1)
    rgb = upscaler.upscale_float(np.repeat(lr, 3, axis=2).astype(np.float32))
    luma = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
    for gray in (lr, lr[..., 0]):
        sr = upscaler.upscale_float(gray.astype(np.float32))
        assert sr.shape == (18, 28, *gray.shape[2:])
        assert sr.dtype == np.float32
        np.testing.assert_allclose(sr.reshape(18, 28), luma, atol=2e-3)
        assert upscaler.upscale(gray).shape == sr.shape


def test_one_compilation_per_shape_also_across_upscalers():
    inference._compile.cache_clear()
    for upscaler in (small_upscaler(), small_upscaler()):
        for _ in range(2):
            upscaler.upscale(image(9, 14))
            upscaler.upscale(image(14, 9))
    assert inference._compile.cache_info().misses == 2


def test_compile_before_use():
    inference._compile.cache_clear()
    upscaler = small_upscaler()
    peak = upscaler.compile((40, 30, 3))
    # At least the weights, the image and the result, all float32.
    assert peak >= 4 * (9 * 3 * 12 + 12 + 40 * 30 * 3 * (1 + SCALE**2))
    assert upscaler.compile((20, 30, 3), self_ensemble=True) < peak
    assert inference._compile.cache_info().misses == 3  # a turned shape as well
    upscaler.upscale(image(20, 30), self_ensemble=True)
    upscaler.upscale(image(40, 30))
    assert inference._compile.cache_info().misses == 3


# ---- networks of luma ----


def luma_upscaler(scale: int = SCALE) -> NetworkUpscaler:
    module = create_model("vdsr", scale, n_layers=3, n_feats=4)
    return NetworkUpscaler("luma", scale, module, initialize(module, 0))


@pytest.mark.parametrize("options", [{}, {"self_ensemble": True}, {"tile": 16, "overlap": 8}])
def test_luma_networks_get_y_and_bicubic_the_chroma(data_dir, options):
    with Image.open(data_dir / "Set5" / "LRx2" / "butterfly.png") as file:
        lr = np.asarray(file, np.float32)[:24, :30]
    upscaler = luma_upscaler()
    y = image_lib.rgb_to_y(lr)[..., None]
    expected_y = upscaler.module.apply(upscaler.variables, y[None])[0]
    ycbcr = image_lib.rgb_to_ycbcr(upscaler.upscale_float(lr, **options))
    chroma = imresize(image_lib.rgb_to_ycbcr(lr)[..., 1:], SCALE)
    np.testing.assert_allclose(ycbcr[..., 1:], chroma, atol=2e-4)  # as in test_image.py
    assert np.abs(expected_y[..., 0] - imresize(y, SCALE)[..., 0]).max() > 0.1  # it does something
    if "self_ensemble" not in options:
        # The network sees 3 + 2 pixels around: less than half of the overlap.
        np.testing.assert_allclose(ycbcr[..., :1], expected_y, atol=2e-4)


def test_luma_networks_keep_gray_gray(data_dir):
    lr = image(12, 9, 1)
    sr = luma_upscaler().upscale(np.repeat(lr, 3, axis=2))
    assert (sr == sr[..., :1]).all()
    gray = luma_upscaler().upscale(lr)
    assert gray.shape == (24, 18, 1)
    # Rounded once as gray, once as RGB: a value between two integers may fall to either.
    assert np.abs(gray.astype(int) - sr[..., :1]).max() <= 1


# ---- self-ensemble ----


def test_self_ensemble_is_the_mean_of_eight_turned_back():
    upscaler, lr = small_upscaler(), image(9, 14)
    results = []
    for turns in range(4):
        for mirror in (False, True):
            turned = np.rot90(lr, turns)
            turned = turned[:, ::-1] if mirror else turned
            sr = directly(upscaler, turned)
            sr = sr[:, ::-1] if mirror else sr
            results.append(np.rot90(sr, -turns))
    expected = np.mean(results, axis=0)
    sr = upscaler.upscale_float(lr.astype(np.float32), self_ensemble=True)
    np.testing.assert_allclose(sr, expected, rtol=1e-6, atol=1e-3)
    assert sr.dtype == np.float32
    assert not np.allclose(sr, results[0], atol=1)
    rounded = upscaler.upscale(lr, self_ensemble=True)
    np.testing.assert_array_equal(rounded, sr.round().clip(0, 255).astype(np.uint8))


def test_self_ensemble_commutes_with_turning():
    upscaler, lr = small_upscaler(), image(9, 14)
    once = upscaler.upscale(lr, self_ensemble=True)
    turned = upscaler.upscale(np.rot90(lr), self_ensemble=True)
    np.testing.assert_array_equal(np.rot90(once), turned)


# ---- tiles ----

SIZES = [(40, 56), (17, 17), (18, 17), (31, 47)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("tile", "overlap"), [(16, 6), (16, 8), (17, 7)])
def test_tiles_change_nothing_where_the_overlap_covers_the_receptive_field(size, tile, overlap):
    assert overlap // 2 >= RADIUS
    upscaler, lr = small_upscaler(), image(*size).astype(np.float32)
    whole = upscaler.upscale_float(lr)
    np.testing.assert_array_equal(upscaler.upscale_float(lr, tile=tile, overlap=overlap), whole)


def test_too_little_overlap_shows():
    upscaler, lr = small_upscaler(), image(40, 56).astype(np.float32)
    whole = upscaler.upscale_float(lr)
    assert (upscaler.upscale_float(lr, tile=16, overlap=4) != whole).any()


def test_tiles_with_self_ensemble_and_the_default_overlap():
    upscaler, lr = small_upscaler(), image(40, 57)
    whole = upscaler.upscale(lr, self_ensemble=True)
    np.testing.assert_array_equal(upscaler.upscale(lr, self_ensemble=True, tile=32), whole)


@pytest.mark.parametrize("batch", [1, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_in_batches_are_the_same(batch, channels):
    single, lr = small_upscaler(), image(50, 41, channels)
    batched = dataclasses.replace(single, tile_batch=batch)
    for self_ensemble in (False, True):
        options = {"self_ensemble": self_ensemble, "tile": 16, "overlap": 6}
        expected = single.upscale(lr, **options)
        np.testing.assert_array_equal(batched.upscale(lr, **options), expected)


@pytest.mark.slow
def test_a_real_network_in_batches():
    module = create_model("lnln", n_resgroups=1, n_resblocks=1, n_feats=16)
    single = NetworkUpscaler("lnln", 2, module, initialize(module, 0))
    x = image(45, 33).astype(np.float32)
    expected = single.upscale_float(x, tile=16, overlap=8)
    batched = dataclasses.replace(single, tile_batch=4).upscale_float(x, tile=16, overlap=8)
    np.testing.assert_allclose(batched, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("size", [(33, 12), (2, 45), (15, 3), (7, 9), (2, 2)])
def test_short_sides_are_mirrored_until_they_fill_a_tile(size):
    upscaler, lr = small_upscaler(), image(*size).astype(np.float32)
    height, width = size
    mirrored = np.pad(lr, ((0, 40), (0, 40), (0, 0)), mode="symmetric")
    mirrored = mirrored[: max(height, 16), : max(width, 16)]
    expected = upscaler.upscale_float(mirrored)[: 2 * height, : 2 * width]
    np.testing.assert_array_equal(upscaler.upscale_float(lr, tile=16, overlap=8), expected)


def test_one_program_for_images_of_all_sizes():
    inference._compile.cache_clear()
    for size in ((70, 81), (33, 100), (7, 9), (40, 3), (32, 32)):
        small_upscaler().upscale(image(*size), tile=32)
        small_upscaler().upscale(image(*size), tile=32, self_ensemble=True)
    assert inference._compile.cache_info().misses == 1


# ---- the real networks ----


@pytest.mark.parametrize("name", ["lnln", "drca", "rcan", "edsr", "vdsr"])
def test_images_of_one_row_or_column(name, hasty_compiler):
    """Wholes are widened to two pixels, which all networks take, and tiles are filled."""
    options = {"n_feats": 4} | ({"n_layers": 3} if name == "vdsr" else {"n_resblocks": 1})
    groups = {"n_resgroups": 1, "reduction": 2} if name in ("lnln", "drca", "rcan") else {}
    module = create_model(name, 2, **options, **groups)
    upscaler = NetworkUpscaler(name, 2, module, initialize(module, 0))
    wide = upscaler.upscale(np.repeat(image(1, 3), 2, axis=0))
    np.testing.assert_array_equal(upscaler.upscale(image(1, 3)), wide[:2])
    for size in ((1, 1), (3, 1), (1, 7)):
        for lr in (image(*size), image(*size)[..., 0]):
            shape = (2 * size[0], 2 * size[1], *lr.shape[2:])
            assert upscaler.upscale(lr, tile=2, overlap=0).shape == shape


def test_a_real_network_takes_odd_sizes():
    module = create_model("lnln", scale=2, n_resgroups=1, n_resblocks=1, n_feats=16)
    shapes = abstract_variables(module)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), shapes)
    upscaler = NetworkUpscaler("lnln", 2, module, variables)
    assert upscaler.upscale(image(5, 7)).shape == (10, 14, 3)


# ---- errors ----


def test_a_wrong_scale_is_noticed():
    good = small_upscaler(2)
    bad = NetworkUpscaler("bad", 3, good.module, good.variables)
    with pytest.raises(ValueError, match=r"network of bad made \(16, 16, 3\) of .*scale is 3"):
        bad.upscale(image(8, 8))


def test_damaged_weights_are_noticed():
    good = small_upscaler()
    variables = jax.tree.map(lambda x: x * np.float32("nan"), good.variables)
    with pytest.raises(ValueError, match="returned NaN or infinity; its weights are damaged"):
        NetworkUpscaler("bad", 2, good.module, variables).upscale(image(8, 8))
