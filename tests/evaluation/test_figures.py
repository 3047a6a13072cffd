import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluation.figure_picture import draw
from lnln_jax.evaluation.figures import (
    Figure,
    Method,
    default_box,
    enlarged_crop,
    shown_scores,
)
from lnln_jax.images.arrays import rgb_to_y
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize

BOX = (40, 60, 36, 36)  # top, left, height, width
YELLOW = (255, 220, 0)


@pytest.fixture(scope="module")
def hr(data_dir):
    return read_rgb(data_dir / "Set5" / "HR" / "butterfly.png")


@pytest.fixture(scope="module")
def bicubic(hr):
    return imresize(imresize(hr, 1 / 2), 2.0)


def figure_of(hr, count: int, box=BOX, name="Set5 x2, butterfly") -> Figure:
    methods = (Method(f"method {i}", np.roll(hr, i + 1, 1), 30.0 + i, 0.9) for i in range(count))
    return Figure(name, hr, tuple(methods), box)


def place_of(block: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """Top and left of the one place where the block stands in the picture."""
    height, width = block.shape[:2]
    starts = np.argwhere((picture == block[0, 0]).all(axis=2))
    places = [
        (int(y), int(x))
        for y, x in starts
        if np.array_equal(picture[y : y + height, x : x + width], block)
    ]
    assert len(places) == 1
    return places[0]


def places_of(figure: Figure, picture: np.ndarray) -> list[tuple[int, int]]:
    return [place_of(enlarged_crop(m.image, figure.box), picture) for m in figure.columns]


@pytest.mark.parametrize(
    ("count", "rows"), [(1, [2]), (2, [3]), (3, [2, 2]), (5, [3, 3]), (10, [4, 4, 3])]
)
def test_every_crop_is_shown_as_it_is_with_a_caption(hr, count, rows):
    figure = figure_of(hr, count)
    picture = draw([figure])
    assert picture.dtype == np.uint8
    places = places_of(figure, picture)
    assert places == sorted(places)
    tops = [top for top, _ in places]
    assert [tops.count(top) for top in sorted(set(tops))] == rows
    side = 36 * (320 // 36)
    for top, left in places:
        caption = picture[top + side + 1 : top + side + 57, left : left + side]
        assert caption.min() < 64  # black letters
        assert (caption == 255).mean() > 0.8  # on white


@pytest.mark.parametrize("size", [7, 30, 96, 160, 320])
def test_a_crop_is_enlarged_by_a_whole_factor_to_a_readable_size(hr, size):
    image = np.tile(hr, (2, 2, 1))
    crop = enlarged_crop(image, (5, 9, size, size))
    factor = crop.shape[0] // size
    assert 200 <= crop.shape[0] <= 320
    np.testing.assert_array_equal(crop[::factor, ::factor], image[5 : 5 + size, 9 : 9 + size])
    np.testing.assert_array_equal(
        crop[factor - 1 :: factor, factor - 1 :: factor], crop[::factor, ::factor]
    )


@pytest.mark.parametrize("name", ["W" * 300, "a name of many words " * 20, "m_" * 40])
def test_long_names_stay_under_their_own_crop(hr, name):
    methods = tuple(Method(name, np.roll(hr, i + 1, 1), 31.4, 0.9) for i in range(4))
    figure = Figure(name, hr, methods, BOX)
    picture = draw([figure])
    places = places_of(figure, picture)
    side = 36 * (320 // 36)
    bottom = places[0][0] + side + 1
    lefts = sorted({left for _, left in places})
    for left in lefts[:-1]:
        assert (picture[bottom : bottom + 3 * 26, left + side + 1 : left + side + 15] == 255).all()
    assert picture[bottom + 3 * 26 : places[3][0] - 2, lefts[0] : lefts[0] + side].min() < 64
    assert (picture[:, -14:] == 255).all()


def test_narrow_crops_leave_room_for_their_captions(hr):
    figure = figure_of(hr, 3, box=(0, 100, 200, 3))
    lefts = sorted({left for _, left in places_of(figure, draw([figure]))})
    assert lefts[1] - lefts[0] >= 200


def test_the_box_is_drawn_around_the_detail_of_the_original(hr):
    picture = draw([figure_of(hr, 3)])
    ys, xs = np.nonzero((picture == YELLOW).all(axis=2))
    marked = picture[ys.min() + 3 : ys.max() - 2, xs.min() + 3 : xs.max() - 2]
    shown = np.asarray(Image.fromarray(marked).resize((36, 36)), np.float64)
    errors = {
        (dy, dx): np.abs(shown - hr[40 + dy : 76 + dy, 60 + dx : 96 + dx]).mean()
        for dy in range(-3, 4)
        for dx in range(-3, 4)
    }
    assert min(errors, key=errors.__getitem__) == (0, 0)
    assert errors[0, 0] < 12


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (236, 236, 20, 20), (0, 0, 256, 256)])
def test_a_box_at_the_edge_is_drawn_on_all_sides(hr, box):
    picture = draw([figure_of(hr, 3, box)])
    yellow = (picture == YELLOW).all(axis=2)
    ys, xs = np.nonzero(yellow)
    for line in (yellow[ys.min()], yellow[ys.max()], yellow[:, xs.min()], yellow[:, xs.max()]):
        assert line.sum() > 20


@pytest.mark.parametrize("size", [(40, 256), (256, 20), (1, 1)])
def test_wide_and_tall_images(hr, size):
    image = hr[: size[0], : size[1]]
    figure = Figure("a name", image, (Method("the same", image, None, None),), (0, 0, 1, 1))
    picture = draw([figure])
    assert max(picture.shape) < 1200


def test_figures_stand_below_each_other_with_their_crops_aligned(hr, data_dir):
    comic = read_rgb(data_dir / "Set14" / "HR" / "comic.png")
    figures = [figure_of(hr, 3), figure_of(comic, 3, (200, 100, 33, 33), "Set14 x2, comic")]
    picture = draw(figures)
    first, second = (places_of(figure, picture) for figure in figures)
    assert max(first)[0] < min(second)[0]
    centres = [{left + side // 2 for _, left in p} for p, side in ((first, 288), (second, 297))]
    assert all(min(abs(x - y) for y in centres[1]) <= 1 for x in centres[0])


def test_the_best_score_is_bold(hr, bicubic):
    def ink(psnr):  # of the first method's scores
        scores = ((31.41, 0.9), (psnr, psnr / 40))
        methods = tuple(Method("m", np.roll(bicubic, i, 1), *s) for i, s in enumerate(scores))
        figure = Figure("name", hr, methods, BOX)
        picture = draw([figure])
        top, left = places_of(figure, picture)[0]
        return (255 - picture[top + 289 + 30 : top + 345, left : left + 288]).sum(dtype=np.int64)

    assert ink(30.0) > 1.1 * ink(38.0)


def test_scores_are_shown_as_tables_print_them():
    image = np.zeros((2, 2, 3), np.uint8)
    values = [(None, None), (30.004, 0.91), (29.996, None), (float("inf"), 0.91004), (28.0, 0.9)]
    shown = shown_scores([Method("m", image, *value) for value in values])
    assert [psnr.text for psnr, _ in shown] == ["–", "30.00", "30.00", "inf", "28.00"]
    assert [ssim.text for _, ssim in shown] == ["–", "0.9100", "–", "0.9100", "0.9000"]
    assert [psnr.best for psnr, _ in shown] == [False, False, False, True, False]
    assert [ssim.best for _, ssim in shown] == [False, True, False, True, False]  # both of a tie


def test_a_single_score_is_not_the_best_of_any():
    image = np.zeros((2, 2, 3), np.uint8)
    shown = shown_scores([Method("LR", image, None, None), Method("m", image, 30.0, 0.9)])
    assert not any(score.best for pair in shown for score in pair)


def test_the_default_box_is_where_the_methods_differ_most(hr, bicubic):
    other = imresize(imresize(hr, 1 / 4), 4.0)
    difference = (rgb_to_y(bicubic) - rgb_to_y(other)) ** 2
    side = round(256 / 6)
    sums = {
        (y, x): difference[y : y + side, x : x + side].sum()
        for y in range(256 - side + 1)
        for x in range(256 - side + 1)
    }
    best = max(sums, key=sums.__getitem__)
    lr = Method("LR", np.roll(hr, 30, 0), None, None)  # has no score, so it does not count
    methods = [lr, Method("a", bicubic, 30.0, 0.9), Method("b", other, 28.0, 0.8)]
    assert default_box(hr, methods) == (*best, side, side)


def test_the_default_box_of_one_method_is_where_it_is_wrong(hr):
    wrong = hr.copy()
    wrong[100:130, 190:230] ^= 128
    top, left, height, width = default_box(hr, [Method("a", wrong, 30.0, 0.9)])
    assert top <= 100
    assert left <= 190
    assert top + height >= 130
    assert left + width >= 230


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (256, 256)])
def test_the_default_box_lies_inside_any_image(hr, size):
    image = hr[: size[0], : size[1]]
    methods = (Method("a", 255 - image, None, None),)
    box = default_box(image, methods)
    assert box[2] == box[3] == max(1, round(min(image.shape[:2]) / 6))
    Figure("any", image, methods, box)


def test_the_images_are_left_alone(hr):
    figure = figure_of(hr.copy(), 2)
    before = [method.image.copy() for method in figure.columns]
    draw([figure])
    default_box(figure.hr, figure.methods)
    for method, image in zip(figure.columns, before, strict=True):
        np.testing.assert_array_equal(method.image, image)


@pytest.mark.parametrize(
    "box", [(-1, 0, 4, 4), (0, 0, 257, 4), (250, 0, 7, 4), (0, 250, 4, 7), (0, 0, 0, 4)]
)
def test_a_box_outside_the_image_is_refused(hr, box):
    with pytest.raises(ValueError, match=r"box is .*does not lie inside an image of \(256, 256\)"):
        figure_of(hr, 1, box)


def test_images_that_do_not_belong_together_are_refused(hr):
    def check(original, image, message):
        methods = (Method("LNLN", image, None, None),)
        with pytest.raises(ValueError, match=message):
            default_box(original, methods)
        with pytest.raises(ValueError, match=message):
            Figure("name", original, methods, BOX)

    real = hr.astype(np.float32)
    half = r"image of LNLN is uint8 \(128, 128, 3\), but hr is uint8 \(256, 256, 3\)"
    check(hr, hr[::2, ::2], half)
    check(hr, real, "image of LNLN is float32")
    check(hr[..., 0], hr, r"hr must be uint8 of shape \(H, W, 3\), got uint8 \(256, 256\)")
    check(real, hr, r"hr must be uint8 of shape \(H, W, 3\), got float32")


def test_nothing_to_show_is_refused(hr):
    with pytest.raises(ValueError, match="figures is empty"):
        draw([])
    with pytest.raises(ValueError, match="methods is empty"):
        Figure("name", hr, (), BOX)
    with pytest.raises(ValueError, match="methods is empty"):
        default_box(hr, [])


def test_a_score_that_is_no_number_is_refused(hr):
    with pytest.raises(ValueError, match="psnr of LNLN is NaN"):
        Method("LNLN", hr, float("nan"), 0.9)
    with pytest.raises(ValueError, match="ssim of LNLN is NaN"):
        Method("LNLN", hr, 30.0, float("nan"))
