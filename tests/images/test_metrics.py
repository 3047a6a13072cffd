import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from lnln_jax.images import arrays as image_lib
from lnln_jax.images.metrics import psnr, ssim
from lnln_jax.images.resize import imresize

# What float32 leaves: errors measured on the CPU are below 1e-5 dB and 1.2e-7, whatever the images;
# the rest is room for other devices' order of summation.
PSNR_ATOL = 2e-5
SSIM_ATOL = 5e-7


def _read_rgb(path):
    with Image.open(path) as file:
        return np.array(file.convert("RGB"))


def _planes(image, shave, y_channel):
    """The planes `C H W` to be compared, in float64."""
    if image.ndim == 2:
        image = image[..., None]
    if shave:
        image = image[shave:-shave, shave:-shave]
    image = image.astype(np.float64)
    if y_channel and image.shape[-1] == 3:
        image = image_lib.rgb_to_y(image)[..., None]
    return np.moveaxis(image, -1, 0)


def _reference_psnr(sr, hr, shave=0, y_channel=True):
    sr, hr = _planes(sr, shave, y_channel), _planes(hr, shave, y_channel)
    return 10 * np.log10(255**2 / np.mean((sr - hr) ** 2))


def _reference_ssim(sr, hr, shave=0, y_channel=True):
    """The mean over the valid positions (5 pixels from the border) of scikit-image's SSIM map."""
    values = []
    for x, y in zip(_planes(sr, shave, y_channel), _planes(hr, shave, y_channel), strict=True):
        _, ssim_map = structural_similarity(
            *(x, y),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            full=True,
        )
        values.append(ssim_map[5:-5, 5:-5].mean())
    return np.mean(values)


def _assert_matches_reference(sr, hr, **options):
    expected_psnr = _reference_psnr(sr, hr, **options)
    expected_ssim = _reference_ssim(sr, hr, **options)
    np.testing.assert_allclose(psnr(sr, hr, **options), expected_psnr, rtol=0, atol=PSNR_ATOL)
    np.testing.assert_allclose(ssim(sr, hr, **options), expected_ssim, rtol=0, atol=SSIM_ATOL)


def _random_pair(shape, noise=20.0, seed=0):
    rng = np.random.default_rng(seed)
    hr = rng.integers(0, 256, shape, dtype=np.uint8)
    return image_lib.to_uint8(hr + rng.normal(0, noise, shape)), hr


# ---------------------------------------------------------------- against scikit-image


@pytest.mark.parametrize(
    ("shape", "shave", "y_channel"),
    [
        ((40, 53, 3), 0, True),
        ((40, 53, 3), 3, True),
        ((40, 53, 3), 3, False),
        ((40, 53, 1), 3, True),
        ((40, 53), 3, True),
    ],
)
def test_random_images(shape, shave, y_channel):
    _assert_matches_reference(*_random_pair(shape), shave=shave, y_channel=y_channel)


@pytest.mark.parametrize("y_channel", [True, False])
@pytest.mark.parametrize("name", ["butterfly", "woman"])
def test_real_images(data_dir, name, y_channel):
    hr = image_lib.modcrop(_read_rgb(data_dir / "Set5" / "HR" / f"{name}.png"), 4)
    sr = imresize(imresize(hr, 0.25), 4)
    _assert_matches_reference(sr, hr, shave=4, y_channel=y_channel)


def test_real_gray_image(data_dir):
    hr = _read_rgb(data_dir / "Set14" / "HR" / "bridge.png")[..., 0]
    _assert_matches_reference(imresize(imresize(hr, 0.5), 2), hr, shave=2)


def test_smallest_image():
    _assert_matches_reference(*_random_pair((11, 11, 3)))
    _assert_matches_reference(*_random_pair((13, 15, 3)), shave=1)


RAMP = np.tile(np.linspace(0, 155, 200, dtype=np.float32), (150, 1))
NOISE = np.random.default_rng(1).normal(0, 0.5, (150, 200)).astype(np.float32)


@pytest.mark.parametrize(
    ("sr", "hr"),
    [
        pytest.param(RAMP + 100, RAMP, id="large offset, no noise"),
        pytest.param(240 + NOISE, 240 - NOISE, id="bright and nearly flat"),
        pytest.param(240 + NOISE, 60 + NOISE[::-1], id="offset and nearly flat"),
        pytest.param(240 + NOISE / 50, 240 + 0 * NOISE, id="nearly identical"),
        pytest.param(255 * (NOISE > 0), 255 * (NOISE < 0), id="black and white, opposite"),
    ],
)
def test_images_that_cancel(sr, hr):
    # Variances as E[x^2] - E[x]^2 in float32 fail the first two of these.
    _assert_matches_reference(sr.astype(np.float32), hr.astype(np.float32))


def test_one_pixel_off_by_one_in_blue():
    hr = np.full((64, 64, 3), 200, np.uint8)
    sr = hr.copy()
    sr[10, 10, 2] += 1
    _assert_matches_reference(sr, hr)


def test_large_image():
    # A running float32 sum of these four million equal squares is off by 0.2 dB.
    hr = np.full((2048, 2048), 100, np.float32)
    sr = hr + np.float32(1 / 3)
    error = np.float64(sr[0, 0]) - 100
    expected = 20 * np.log10(255 / error)
    np.testing.assert_allclose(psnr(sr, hr), expected, rtol=0, atol=PSNR_ATOL)


# ---------------------------------------------------------------- known values


def test_psnr_of_known_errors():
    hr = np.full((16, 16, 3), 100, np.uint8)
    sr = hr + np.uint8(5)
    expected = 20 * np.log10(255 / 5)
    np.testing.assert_allclose(psnr(sr, hr, y_channel=False), expected, rtol=0, atol=PSNR_ATOL)
    expected = 20 * np.log10(255 / (5 * 219 / 255))  # the 219 steps of luma span 255 of gray
    np.testing.assert_allclose(psnr(sr, hr), expected, rtol=0, atol=PSNR_ATOL)


def test_ssim_of_constant_images_is_the_luminance_term():
    c1 = 2.55**2
    expected = (2 * 200 * 150 + c1) / (200**2 + 150**2 + c1)
    sr, hr = np.full((20, 20), 200.0, np.float32), np.full((20, 20), 150.0, np.float32)
    np.testing.assert_allclose(ssim(sr, hr), expected, rtol=0, atol=SSIM_ATOL)


@pytest.mark.parametrize("y_channel", [True, False])
def test_identical_images(y_channel):
    _, hr = _random_pair((2, 20, 24, 3))
    assert np.all(psnr(hr, hr, y_channel=y_channel) == np.inf)
    assert np.all(ssim(hr, hr, y_channel=y_channel) == 1)


@pytest.mark.parametrize(
    ("dataset", "scale", "expected_psnr", "expected_ssim"),
    [("Set5", 2, 33.673, 0.9303), ("Set5", 4, 28.429, 0.8111), ("Set14", 2, 30.325, 0.8699)],
)
def test_bicubic_benchmark(published_dir, dataset, scale, expected_psnr, expected_ssim):
    """Bicubic down and up in uint8 RGB, measured on unrounded luma."""
    scores = []
    for path in sorted((published_dir / dataset / "HR").glob("*.png")):
        hr = image_lib.modcrop(_read_rgb(path), scale)
        sr = imresize(imresize(hr, 1 / scale), scale)
        scores.append((psnr(sr, hr, shave=scale), ssim(sr, hr, shave=scale)))
    mean_psnr, mean_ssim = np.mean(scores, axis=0, dtype=np.float64)
    # Half a unit of the last digit known.
    assert mean_psnr == pytest.approx(expected_psnr, abs=5e-4)
    assert mean_ssim == pytest.approx(expected_ssim, abs=5e-5)


# ---------------------------------------------------------------- shapes, dtypes, transformations


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_one_float32_scalar_per_image(metric):
    sr, hr = _random_pair((3, 20, 24, 3))
    sr[1] = hr[1] ^ 1  # the images of the batch differ in quality
    values = metric(sr, hr, shave=2)
    assert values.shape == (3,)
    assert values.dtype == jnp.float32
    for value, *images in zip(values, sr, hr, strict=True):
        alone = metric(*images, shave=2)
        assert alone.shape == ()
        assert alone.dtype == jnp.float32
        np.testing.assert_allclose(value, alone, rtol=1e-6)  # a few float32 ulps


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1)])
def test_gray_layouts_and_y_channel_agree(metric, shape):
    sr, hr = _random_pair((20, 24, 1))
    expected = metric(sr, hr)
    for y_channel in (True, False):
        value = metric(sr.reshape(shape), hr.reshape(shape), y_channel=y_channel)
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_dtypes_may_differ(metric, dtype):
    sr, hr = _random_pair((20, 24, 3))  # integers up to 255, which bfloat16 holds exactly
    value = metric(sr.astype(dtype), hr)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, metric(sr, hr), rtol=1e-6)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_floating_images_are_not_rounded(metric):
    sr, hr = _random_pair((20, 24, 3))
    assert metric(sr + np.float32(0.3), hr) != metric(sr, hr)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_inside_jit(metric):
    sr, hr = _random_pair((2, 20, 24, 3))
    jitted = jax.jit(lambda sr, hr: metric(sr, hr, shave=2))
    np.testing.assert_allclose(jitted(sr, hr), metric(sr, hr, shave=2), rtol=1e-6)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("sr_shape", "hr_shape", "message"),
    [
        ((20, 20, 3), (20, 21, 3), r"got \(20, 20, 3\) and \(20, 21, 3\); modcrop"),
        ((20, 20, 3), (20, 20, 1), r"got \(20, 20, 3\) and \(20, 20, 1\)"),
        ((1, 20, 20, 3), (20, 20, 3), r"got \(1, 20, 20, 3\) and \(20, 20, 3\)"),
        ((20,), (20,), r"H W, H W C or B H W C, got shape \(20,\)"),
        ((), (), r"H W, H W C or B H W C, got shape \(\)"),
        ((20, 20, 4), (20, 20, 4), r"1 or 3 channels on the last axis, got shape \(20, 20, 4\)"),
        ((2, 20, 20), (2, 20, 20), "give a batch of grayscale images a channel axis"),
    ],
)
def test_wrong_shapes(metric, sr_shape, hr_shape, message):
    with pytest.raises(ValueError, match=message):
        metric(np.zeros(sr_shape, np.uint8), np.zeros(hr_shape, np.uint8))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_wrong_dtypes(metric):
    image = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match=r"sr must be uint8 or floating .* got dtype int32"):
        metric(image.astype(np.int32), image)
    with pytest.raises(ValueError, match=r"hr must be uint8 or floating .* got dtype bool"):
        metric(image, image.astype(bool))


@pytest.mark.parametrize(
    ("metric", "shave", "message"),
    [
        (ssim, 5, "leave 11x11 pixels or more, got shave 5 for 20x30; use a smaller shave"),
        (psnr, 10, "leave 1x1 pixels or more, got shave 10 for 20x30"),
        (psnr, -1, "shave is -1; it must be a whole number of at least 0"),
        (ssim, -1, "shave is -1; it must be a whole number of at least 0"),
    ],
)
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3), (2, 20, 30, 1)])
def test_wrong_shave(metric, shave, message, shape):
    image = np.zeros(shape, np.uint8)
    with pytest.raises(ValueError, match=message):
        metric(image, image, shave=shave)
