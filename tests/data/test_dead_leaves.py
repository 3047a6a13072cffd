"""Tests of the dead leaves model."""

import itertools

import numpy as np
import pytest

from lnln_jax.data import dead_leaves


def spectrum_slope(image):
    """Returns the slope of the power spectrum on logarithmic axes, averaged over directions."""
    grey = image.mean(-1) - image.mean()
    rows, columns = grey.shape
    window = np.hanning(rows)[:, None] * np.hanning(columns)
    power = np.abs(np.fft.fft2(grey * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    edges = np.geomspace(0.02, 0.4, 12)
    rings = [(low <= frequency) & (frequency < high) for low, high in itertools.pairwise(edges)]
    x = [np.log(frequency[ring].mean()) for ring in rings]
    y = [np.log(power[ring].mean()) for ring in rings]
    return np.polyfit(x, y, 1)[0]


def test_dead_leaves_is_deterministic():
    image = dead_leaves(np.random.default_rng(0), 64)
    assert image.dtype == np.uint8
    assert image.shape == (64, 64, 3)
    np.testing.assert_array_equal(image, dead_leaves(np.random.default_rng(0), 64))
    assert (image != dead_leaves(np.random.default_rng(1), 64)).mean() > 0.5
    assert dead_leaves(np.random.default_rng(0), (40, 72)).shape == (40, 72, 3)
    assert dead_leaves(np.random.default_rng(0), 1).shape == (1, 1, 3)


def test_dead_leaves_has_the_statistics_of_photographs():
    images = [dead_leaves(np.random.default_rng([5, i]), 192) for i in range(8)]
    assert -3.0 < np.mean([spectrum_slope(image) for image in images]) < -1.0
    for image in images:
        grey = image.mean(-1)
        assert grey.std() > 10
        steps = np.abs(np.diff(grey))
        assert (steps > 40).mean() > 0.005  # edges
        assert (steps < 4).mean() > 0.1  # and smooth regions
        correlation = np.corrcoef(image.reshape(-1, 3).T)
        assert correlation.min() > 0.3


def test_dead_leaves_has_no_hot_border():
    mean = np.mean([dead_leaves(np.random.default_rng([6, i]), 64) for i in range(40)], axis=0)
    border = np.concatenate([mean[:4].ravel(), mean[-4:].ravel()]).mean()
    assert abs(border - mean[28:36].mean()) < 16


@pytest.mark.parametrize("size", [0, (16, -1)])
def test_dead_leaves_refuses(size):
    with pytest.raises(ValueError, match=r"size is .*; it must be a whole number of at least 1"):
        dead_leaves(np.random.default_rng(0), size)
