import concurrent.futures
import math

import numpy as np
import pytest
from PIL import Image

from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.pairs import dead_leaves_pairs
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.resize import imresize

BD, DN, JPEG = (Degradation(kind) for kind in ("bd", "dn", "jpeg"))
ALL = (BICUBIC, BD, DN, JPEG)


def _label(degradation):
    return degradation.label


@pytest.fixture(scope="module")
def butterfly(data_dir):
    """`252 252 3`: multiples of 2, 3, 4 and 6."""
    with Image.open(data_dir / "Set5" / "HR" / "butterfly.png") as file:
        return modcrop(np.array(file.convert("RGB")), 12)


def _random(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_bicubic_is_imresize(butterfly, scale):
    lr = degrade(butterfly, scale)
    assert lr.dtype == np.uint8
    np.testing.assert_array_equal(lr, imresize(butterfly, 1 / scale))
    np.testing.assert_array_equal(lr, degrade(butterfly, scale, BICUBIC))


def _fspecial(size, sigma):
    """The square kernel, one weight at a time."""
    middle = (size - 1) / 2
    kernel = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            kernel[i, j] = math.exp(-((i - middle) ** 2 + (j - middle) ** 2) / (2 * sigma**2))
    return kernel / kernel.sum()


def _imfilter_at(image, kernel, row, column):
    """One pixel of MATLAB's `imfilter(image, kernel, 'replicate')`; all numbers count from 1."""
    size = len(kernel)
    taps = np.arange(1, size + 1) - (size + 1) // 2  # 0 at the origin of a kernel of this size
    rows = np.clip(row + taps, 1, image.shape[0]) - 1
    columns = np.clip(column + taps, 1, image.shape[1]) - 1
    window = image[np.ix_(rows, columns)].astype(np.float64)
    # Rounding to 9 decimals first makes a tie a tie, whatever the order of summation.
    return np.floor(np.round((kernel[..., None] * window).sum((0, 1)), 9) + 0.5)


@pytest.mark.parametrize(
    ("scale", "sigma", "size", "first"),  # `first`: the first pixel kept, counted from 1
    [
        (2, 1.6, 12, 1),
        (3, 1.6, 7, 2),
        (4, 1.6, 12, 2),
        (1, 1.6, 11, 1),
        (5, 1.6, 11, 3),
        (3, 1.3, 9, 2),
        (2, 0.5, 6, 1),
        (8, 0.1, 4, 4),  # a block wider than the kernel
        (4, 9.0, 56, 2),  # a kernel wider than the image
    ],
)
def test_bd_matches_a_direct_sum(butterfly, scale, sigma, size, first):
    sides = 6 * scale, 7 * scale
    # A corner, so that half of the kernel's windows reach outside, with the image's detail in it.
    hr = butterfly[-sides[0] :, : sides[1]]
    assert hr.std() > 20
    kernel = _fspecial(size, sigma)
    expected = [
        [_imfilter_at(hr, kernel, row, column) for column in range(first, sides[1] + 1, scale)]
        for row in range(first, sides[0] + 1, scale)
    ]
    lr = degrade(hr, scale, Degradation("bd", blur_sigma=sigma))
    assert lr.dtype == np.uint8
    assert lr.shape == (6, 7, 3)
    np.testing.assert_array_equal(lr, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bd_commutes_with_mirrors_and_transposition(butterfly, scale):
    # Exact only if the grid is centred on the blocks: a shift by any part of a pixel breaks it.
    lr = degrade(butterfly, scale, BD)
    for mirror in (np.s_[::-1], np.s_[:, ::-1]):
        np.testing.assert_array_equal(degrade(butterfly[mirror], scale, BD), lr[mirror])
    np.testing.assert_array_equal(degrade(butterfly.swapaxes(0, 1), scale, BD), lr.swapaxes(0, 1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bd_lies_where_bicubic_lies(scale):
    centre, grid = (57.3, 65.8), np.indices((120, 132))
    distances = (grid - np.reshape(centre, (2, 1, 1))) ** 2
    blob = np.rint(255 * np.exp(-distances.sum(0) / (2 * 9.0**2))).astype(np.uint8)
    for degradation in (BICUBIC, BD):
        lr = degrade(np.dstack([blob] * 3), scale, degradation)[..., 0].astype(np.float64)
        centroid = [(index * lr).sum() / lr.sum() for index in np.indices(lr.shape)]
        # Half an HR pixel would be 0.125 or more; rounding to uint8 leaves some 0.002.
        expected = [(position + 0.5) / scale - 0.5 for position in centre]
        np.testing.assert_allclose(centroid, expected, rtol=0, atol=0.005)


@pytest.mark.parametrize("scale", [2, 4])
def test_bd_rounds_ties_up(scale):
    # A step in the middle of a block: that column is (low + high) / 2, or in float64 a little less.
    for low, high in ((0, 5), (0, 7), (0, 255), (10, 13), (100, 101)):
        hr = np.full((8, 9 * scale, 3), low, np.uint8)
        hr[:, 4 * scale + scale // 2 :] = high
        assert np.all(degrade(hr, scale, BD)[:, 4] == (low + high + 1) // 2)
        assert np.all(degrade(hr[:, ::-1], scale, BD)[:, 4] == (low + high + 1) // 2)


@pytest.mark.parametrize("degradation", [BICUBIC, BD], ids=_label)
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 7])
def test_a_constant_image_stays_constant(scale, degradation):
    for value in (0, 1, 127, 254, 255):
        hr = np.full((3 * scale, 2 * scale, 3), value, np.uint8)
        lr = degrade(hr, scale, degradation)
        np.testing.assert_array_equal(lr, np.full((3, 2, 3), value))


def test_bd_blurs_more_with_a_larger_sigma(butterfly):
    spreads = [
        degrade(butterfly, 3, Degradation("bd", blur_sigma=sigma)).std()
        for sigma in (0.1, 0.8, 1.6, 3.2)
    ]
    assert spreads == sorted(spreads, reverse=True)
    kept = degrade(butterfly, 3, Degradation("bd", blur_sigma=0.1))
    np.testing.assert_array_equal(kept, butterfly[1::3, 1::3])  # next to no blur: pixels alone


@pytest.mark.parametrize("level", [5.0, 30.0])
def test_dn_adds_white_noise_of_the_given_level(level):
    hr = np.full((400, 400, 3), 128, np.uint8)
    noise = degrade(hr, 2, Degradation("dn", noise_level=level)) - 128.0
    # Clipping starts beyond 4.2 sigma and takes less than 1e-4; rounding adds a variance of 1/12.
    std = math.hypot(level, math.sqrt(1 / 12))
    count = noise.size
    # Four standard errors each: one such test of 16000 would fail by chance; the seed is fixed.
    assert abs(noise.std() - std) < 4 * std / math.sqrt(2 * count)
    assert abs(noise.mean()) < 4 * std / math.sqrt(count)
    for a, b in (
        (noise[..., 0], noise[..., 1]),
        (noise[..., 1], noise[..., 2]),
        (noise[1:], noise[:-1]),
        (noise[:, 1:], noise[:, :-1]),
    ):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / math.sqrt(a.size)


def test_dn_adds_to_the_bicubic_image_and_saturates(butterfly):
    faint = degrade(butterfly, 3, Degradation("dn", noise_level=0.01))
    np.testing.assert_array_equal(faint, degrade(butterfly, 3))
    white = degrade(np.full((120, 120, 3), 255, np.uint8), 3, DN)
    # Half of the noise would leave the range; a wrapped sum would show as dark pixels.
    assert 0.45 < np.mean(white == 255) < 0.55
    assert white.min() > 255 - 6 * 30


def test_dn_noise_belongs_to_the_image(butterfly):
    images = [butterfly, butterfly[::-1], _random((252, 252, 3))]
    alone = [degrade(hr, 2, DN) for hr in images]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda hr: degrade(hr, 2, DN), images[::-1] * 4))
    np.testing.assert_array_equal(together, alone[::-1] * 4)


@pytest.mark.parametrize("other", ["pixel", "shape", "scale"])
def test_dn_noise_of_another_image_is_another(other):
    hr = np.full((120, 80, 3), 128, np.uint8)
    changed, scale = hr.copy(), 4 if other == "scale" else 2
    if other == "pixel":
        changed[0, 0, 0] += 1
    if other == "shape":
        changed = changed.swapaxes(0, 1)  # the same bytes
    a = degrade(hr, 2, DN).ravel()
    b = degrade(changed, scale, DN).ravel()
    count = min(a.size, b.size)
    # Independent noise: 4 standard errors. The same noise would give 1.
    assert abs(np.corrcoef(a[:count], b[:count])[0, 1]) < 4 / math.sqrt(count)


def test_dn_noise_is_the_same_everywhere():
    # Written down once: datasets made on two machines must agree.
    hr = np.full((4, 4, 3), 128, np.uint8)
    assert degrade(hr, 2, DN).ravel().tolist() == [
        *(123, 74, 125, 136, 147, 95),
        *(142, 128, 118, 69, 176, 188),
    ]


@pytest.mark.parametrize("degradation", ALL, ids=_label)
def test_memory_layout_has_no_effect(butterfly, degradation):
    hr = np.ascontiguousarray(butterfly[:120, :96])
    expected = degrade(hr, 3, degradation)
    padded = np.zeros((240, 100, 3), np.uint8)
    padded[::-2, 2:98] = hr
    read_only = hr.copy()
    read_only.flags.writeable = False
    for view in (np.asfortranarray(hr), padded[::-2, 2:98], read_only):
        copy = view.copy()
        np.testing.assert_array_equal(degrade(view, 3, degradation), expected)
        np.testing.assert_array_equal(view, copy)


def test_jpeg_is_the_round_trip_through_a_file(butterfly, tmp_path):
    path = tmp_path / "lr.jpg"
    for degradation in (JPEG, Degradation("jpeg", jpeg_quality=85)):
        # With Pillow's own default for the chroma.
        Image.fromarray(degrade(butterfly, 3)).save(path, quality=degradation.jpeg_quality)
        with Image.open(path) as file:
            assert file.layer[0][1:3] == (2, 2)  # luma has twice the samples of chroma: 4:2:0
            expected = np.array(file)
        lr = degrade(butterfly, 3, degradation)
        np.testing.assert_array_equal(lr, expected)
        assert lr.dtype == np.uint8
        assert lr.flags.writeable


def test_jpeg_keeps_odd_sizes():
    assert degrade(_random((3, 51, 3)), 3, JPEG).shape == (1, 17, 3)


def test_jpeg_errs_less_at_higher_quality(butterfly):
    lr = degrade(butterfly, 2).astype(np.float64)
    errors = [
        np.abs(degrade(butterfly, 2, Degradation("jpeg", jpeg_quality=quality)) - lr).mean()
        for quality in (1, 10, 40, 75, 95, 100)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[2] > 2 * errors[4] > 0


@pytest.mark.parametrize(
    ("degradation", "label"),
    [
        (BICUBIC, "bicubic"),
        (BD, "bd1.6"),
        (DN, "dn30"),
        (JPEG, "jpeg40"),
        (Degradation("bd", blur_sigma=2), "bd2"),
        (Degradation("bd", blur_sigma=1.6000001), "bd1.6000001"),
        (Degradation("dn", noise_level=2.5), "dn2.5"),
        (Degradation("dn", noise_level=100), "dn100"),
        (Degradation("jpeg", jpeg_quality=100), "jpeg100"),
    ],
)
def test_labels(degradation, label):
    assert degradation.label == label


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "blur"}, "kind must be one of bicubic, bd, dn, jpeg, got 'blur'"),
        ({"blur_sigma": 0}, "blur_sigma must be between 0.1 and 20 HR pixels, got 0.0; .* 1.6"),
        ({"blur_sigma": -1.6}, "blur_sigma must .* got -1.6"),
        ({"blur_sigma": 20.5}, "blur_sigma must .* got 20.5"),
        ({"blur_sigma": math.nan}, "blur_sigma is nan; it must be a number"),
        ({"blur_sigma": math.inf}, "blur_sigma is inf; it must be a number"),
        ({"noise_level": 0}, "noise_level must be above 0 and at most 255, got 0.0; .* 'bicubic'"),
        ({"noise_level": -30.0}, "noise_level must .* got -30.0"),
        ({"noise_level": 256}, "noise_level must .* got 256"),
        ({"noise_level": math.nan}, "noise_level is nan; it must be a number"),
        ({"noise_level": math.inf}, "noise_level is inf; it must be a number"),
        ({"jpeg_quality": 0}, "jpeg_quality must be a whole number between 1 and 100, got 0; 95"),
        ({"jpeg_quality": 101}, "jpeg_quality must .* got 101"),
        ({"jpeg_quality": 40.5}, "jpeg_quality is 40.5; it must be a whole number"),
    ],
)
def test_bad_degradations_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Degradation(**arguments)


@pytest.mark.parametrize("degradation", ALL, ids=_label)
@pytest.mark.parametrize(
    ("shape", "dtype", "scale", "message"),
    [
        ((8, 8, 3), np.float32, 2, r"hr must be uint8 .* got float32 of shape \(8, 8, 3\); conv"),
        ((8, 8), np.uint8, 2, r"hr must .* got uint8 of shape \(8, 8\)"),
        ((8, 8, 1), np.uint8, 2, r"hr must .* got uint8 of shape \(8, 8, 1\)"),
        ((1, 8, 8, 3), np.uint8, 2, r"hr must .* got uint8 of shape \(1, 8, 8, 3\)"),
        ((0, 8, 3), np.uint8, 2, r"hr must .* at least one pixel, got uint8 of shape \(0, 8, 3\)"),
        ((8, 8, 3), np.uint8, 0, "scale must be at least 1 .* got 0"),
        ((8, 8, 3), np.uint8, -2, "scale must be at least 1 .* got -2"),
        ((8, 9, 3), np.uint8, 2, "sides of hr must be multiples of scale 2, got 8x9; crop .*modcr"),
        ((10, 8, 3), np.uint8, 4, "sides of hr must be multiples of scale 4, got 10x8"),
    ],
)
def test_bad_input_is_named(shape, dtype, scale, message, degradation):
    with pytest.raises(ValueError, match=message):
        degrade(np.zeros(shape, dtype), scale, degradation)


def test_numbers_of_all_kinds():
    hr = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    for scale in (np.int64(2), np.array(2), np.float32(2)):
        np.testing.assert_array_equal(degrade(hr, scale), degrade(hr, 2))
    numpy_scalars = Degradation("bd", blur_sigma=np.float32(1.6), jpeg_quality=np.uint8(40))
    assert numpy_scalars == Degradation("bd")
    assert numpy_scalars.label == "bd1.6"
    (pair,) = dead_leaves_pairs(np.int32(1), size=np.array(12), scale=np.int8(2), seed=np.int64(0))
    (same,) = dead_leaves_pairs(1, size=12, scale=2, seed=0)
    np.testing.assert_array_equal(pair[0], same[0])
