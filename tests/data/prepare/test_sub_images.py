"""Tests of how images are cut into sub-images."""

import itertools

import numpy as np
import pytest

from lnln_jax.data.degradations import Degradation, degrade
from lnln_jax.data.prepare.sub_images import Cut, sub_images, whole
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize


@pytest.fixture(scope="module")
def photo(data_dir):
    return read_rgb(data_dir / "Set14" / "HR" / "comic.png")[:345, :251]


def test_defaults_let_every_patch_lie_whole_in_a_sub_image():
    for scales, step in (((2,), 384), ((3,), 336), ((4, 2), 288), ((2, 3, 4), 288)):
        cut = Cut(scales)
        assert (cut.step, cut.min_side) == (step, 48 * max(scales))
        for side in (cut.min_side, 479, 480, 500, 1356, 2040):
            starts = cut.positions(side)
            length = min(480, side - side % cut.unit)
            assert starts[0] == 0
            assert starts[-1] + length == side - side % cut.unit
            for scale, patch in ((s, s * 48) for s in cut.scales):
                places = range(0, side - side % cut.unit - patch + 1, scale)
                assert all(
                    any(start <= p and p + patch <= start + length for start in starts)
                    for p in places
                )


@pytest.mark.parametrize("kind", ["bicubic", "jpeg"])
def test_sub_images_are_parts_of_the_image_and_of_its_lr_images(photo, kind):
    cut = Cut((2, 3, 4), size=96, step=60, min_side=96, degradation=Degradation(kind))
    parts = list(sub_images(photo, cut))
    assert sum(part.hr.shape[0] * part.hr.shape[1] for part in parts) == cut.area(*photo.shape[:2])
    corners = [(part.top, part.left) for part in parts]
    assert corners == list(
        itertools.product([0, 60, 120, 180, 240], [0, 60, 120, 144])  # 336 - 96 = 240, 240 - 96
    )
    for scale in cut.scales:
        lr = degrade(np.ascontiguousarray(modcrop(photo, scale)), scale, cut.degradation)
        if kind == "bicubic":
            np.testing.assert_array_equal(lr, imresize(modcrop(photo, scale), 1 / scale))
        for part in parts:
            rows = slice(part.top // scale, (part.top + 96) // scale)
            columns = slice(part.left // scale, (part.left + 96) // scale)
            np.testing.assert_array_equal(part.lr[scale], lr[rows, columns], strict=True)
    for part in parts:
        np.testing.assert_array_equal(
            part.hr, photo[part.top : part.top + 96, part.left : part.left + 96], strict=True
        )


def test_sides_shorter_than_the_size_are_taken_whole(photo):
    cut = Cut((2,), size=300, step=200, min_side=96)
    shapes = [part.hr.shape for part in sub_images(photo, cut)]
    assert shapes == [(300, 250, 3)] * 2  # 344 rows: two of them, overlapping


def test_a_whole_image_keeps_all_its_pixels(photo):
    part = whole(photo, Cut((2, 3)))
    np.testing.assert_array_equal(part.hr, photo)
    assert {scale: lr.shape for scale, lr in part.lr.items()} == {
        2: (172, 125, 3),
        3: (115, 83, 3),
    }


def test_labels_tell_settings_apart():
    assert Cut((2,)).label == "x2_480_384"
    assert Cut((4, 2, 3, 2)).label == "x2-x3-x4_480_288"
    assert Cut((3,), degradation=Degradation("bd")).label == "x3_480_336_bd1.6"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "scales are"),
        ({"scales": (0,)}, "scales is 0"),
        ({"size": 100}, "size is 100; it must be a multiple of 12.*such as 96"),
        ({"step": 50}, "step is 50.*such as 48"),
        ({"size": 192}, "step is 0"),
        ({"size": 240, "step": 252}, "would leave gaps"),
        ({"min_side": 481}, "min_side is 481"),
        ({"min_side": 3}, "min_side is 3"),
    ],
)
def test_what_cannot_be_cut(options, message):
    with pytest.raises(ValueError, match=message):
        Cut(**{"scales": (3, 4)} | options)
