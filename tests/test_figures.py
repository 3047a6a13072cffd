import numpy as np
import pytest

from lnln_jax.figures import Panel, compare_crops

BOX = (10, 20, 12, 16)  # top, left, height, width
ZOOM = 3
GAP, TEXT = 8, 40
CELL = (12 * ZOOM + TEXT + GAP, 16 * ZOOM + GAP)


def panels(count: int) -> list[Panel]:
    images = np.random.default_rng(count).integers(0, 128, (count, 60, 90, 3), np.uint8)
    return [Panel(image, [f"method {i}", "31.41 dB"]) for i, image in enumerate(images)]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_every_crop_is_shown_as_it_is(count, columns):
    shown = panels(count)
    picture = compare_crops(shown, BOX, zoom=ZOOM)
    height = 2 * CELL[0] - GAP
    overview = round(90 * height / 60)
    assert picture.dtype == np.uint8
    assert picture.shape == (height, overview + GAP + columns * CELL[1], 3)
    for i, panel in enumerate(shown):
        top = i // columns * CELL[0]
        left = overview + GAP + i % columns * CELL[1]
        crop = panel.image[10:22, 20:36].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
        np.testing.assert_array_equal(picture[top : top + 36, left : left + 48], crop)
        caption = picture[top + 36 : top + 36 + TEXT, left : left + 48]
        assert caption.min() < 64  # black letters
        assert (caption == 255).mean() > 0.5  # on white


def test_the_box_is_drawn_around_the_detail_of_the_original():
    gray = np.full((300, 300, 3), 90, np.uint8)
    picture = compare_crops([Panel(gray, ["original"])], (100, 150, 40, 50), zoom=2)
    yellow = (picture[..., 0] > 180) & (picture[..., 2] < 60)
    ys, xs = np.nonzero(yellow)
    factor = picture.shape[0] / 300
    line = 2 * factor + 1
    assert abs(ys.min() - 100 * factor) <= line
    assert abs(ys.max() - 140 * factor) <= line
    assert abs(xs.min() - 150 * factor) <= line
    assert abs(xs.max() - 200 * factor) <= line
    assert not yellow[round(105 * factor) : round(135 * factor), round(155 * factor)].any()


def test_the_images_are_left_alone():
    shown = panels(2)
    before = [panel.image.copy() for panel in shown]
    compare_crops(shown, BOX)
    for panel, image in zip(shown, before, strict=True):
        np.testing.assert_array_equal(panel.image, image)


@pytest.mark.parametrize(
    "box", [(-1, 0, 4, 4), (0, 0, 61, 4), (50, 0, 11, 4), (0, 80, 4, 11), (0, 0, 0, 4)]
)
def test_a_box_outside_the_image_is_refused(box):
    with pytest.raises(ValueError, match=r"box is .*does not lie inside an image of \(60, 90\)"):
        compare_crops(panels(2), box)


def test_the_whole_image_can_be_the_box():
    assert compare_crops(panels(2), (0, 0, 60, 90), zoom=1).shape[0] == 2 * (60 + TEXT) + GAP


def test_panels_of_different_sizes_are_refused():
    odd = Panel(np.zeros((30, 45, 3), np.uint8), ["LR"])
    with pytest.raises(ValueError, match=r"different sizes: \(30, 45, 3\), \(60, 90, 3\)"):
        compare_crops([odd, *panels(1)], BOX)
