"""The page of a leaderboard, as text and in Chromium."""

import math
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lnln_jax.evaluation.leaderboard_page import write_page
from lnln_jax.evaluation.leaderboard_rows import Leaderboard, Row, published_rows
from lnln_jax.evaluation.scatter import Point, scatter
from tests.support.browsers import find, show
from tests.support.figures import DANGEROUS
from tests.support.leaderboards import board_of

SVG = "{http://www.w3.org/2000/svg}"


def measured(model: str, network: str, psnr: float, parameters: int, multiply_adds: int) -> Row:
    return Row(
        model,
        f"weights/{model}.pt",
        2,
        network,
        published_size=True,
        parameters=parameters,
        multiply_adds=multiply_adds,
        milliseconds=12.5,
        sha256="0123456789abcdef" * 4,
        scores={"Set5": (psnr, 0.96)},
    )


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    rows = [
        measured("mine", "rlfn", 38.0656, 526_856, 115_400_000_000),
        measured("other", "pan", 38.0007, 261_403, 70_500_000_000),
        Row("bicubic", "bicubic", 2, "bicubic", True, scores={"Set5": (33.66, 0.93)}),
    ]
    broken = Row("broken", "broken.pt", failures=("broken.pt: it is cut off",))
    published = published_rows(rows, ["Set5"])
    return board_of(*rows, *published, failed=[broken])


def text_of(board: Leaderboard, folder: Path, *notes: str) -> str:
    write_page(board, notes, folder / "page.html")
    return (folder / "page.html").read_text("utf-8")


def plots_in(page: str) -> list[ElementTree.Element]:
    found = re.findall(r'<svg viewBox="0 0 640 [^>]*>.*?</svg>', page, re.DOTALL)
    return [
        ElementTree.fromstring(svg.replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))
        for svg in found
    ]


def points_of(plot: ElementTree.Element) -> dict[str, ElementTree.Element]:
    groups = [group for group in plot.iter(f"{SVG}g") if "point" in group.get("class", "")]
    return {f"{g.get('class')}: {g.find(f'{SVG}text').text}": g for g in groups}


# ---- as text ----


def test_the_table_and_the_reasons(board, tmp_path):
    page = text_of(board, tmp_path, "A note.")
    assert '<tr class="measured"><th scope="row">mine</th><td>rlfn</td>' in page
    assert '<td data-value="38.0656">38.07 / 0.9600</td>' in page
    assert f'<td title="{"0123456789abcdef" * 4}">0123456789ab</td>' in page
    assert '<tr class="published"><th scope="row">rlfn (published)</th>' in page
    assert '<th scope="row">broken</th><td class="text">broken.pt: it is cut off</td>' in page
    assert "<li>A note.</li>" in page


def test_only_the_hash_has_the_whole_hash(tmp_path):
    row = replace(measured("a", "pan", 38.0, 1000, 10**9), milliseconds=12.0, sha256="12" * 32)
    page = text_of(board_of(row), tmp_path)
    assert '<td data-value="12.0">12</td>' in page
    assert f'<td title="{"12" * 32}">121212121212</td>' in page


def test_plots_have_a_point_for_each_row_with_a_size(board, tmp_path):
    by_parameters, by_multiply_adds = map(points_of, plots_in(text_of(board, tmp_path)))
    names = {
        *("point measured: mine", "point measured: other"),
        *("point published: rlfn", "point published: pan"),
    }
    assert by_parameters.keys() == by_multiply_adds.keys() == names
    mine = by_parameters["point measured: mine"]
    assert mine.get("tabindex") == "0"
    assert mine.get("aria-label") == "mine: 38.07 dB, 526,856 parameters"
    assert mine.find(f"{SVG}title").text == mine.get("aria-label")


def test_plots_are_named_for_screen_readers(board, tmp_path):
    for plot in plots_in(text_of(board, tmp_path)):
        ids = {each.get("id"): each.text for each in plot if each.get("id")}
        title, about = plot.get("aria-labelledby").split()
        assert ids[title].startswith("x2: PSNR on Set5 (dB) against ")
        assert ids[about].startswith("4 points: ")


def test_a_page_asks_for_nothing(board, tmp_path):
    page = text_of(board, tmp_path)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page.replace("http-equiv", "")
    assert " style=" not in page  # which the policy forbids


def test_names_are_text(tmp_path):
    rows = [measured(name, name, 38.0, 1000 * 2**i, 10**9) for i, name in enumerate(DANGEROUS)]
    failed = [Row(name, name, failures=DANGEROUS) for name in DANGEROUS]
    page = text_of(board_of(*rows, failed=failed, sets=("Set5", DANGEROUS[0])), tmp_path)
    for name in DANGEROUS:
        assert name not in page
        assert name in unescape(page)
    assert page.count("<script") == 1
    assert "onerror='" not in page


def test_nothing_measured(tmp_path):
    page = text_of(board_of(failed=[Row("a", "a", failures=("no",))]), tmp_path)
    assert "<p>No model could be measured.</p>" in page
    assert plots_in(page) == []


def test_a_perfect_result_is_in_the_table_alone(tmp_path):
    page = text_of(board_of(measured("a", "rlfn", math.inf, 1000, 10**9)), tmp_path)
    assert ">inf / 0.9600<" in page
    assert "inf" not in re.sub(r">inf / 0.9600<", "", page.split("<h2>")[0].split("<body>")[1])
    assert plots_in(page) == []


# ---- a plot ----


def place(plot: str) -> list[tuple[float, float]]:
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', plot)
    return [(float(x), float(y)) for x, y in found]


def draw(*values: tuple[float, float]) -> str:
    points = [Point(f"p{i}", f"p{i}", x, y, "measured") for i, (x, y) in enumerate(values)]
    return scatter(points, name="a", title="t", x_label="x", y_label="y")


def test_x_is_logarithmic_and_y_is_not():
    (x1, y1), (x2, y2), (x3, y3) = place(draw((1e3, 30), (1e4, 31), (1e5, 32)))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert x1 < x2 < x3
    assert y1 > y2 > y3


@pytest.mark.parametrize(
    "values", [[(1000, 38)], [(1, 30), (1e12, 30)], [(5e6, 20.123), (5e6, 40.5), (6e6, 38)]]
)
def test_points_and_ticks_lie_inside(values):
    plot = draw(*values)
    for x, y in place(plot):
        assert 72 < x < 626
        assert 14 < y < 366
    assert len(re.findall('class="below"', plot)) >= 2
    assert 2 <= len(re.findall('class="left" x="64"', plot)) <= 9


def test_ticks_do_not_touch_the_axis_label():
    plot = draw((1000, 27.9573))
    (label,) = re.findall(r'class="axis" transform="translate\((\d+) ', plot)
    ticks = re.findall(r'class="left" x="(\d+)" y="[\d.]+">([\d.]+)<', plot)
    assert max(len(text) for _, text in ticks) == 5
    for x, text in ticks:  # digits are 8 wide, and letters hang down by 4
        assert float(x) - 8 * (len(text) - 0.5) > float(label) + 4


def test_labels_hide_nothing():
    plot = draw(*((1e6, 38 + i / 1000) for i in range(12)))
    spots = re.findall(r'<text class="(right|left)" x="([\d.]+)" y="([\d.]+)">p', plot)
    places = {(side, float(y)) for side, _, y in spots}
    assert len(places) == len(spots) > 4
    assert len(re.findall("crowded", plot)) == 12 - len(spots)


# ---- in Chromium ----


@pytest.mark.slow
def test_sorting_focus_and_dark_mode(board, browser, tmp_path):
    write_page(board, ["A note."], tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())

    def first_column() -> list[str]:
        return [cell.text for cell in find(browser, ".sortable tbody th")]

    before = first_column()
    buttons = find(browser, ".sortable thead button")
    assert [button.text.strip("\xa0↕") for button in buttons][:2] == ["model", "network"]
    browser.execute_script("arguments[0].focus()", buttons[3])  # parameters
    browser.switch_to.active_element.send_keys("\n")
    assert find(browser, "[aria-sort=descending]")[0].text.startswith("parameters")
    largest = first_column()
    assert largest[:2] == ["mine", "rlfn (published)"]
    assert set(largest[-2:]) == {"bicubic", "bicubic (published)"}  # without: last
    buttons[3].click()
    assert first_column()[:2] == ["other", "pan (published)"]
    assert set(first_column()[-2:]) == {"bicubic", "bicubic (published)"}
    buttons[0].click()
    assert first_column() == sorted(before)

    colour = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(colour)
    show(browser, width=360, scheme="dark")
    assert browser.execute_script(colour) != light
    wide = "return document.documentElement.scrollWidth - innerWidth"
    assert browser.execute_script(wide) <= 0  # the table scrolls, not the page
    assert all(p.get_attribute("tabindex") == "0" for p in find(browser, ".point"))
