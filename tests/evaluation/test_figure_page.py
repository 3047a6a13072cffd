import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluation.figure_page import write_page
from lnln_jax.evaluation.figures import Figure, enlarged_crop
from tests.support.figures import DANGEROUS, comic_and_butterfly, renamed


@pytest.fixture(scope="module")
def figures(data_dir) -> list[Figure]:
    return comic_and_butterfly(data_dir)


def pictures_in(page: str) -> list[np.ndarray]:
    data = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in data]


class Page(HTMLParser):
    """The text and the tags of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


# Without a browser.


def test_every_crop_and_image_is_in_the_page_as_it_is(figures, tmp_path):
    write_page(figures, tmp_path / "page.html", title="A title")
    shown = pictures_in((tmp_path / "page.html").read_text("utf-8"))
    expected = []
    for figure in figures:
        expected += [enlarged_crop(method.image, figure.box) for method in figure.columns]
        expected += [method.image for method in figure.columns]
    assert len(shown) == len(expected)
    for one, other in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_table_and_captions_give_the_scores_and_mark_the_best(figures, tmp_path):
    write_page(figures[:1], tmp_path / "page.html", title="A title", note="A note.")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert '<th scope="row">bicubic</th><td><b>26.02</b></td><td><b>0.8492</b></td>' in page
    assert '<th scope="row">mirrored</th><td>9.50</td><td>0.1000</td>' in page
    assert '<th scope="row">LR</th><td>–</td><td>–</td>' in page
    assert "bicubic<span><b>26.02</b> / <b>0.8492</b></span>" in page
    assert "original<span>PSNR / SSIM</span>" in page
    assert ">A note.<" in page


def test_names_are_text(figures, tmp_path):
    plain, dangerous = tmp_path / "plain.html", tmp_path / "dangerous.html"
    write_page(figures[:1], plain, title="t", note="n")
    write_page([renamed(figures[0], DANGEROUS)], dangerous, title=DANGEROUS[0], note=DANGEROUS[1])
    one, other = (Page(path.read_text("utf-8")) for path in (plain, dangerous))
    assert other.tags == one.tags
    for name in DANGEROUS:
        assert name in other.texts


def test_names_that_are_not_text_are_written(figures, tmp_path):
    write_page([renamed(figures[0], ["\udcff", "a", "b"])], tmp_path / "page.html", title="\udcff")
    assert "&#56575;" in (tmp_path / "page.html").read_text("utf-8")


def test_nothing_in_the_page_names_another_place(figures, tmp_path):
    write_page(figures, tmp_path / "page.html", title="A title")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "://" not in page
    assert "url(" not in page
    assert "@import" not in page


def test_the_same_figures_give_the_same_page(figures, tmp_path):
    for name in ("one.html", "other.html"):
        write_page(figures[:1], tmp_path / name, title="A title")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_what_fails_leaves_nothing_behind(figures, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_page(figures[:1], tmp_path / "taken", title="A title")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    with pytest.raises(FileNotFoundError):
        write_page(figures[:1], tmp_path / "missing" / "page.html", title="A title")
    with pytest.raises(ValueError, match="figures is empty"):
        write_page([], tmp_path / "page.html", title="A title")
    assert not (tmp_path / "page.html").exists()
