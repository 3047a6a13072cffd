"""The page of figures in Chromium."""

import base64
import io
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluation.figure_page import write_page
from lnln_jax.evaluation.figures import Figure, enlarged_crop
from tests.support.browsers import find, show
from tests.support.figures import BOX, DANGEROUS, comic_and_butterfly, renamed


@pytest.fixture(scope="module")
def figures(data_dir) -> list[Figure]:
    return comic_and_butterfly(data_dir)


@pytest.fixture(scope="module")
def address(figures, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(figures, path, title="A title", note="A note.")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    browser.get(address)
    return browser


def edges_of(page, element) -> dict[str, float]:
    return page.execute_script("return arguments[0].getBoundingClientRect().toJSON()", element)


def shot(page, element) -> np.ndarray:
    """What is seen of an element that fits into the window."""
    page.execute_script("arguments[0].scrollIntoView()", element)
    edges = {key: round(value) for key, value in edges_of(page, element).items()}
    png = page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))
    return seen[edges["top"] : edges["bottom"], edges["left"] : edges["right"]]


def check_slider(page, figure: Figure, left: np.ndarray, right: np.ndarray, percent: float) -> None:
    """Left of the divider there is the left image, right of it the right one, bit for bit."""
    stage, divider = find(page, ".stage")[0], find(page, ".divider")[0]
    assert float(divider.get_attribute("aria-valuenow")) == round(percent)
    height, width = figure.hr.shape[:2]
    seen = shot(page, stage)
    assert seen.shape == figure.hr.shape
    expected = np.where(np.arange(width)[:, None] < width * percent / 100, left, right)
    compared = np.ones((height, width), bool)
    top, side, box_height, box_width = figure.box
    compared[top - 3 : top + box_height + 3, side - 3 : side + box_width + 3] = False
    x = round(width * percent / 100)
    compared[:, max(0, x - 24) : x + 24] = False  # the divider with its handle
    np.testing.assert_array_equal(seen[compared], expected[compared])


def test_images_have_their_own_sizes(page, figures):
    sizes = page.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalHeight, i.naturalWidth])"
    )
    expected = []
    for figure in figures:
        crop, count = enlarged_crop(figure.hr, figure.box).shape[:2], len(figure.columns)
        expected += [[True, *crop]] * count + [[True, *figure.hr.shape[:2]]] * count
    assert sizes == expected


@pytest.mark.slow
def test_first_the_first_and_the_last_method_share_the_image(page, figures):
    figure = figures[0]
    check_slider(page, figure, figure.methods[0].image, figure.methods[2].image, 50)


@pytest.mark.slow
def test_a_single_method_is_compared_with_the_original(browser, figures, tmp_path):
    figure = Figure("one", figures[0].hr, figures[0].methods[2:], BOX)
    write_page([figure], tmp_path / "page.html", title="A title")
    browser.get((tmp_path / "page.html").as_uri())
    check_slider(browser, figure, figure.methods[0].image, figure.hr, 50)


def test_choosing_methods_changes_the_picture(page, figures):
    from selenium.webdriver.support.select import Select

    figure = figures[0]
    left, right = (Select(select) for select in find(page, "section:first-of-type select"))
    assert [option.text for option in left.options] == ["LR", "bicubic", "mirrored", "original"]
    left.select_by_visible_text("mirrored")
    right.select_by_visible_text("original")
    check_slider(page, figure, figure.methods[2].image, figure.hr, 50)
    assert find(page, ".divider")[0].get_attribute("aria-valuetext") == "50% mirrored, 50% original"
    left.select_by_visible_text("original")
    check_slider(page, figure, figure.hr, figure.hr, 50)


@pytest.mark.slow
def test_keys_move_the_divider(page, figures):
    from selenium.webdriver.common.keys import Keys

    figure, divider = figures[0], find(page, ".divider")[0]
    assert divider.aria_role == "slider"
    left, right = figure.methods[0].image, figure.methods[2].image
    position = 50
    for key, step in (
        *[(Keys.ARROW_RIGHT, 1)] * 3,
        (Keys.ARROW_UP, 1),
        (Keys.ARROW_LEFT, -1),
        (Keys.ARROW_DOWN, -1),
        (Keys.PAGE_UP, 10),
        (Keys.PAGE_DOWN, -10),
        (Keys.PAGE_DOWN, -10),
    ):
        divider.send_keys(key)
        position += step
        assert divider.get_attribute("aria-valuenow") == str(position)
    check_slider(page, figure, left, right, position)
    divider.send_keys(Keys.HOME, Keys.ARROW_LEFT)
    check_slider(page, figure, left, right, 0)
    divider.send_keys(Keys.END, Keys.ARROW_RIGHT)
    check_slider(page, figure, left, right, 100)


def test_a_mouse_moves_the_divider(page, figures):
    from selenium.webdriver import ActionChains

    figure, stage, divider = figures[0], find(page, ".stage")[0], find(page, ".divider")[0]
    left, right = figure.methods[0].image, figure.methods[2].image
    page.execute_script("arguments[0].scrollIntoView()", stage)
    ActionChains(page).click_and_hold(divider).move_by_offset(60, 5).release().perform()
    check_slider(page, figure, left, right, 100 * (125 + 60) / 250)
    ActionChains(page).move_by_offset(-30, 0).perform()  # released: it stays
    check_slider(page, figure, left, right, 100 * (125 + 60) / 250)
    ActionChains(page).move_to_element_with_offset(stage, -75, 20).click().perform()
    check_slider(page, figure, left, right, 100 * (125 - 75) / 250)
    ActionChains(page).click_and_hold().move_by_offset(-200, 0).release().perform()
    check_slider(page, figure, left, right, 0)


@pytest.mark.slow
def test_a_finger_moves_the_divider_by_its_handle_only(page, figures):
    figure, stage = figures[0], find(page, ".stage")[0]
    left, right = figure.methods[0].image, figure.methods[2].image
    page.execute_script("arguments[0].scrollIntoView()", stage)
    edges = edges_of(page, stage)

    def touch(kind, x, y=0):
        points = [{"x": edges["x"] + x, "y": edges["y"] + 100 + y}] if kind != "touchEnd" else []
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(start, to, y=0):
        touch("touchStart", start)
        for i in range(1, 6):
            touch("touchMove", start + (to - start) * i / 5, y * i / 5)
        touch("touchEnd", to)

    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        drag(125, 175)
        check_slider(page, figure, left, right, 70)
        before = page.execute_script("return scrollY")
        drag(40, 60, y=-80)  # scrolls the page
        assert page.execute_script("return scrollY") > before
        assert find(page, ".divider")[0].get_attribute("aria-valuenow") == "70"
    finally:
        page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@pytest.mark.slow
@pytest.mark.parametrize("zoom", [2, 4])
def test_zooming_shows_the_box_with_whole_pixels(page, figures, zoom):
    figure, frame, stage = figures[0], find(page, ".frame")[0], find(page, ".stage")[0]
    find(page, f"section:first-of-type input[value='{zoom}']")[0].click()
    height, width = figure.hr.shape[:2]
    assert stage.size == {"height": zoom * height, "width": zoom * width}
    y, x = (round(edges_of(page, stage)[key] - edges_of(page, frame)[key]) for key in "yx")
    seen = shot(page, frame)
    top, left, box_height, box_width = (zoom * side for side in BOX)
    inside = seen[y + top : y + top + box_height, x + left : x + left + box_width]
    assert inside.shape == (box_height, box_width, 3)  # all of the box is in sight
    shown = [figure.methods[i].image[170:210, 100:141] for i in (0, 2)]
    shown = [image.repeat(zoom, axis=0).repeat(zoom, axis=1) for image in shown]
    middle = box_width // 2  # where the divider has gone
    np.testing.assert_array_equal(inside[3:-3, 3 : middle - 24], shown[0][3:-3, 3 : middle - 24])
    np.testing.assert_array_equal(inside[3:-3, middle + 24 : -3], shown[1][3:-3, middle + 24 : -3])


@pytest.mark.slow
def test_the_divider_stays_in_sight_of_a_zoomed_image(page):
    from selenium.webdriver.common.keys import Keys

    show(page, 390)
    frame, divider = find(page, ".frame")[0], find(page, ".divider")[0]
    find(page, "section:first-of-type input[value='4']")[0].click()

    def in_sight():
        return page.execute_async_script(
            "const [frame, divider, done] = arguments; requestAnimationFrame(() => "
            "requestAnimationFrame(() => { const f = frame.getBoundingClientRect(), "
            "d = divider.getBoundingClientRect(), x = d.left + d.width / 2; "
            "done(f.left - 1 <= x && x <= f.right + 1); }))",
            frame,
            divider,
        )

    assert in_sight()
    for left in (0, 5000, 300):
        page.execute_script("arguments[0].scrollLeft = arguments[1]", frame, left)
        assert in_sight()
    for key in (Keys.HOME, Keys.END, Keys.PAGE_DOWN):
        divider.send_keys(key)
        assert in_sight()
    assert divider.get_attribute("aria-valuenow") == "90"


@pytest.mark.slow
def test_the_box_is_marked(page, figures):
    seen = shot(page, find(page, ".stage")[1])  # of the image whose box touches the upper edge
    ys, xs = np.nonzero((seen.astype(int) - (255, 220, 0) == 0).all(axis=2))
    top, left, height, width = figures[1].box
    assert top <= ys.min() <= top + 1
    assert abs(ys.max() - (top + height)) <= 1
    assert abs(xs.min() - left) <= 1
    assert abs(xs.max() - (left + width)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("names", [("LR", "bicubic", "LNLN"), ("W" * 90, "_a" * 60, "a b " * 40)])
def test_nothing_overflows_sideways(browser, figures, tmp_path, names):
    methods = figures[0].methods[1:] * 5  # ten of them
    many = Figure("n" * 200, figures[0].hr, methods, (0, 0, 8, 100))
    shown = [renamed(figures[0], names), many]
    write_page(shown, tmp_path / "page.html", title="T" * 200, note="n" * 300)
    browser.get((tmp_path / "page.html").as_uri())
    for width in (320, 390, 768, 1280):
        show(browser, width)
        assert browser.execute_script("return innerWidth") == width
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        edges = browser.execute_script(
            "return [...document.querySelectorAll('.crops *, td, th, select, .zoom, .frame, h1')]"
            ".map(e => { const r = e.getBoundingClientRect(); return [r.left, r.right]; })"
        )
        assert len(edges) > 100
        assert all(left >= 0 and right <= width for left, right in edges)
        captions = browser.execute_script(
            "return [...document.querySelectorAll('figcaption')]"
            ".map(e => { const r = e.getBoundingClientRect(); return [r.top, r.left, r.right]; })"
        )
        for (top, _, right), (next_top, next_left, _) in pairwise(sorted(captions)):
            assert next_top != top or next_left >= right


@pytest.mark.slow
def test_dangerous_names_are_shown_as_text(browser, figures, tmp_path):
    write_page(
        [renamed(figures[0], DANGEROUS)],
        tmp_path / "page.html",
        title=DANGEROUS[0],
        note=DANGEROUS[1],
    )
    browser.get((tmp_path / "page.html").as_uri())
    assert browser.title == DANGEROUS[0]
    assert [e.text for e in find(browser, "h1, .note, h2")] == [
        DANGEROUS[0],
        DANGEROUS[1],
        DANGEROUS[0],
    ]
    assert [e.text for e in find(browser, "tbody th")] == list(DANGEROUS)
    captions = [e.text.split("\n")[0] for e in find(browser, "figcaption")]
    assert captions == [*DANGEROUS, "original"]
    assert [e.text for e in find(browser, "option")] == [*DANGEROUS, "original"] * 2
    assert len(find(browser, "script")) == 1
    check_slider(browser, figures[0], *(figures[0].methods[i].image for i in (0, 2)), 50)


def test_a_script_that_is_not_the_pages_own_does_not_run(chromium, figures, tmp_path):
    write_page(figures[:1], tmp_path / "page.html", title="A title")
    page = (tmp_path / "page.html").read_text("utf-8")
    injected = "<script>document.title = 'x'</script><img src=x onerror=\"document.title = 'y'\">"
    (tmp_path / "page.html").write_text(page.replace("<header>", f"{injected}<header>"), "utf-8")
    chromium.get((tmp_path / "page.html").as_uri())
    assert chromium.title == "A title"
    assert "Content Security Policy" in str(chromium.get_log("browser"))


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_it_follows_the_colour_scheme(page, scheme, dark):
    show(page, scheme=scheme)
    style = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    paper, ink = (
        np.mean([int(value) for value in re.findall(r"\d+", colour)[:3]])
        for colour in page.execute_script(style)
    )
    assert abs(paper - ink) > 180
    assert (paper < ink) == dark
