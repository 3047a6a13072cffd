import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.images import arrays as image_lib

BOTH_KINDS = pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])


def _random(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _assert_same(actual, expected, as_array):
    """Equal values, the same dtype and the same kind of array."""
    assert isinstance(actual, type(as_array(0)))
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


# ---------------------------------------------------------------- rgb_to_y


@BOTH_KINDS
def test_rgb_to_y_of_known_colours(as_array):
    colours = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    image = as_array(np.array([colours], np.uint8))
    y = image_lib.rgb_to_y(image)
    assert y.shape == (1, 5)
    # Three roundings of numbers up to 235.
    rtol = 3 * np.finfo(y.dtype).eps
    np.testing.assert_allclose(y, [[16.0, 235.0, 81.481, 144.553, 40.966]], rtol=rtol)


@BOTH_KINDS
def test_rgb_to_y_is_the_formula_and_keeps_leading_axes(as_array):
    image = _random((2, 3, 5, 4, 3))
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    expected = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    y = image_lib.rgb_to_y(as_array(image))
    assert isinstance(y, type(as_array(0)))
    assert y.dtype == (np.float64 if as_array is np.asarray else np.float32)
    np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(y.dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rgb_to_y_keeps_floating_dtypes(dtype):
    assert image_lib.rgb_to_y(np.ones((2, 2, 3), dtype)).dtype == dtype


def test_rgb_to_y_keeps_bfloat16():
    assert image_lib.rgb_to_y(jnp.ones((2, 2, 3), jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 1), np.uint8), r"3 channels .* \(4, 4, 1\); a one-channel image"),
        (np.zeros((4, 3), np.uint8), r"shape \(4, 3\); give a grayscale image a channel axis"),
        (np.zeros((4, 4, 3), np.int32), "got dtype int32; convert"),
        (np.zeros((4, 4, 3), bool), "got dtype bool; convert"),
    ],
)
def test_rgb_to_y_rejects(image, message):
    with pytest.raises(ValueError, match=message):
        image_lib.rgb_to_y(image)


# ---------------------------------------------------------------- YCbCr


@BOTH_KINDS
def test_ycbcr_of_known_colours(as_array):
    colours = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    ycbcr = image_lib.rgb_to_ycbcr(as_array(np.array([colours], np.float32)))
    expected = [  # MATLAB's rgb2ycbcr of doubles
        [16, 128, 128],
        [235, 128, 128],
        [81.481, 90.203, 240],
        [144.553, 53.797, 34.214],
        [40.966, 240, 109.786],
    ]
    np.testing.assert_allclose(ycbcr, [expected], rtol=1e-6)
    assert isinstance(ycbcr, type(as_array(0)))
    assert ycbcr.dtype == np.float32


@BOTH_KINDS
def test_ycbcr_goes_back(as_array):
    image = as_array(_random((2, 4, 5, 3)).astype(np.float32))
    ycbcr = image_lib.rgb_to_ycbcr(image)
    np.testing.assert_allclose(ycbcr[..., 0], image_lib.rgb_to_y(image), rtol=1e-6)
    # Chroma near its zero at 128 costs three bits more than the rounding of 255.
    np.testing.assert_allclose(image_lib.ycbcr_to_rgb(ycbcr), image, atol=2e-4)


@pytest.mark.parametrize("function", [image_lib.rgb_to_ycbcr, image_lib.ycbcr_to_rgb])
def test_ycbcr_rejects(function):
    with pytest.raises(ValueError, match=r"must be floating .* got dtype uint8"):
        function(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="must have 3 channels"):
        function(np.zeros((2, 2, 1), np.float32))


# ---------------------------------------------------------------- modcrop


@BOTH_KINDS
@pytest.mark.parametrize(("scale", "size"), [(1, (7, 10)), (2, (6, 10)), (3, (6, 9)), (4, (4, 8))])
def test_modcrop_keeps_the_top_left(as_array, scale, size):
    image = _random((2, 7, 10, 3))
    cropped = image_lib.modcrop(as_array(image), scale)
    _assert_same(cropped, image[:, : size[0], : size[1]], as_array)


@pytest.mark.parametrize("scale", [-2, 0, 8])
def test_modcrop_rejects_a_scale_that_leaves_nothing(scale):
    with pytest.raises(ValueError, match=f"scale {scale} for 7x10; use"):
        image_lib.modcrop(_random((7, 10, 3)), scale)


@pytest.mark.parametrize("function", [image_lib.modcrop, image_lib.dihedral])
def test_an_image_needs_a_channel_axis(function):
    with pytest.raises(ValueError, match=r"got shape \(8, 8\); give a grayscale image a channel"):
        function(np.zeros((8, 8), np.uint8), 2)


# ---------------------------------------------------------------- the dihedral group


def test_dihedral_does_what_the_bits_say():
    image = _random((2, 3, 3))
    np.testing.assert_array_equal(image_lib.dihedral(image, 0), image)
    np.testing.assert_array_equal(image_lib.dihedral(image, 1), np.flip(image, 1))
    np.testing.assert_array_equal(image_lib.dihedral(image, 2), np.flip(image, 0))
    np.testing.assert_array_equal(image_lib.dihedral(image, 3), np.rot90(image, 2))
    np.testing.assert_array_equal(image_lib.dihedral(image, 4), image.transpose(1, 0, 2))
    np.testing.assert_array_equal(image_lib.dihedral(image, 5), np.rot90(image, 1))
    np.testing.assert_array_equal(image_lib.dihedral(image, 6), np.rot90(image, -1))
    np.testing.assert_array_equal(
        image_lib.dihedral(image, 7), np.rot90(image, 2).transpose(1, 0, 2)
    )


def test_dihedral_gives_eight_different_images():
    image = _random((4, 4, 1))
    assert len({image_lib.dihedral(image, index).tobytes() for index in range(8)}) == 8


@BOTH_KINDS
@pytest.mark.parametrize("index", range(8))
def test_inverse_dihedral_undoes_dihedral(as_array, index):
    image = _random((2, 3, 5, 4, 3))
    turned = image_lib.dihedral(as_array(image), index)
    assert turned.shape == ((2, 3, 5, 4, 3) if index < 4 else (2, 3, 4, 5, 3))
    _assert_same(image_lib.inverse_dihedral(turned, index), image, as_array)


def test_dihedral_moves_whole_pixels_under_jit():
    image = _random((5, 4, 3))
    turned = jax.jit(image_lib.dihedral, static_argnums=1)(image, 6)
    np.testing.assert_array_equal(turned, image_lib.dihedral(image, 6))


@pytest.mark.parametrize("index", [-1, 8])
@pytest.mark.parametrize("function", [image_lib.dihedral, image_lib.inverse_dihedral])
def test_dihedral_rejects_an_unknown_index(function, index):
    with pytest.raises(ValueError, match=rf"^index is {index}; it must be .* from 0 to 7$"):
        function(_random((4, 4, 3)), index)


# ---------------------------------------------------------------- to_uint8


@BOTH_KINDS
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_to_uint8_rounds_and_clips(as_array, dtype):
    values = np.array([-np.inf, -3, -0.4, 0.5, 0.6, 1.5, 254.4, 254.6, 255.7, 999, np.inf], dtype)
    expected = np.array([0, 0, 0, 0, 1, 2, 254, 255, 255, 255, 255], np.uint8)
    _assert_same(image_lib.to_uint8(as_array(values)), expected, as_array)


@BOTH_KINDS
def test_to_uint8_leaves_uint8_alone(as_array):
    image = _random((3, 4, 3))
    _assert_same(image_lib.to_uint8(as_array(image)), image, as_array)


def test_to_uint8_rejects_other_integers():
    with pytest.raises(ValueError, match="got dtype int64; convert it first"):
        image_lib.to_uint8(np.zeros((2, 2, 3), np.int64))
