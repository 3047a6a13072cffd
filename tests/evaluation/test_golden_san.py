"""The pictures that SAN's authors saved of Set5 at x4: their LR is ours, and their scores."""

import csv

import numpy as np
import pytest

from lnln_jax.images.files import read_rgb
from lnln_jax.images.metrics import psnr, ssim
from lnln_jax.images.resize import imresize

NAMES = ("baby", "bird", "butterfly", "head", "woman")


@pytest.fixture(scope="module")
def pictures(published_dir):
    folder = published_dir.parent / "golden" / "san_x4"
    if not folder.is_dir():
        pytest.skip(f"no pictures of SAN's authors: {folder} is not a folder")
    kinds = ("LR", "SR", "HR")
    return folder, {n: [read_rgb(folder / f"{n}_x4_{kind}.png") for kind in kinds] for n in NAMES}


def test_their_lr_is_ours(pictures, published_dir):
    for name, (lr, _, hr) in pictures[1].items():
        np.testing.assert_array_equal(imresize(hr, 1 / 4), lr, strict=True)
        ours = read_rgb(published_dir / "Set5" / "HR" / f"{name}.png")
        np.testing.assert_array_equal(ours[: hr.shape[0], : hr.shape[1]], hr)


def test_their_scores(pictures):
    folder, images = pictures
    with (folder / "scores.tsv").open(newline="") as file:
        expected = {row["image"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert expected.keys() == {*NAMES}
    scores = {
        name: (psnr(sr, hr, shave=4), ssim(sr, hr, shave=4)) for name, (_, sr, hr) in images.items()
    }
    for name, (decibels, similarity) in scores.items():
        # Half a unit of the last printed digit, and what float32 leaves.
        assert abs(decibels - float(expected[name]["psnr_y"])) < 5e-6 + 2e-5
        assert abs(similarity - float(expected[name]["ssim_y"])) < 5e-7 + 5e-7
    decibels, similarity = np.mean(np.float64([*scores.values()]), axis=0)
    assert abs(decibels - 32.6113) < 6e-5
    assert abs(similarity - 0.90017) < 6e-6
