"""Which files are upscaled, and what the results are called."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.images.resize import imresize
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.photos import upscale_files
from tests.support.photo_files import BICUBIC, RGB, Lines, errors, load, names, save


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("png", ["a_x2.png", "b_x2.png"]),
        ("jpg", ["a_x2.jpg", "b_x2.jpg"]),
        ("webp", ["a_x2.webp", "b_x2.webp"]),
        ("tiff", ["a_x2.tiff", "b_x2.tiff"]),
        ("same", ["a_x2.jpg", "b_x2.bmp"]),
    ],
)
def test_formats(tmp_path, format, expected):
    save(tmp_path / "in" / "a.JPG", RGB)
    save(tmp_path / "in" / "b.bmp", RGB)
    out = tmp_path / "out"
    assert not errors(upscale_files(BICUBIC, [tmp_path / "in"], out, format=format))
    assert names(out) == expected
    kinds = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".tiff": "TIFF", ".bmp": "BMP"}
    for name in expected:
        with Image.open(out / name) as image:
            assert image.format == kinds[Path(name).suffix]
            assert image.size == (16, 12)


def test_sub_folders_are_kept(tmp_path):
    for name in ("a.png", "sub/a.png", "sub/deep/b.png"):
        save(tmp_path / "in" / name, RGB)
    other = save(tmp_path / "elsewhere" / "c.png", RGB)
    assert not errors(upscale_files(BICUBIC, [tmp_path / "in", other], tmp_path / "out"))
    assert names(tmp_path / "out") == [
        "a_x2.png",
        "c_x2.png",
        "sub/a_x2.png",
        "sub/deep/b_x2.png",
    ]


def test_files_of_one_stem_get_names_of_their_own(tmp_path):
    source = save(tmp_path / "in" / "a.png", RGB).parent
    save(source / "a.bmp", RGB[::-1])
    (source / "b.jpg").write_bytes(b"no picture")
    save(source / "b.png", RGB)
    save(source / "c.png", RGB)
    out = tmp_path / "out"
    assert errors(upscale_files(BICUBIC, [source], out)).keys() == {"b.jpg"}
    assert names(out) == ["a_bmp_x2.png", "a_png_x2.png", "b_png_x2.png", "c_x2.png"]
    np.testing.assert_array_equal(load(out / "a_bmp_x2.png"), imresize(RGB[::-1], 2))
    (source / "b.jpg").unlink()
    inputs = [source / "c.png", source / "a.png", source / "a.bmp", source / "b.png"]
    again = upscale_files(BICUBIC, inputs, tmp_path / "again")  # the order does not matter
    assert not errors(again)
    assert names(tmp_path / "again") == ["a_bmp_x2.png", "a_png_x2.png", "b_x2.png", "c_x2.png"]
    upscale_files(BICUBIC, inputs, tmp_path / "same", format="same")
    assert names(tmp_path / "same") == ["a_x2.bmp", "a_x2.png", "b_x2.png", "c_x2.png"]


def test_two_results_of_one_name_are_refused_before_work(tmp_path):
    first = save(tmp_path / "1" / "a.png", RGB)
    second = save(tmp_path / "2" / "a.png", RGB)
    for inputs in ([first, second], [tmp_path / "1", tmp_path / "2"]):
        with pytest.raises(ValueError, match=rf"a_png_x2\.png would be .* {first} and of {second}"):
            upscale_files(BICUBIC, inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not errors(upscale_files(BICUBIC, [tmp_path], tmp_path / "out"))
    assert names(tmp_path / "out") == ["1/a_x2.png", "2/a_x2.png"]


def test_a_file_given_twice_is_done_once(tmp_path):
    source = save(tmp_path / "in" / "a.png", RGB)
    results = upscale_files(BICUBIC, [tmp_path / "in", source], tmp_path / "out")
    assert [result.error for result in results] == [None]


@pytest.mark.parametrize("out", [".", "out", "sub/out"])
def test_running_twice_does_not_upscale_results(tmp_path, out):
    save(tmp_path / "a.png", RGB)
    save(tmp_path / "sub" / "b.png", RGB)
    for _ in range(2):
        results = upscale_files(BICUBIC, [tmp_path], tmp_path / out, overwrite=True)
        assert not errors(results)
        assert [result.source.name for result in results] == ["a.png", "b.png"]
    assert len(names(tmp_path)) == 4


def test_a_result_can_be_an_input(tmp_path):
    source = save(tmp_path / "a.png", RGB)
    assert not errors(upscale_files(BICUBIC, [source], tmp_path))
    assert not errors(upscale_files(BICUBIC, [tmp_path / "a_x2.png"], tmp_path))
    assert load(tmp_path / "a_x2_x2.png").shape == (24, 32, 3)
    with pytest.raises(ValueError, match=r"a_x2\.png is an input, and would be replaced by"):
        upscale_files(BICUBIC, [source, tmp_path / "a_x2.png"], tmp_path, overwrite=True)
    save(tmp_path / "a_x2.png", RGB)
    results = upscale_files(BICUBIC, [tmp_path, tmp_path / "a_x2.png"], tmp_path / "out")
    assert [result.source.name for result in results] == ["a.png", "a_x2.png", "a_x2_x2.png"][:2]


@pytest.mark.parametrize(
    ("scale", "options"),
    [(2, {"format": "jpg"}), (4, {}), (3, {"format": "same"})],
)
def test_results_of_other_scales_and_formats_are_known(tmp_path, scale, options):
    save(tmp_path / "a.png", RGB)
    save(tmp_path / "sub" / "b.png", RGB)
    lines = Lines()
    for _ in range(2):
        for number, given in ((2, {}), (scale, options)):
            upscaler = BicubicUpscaler(number)
            given = given | {"overwrite": True, "report": lines}
            results = upscale_files(upscaler, [tmp_path], tmp_path, **given)
            assert [result.source.name for result in results] == ["a.png", "b.png"]
    assert len(names(tmp_path)) == 6
    told = "skipped: 4 results of earlier runs (to have one, name the file itself)"
    assert lines[-1] == f"2 of 2 upscaled; {told}"
    results = upscale_files(BICUBIC, [tmp_path], tmp_path / "out", report=lines)
    assert [result.source.name for result in results][:2] == ["a.png", "b.png"]


def test_what_is_called_as_a_result_but_of_nothing_there_is_upscaled(tmp_path):
    for name in ("a_x2.png", "b_x0.png", "b.png", "c_x.png", "c.png", "sub/d.png"):
        save(tmp_path / "in" / name, RGB)
    results = upscale_files(BICUBIC, [tmp_path / "in"], tmp_path / "out")
    assert len(results) == 6
    for name in ("results/d_x4.png", "a_x2_x4.png", "d_png_x3.png", "sub/d_x2_x2.tif"):
        save(tmp_path / "in" / name, RGB)
    assert len(upscale_files(BICUBIC, [tmp_path / "in"], tmp_path / "new")) == 6


def test_results_that_exist_are_skipped(tmp_path):
    source = save(tmp_path / "in" / "a.png", RGB).parent
    (source / "broken.png").write_bytes(b"no picture")
    save(source / "b.png", RGB)
    save(tmp_path / "out" / "a_x2.png", RGB[:1])
    lines = Lines()
    options = {"skip_existing": True, "report": lines}
    results = upscale_files(BICUBIC, [source], tmp_path / "out", **options)
    assert [result.source.name for result in results] == ["b.png", "broken.png"]
    assert lines[-1].startswith("1 of 2 upscaled; 1 failed: ")
    assert lines[-1].endswith("broken.png; skipped: 1 whose result exists")
    assert load(tmp_path / "out" / "a_x2.png").shape == (1, 8, 3)
    (source / "broken.png").unlink()
    assert upscale_files(BICUBIC, [source], tmp_path / "out", **options) == []
    assert lines[-1] == "0 of 0 upscaled; skipped: 2 whose results exist"


def test_the_suffix_is_chosen(tmp_path):
    source = save(tmp_path / "in" / "a.png", RGB)
    for suffix, name in (("", "a.png"), ("-large", "a-large.png"), (".2", "a.2.png")):
        assert not errors(upscale_files(BICUBIC, [source], tmp_path / "out", suffix=suffix))
        assert (tmp_path / "out" / name).exists()
    for inputs in ([source], [source.parent]):
        with pytest.raises(ValueError, match=r"a\.png would be replaced by its own result"):
            upscale_files(BICUBIC, inputs, source.parent, suffix="", overwrite=True)
    assert load(source).shape == RGB.shape


def test_results_with_the_same_suffix_are_known(tmp_path):
    save(tmp_path / "a.png", RGB)
    for format in ("png", "jpg", "jpg"):
        options = {"suffix": "_big", "format": format, "overwrite": True}
        results = upscale_files(BICUBIC, [tmp_path], tmp_path, **options)
        assert [result.source.name for result in results] == ["a.png"]


def test_the_output_can_be_a_file(tmp_path):
    source = save(tmp_path / "in" / "a.png", RGB)
    target = tmp_path / "new" / "b.JPG"
    (result,) = upscale_files(BICUBIC, [source], target, format="jpeg")
    assert result.target == target
    with Image.open(target) as image:
        assert (image.format, image.size) == ("JPEG", (16, 12))
    assert errors(upscale_files(BICUBIC, [source], target)).keys() == {"a.png"}  # it exists
    assert upscale_files(BICUBIC, [source], target, skip_existing=True) == []
    (tmp_path / "folder.png").mkdir()
    assert not errors(upscale_files(BICUBIC, [source], tmp_path / "folder.png"))
    assert not errors(upscale_files(BICUBIC, [source], f"{tmp_path}/new.png/"))
    assert not errors(upscale_files(BICUBIC, [source], tmp_path / "v1.2"))
    for folder in ("folder.png", "new.png", "v1.2"):
        assert names(tmp_path / folder) == ["a_x2.png"]


def test_an_output_file_that_cannot_be_meant(tmp_path):
    source = save(tmp_path / "in" / "a.png", RGB)
    with pytest.raises(ValueError, match=r"the name of one picture, but there is a folder"):
        upscale_files(BICUBIC, [source.parent], tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"the name of one picture, but there are 2 inputs"):
        upscale_files(BICUBIC, [source, source], tmp_path / "b.png")
    for format in ("jpg", "same"):
        with pytest.raises(ValueError, match=r"of one picture, but format is (jpg|png); leave"):
            upscale_files(BICUBIC, [source], tmp_path / "b.webp", format=format)
    with pytest.raises(ValueError, match=r"a\.png would be replaced by its own result"):
        upscale_files(BICUBIC, [source], source, overwrite=True)
    assert errors(upscale_files(BICUBIC, [source], tmp_path / "b.heic"))["a.png"].startswith(
        f"{tmp_path / 'b.heic'}: cannot write the format '.heic'"
    )


def test_the_same_format_is_png_where_that_is_read_only(tmp_path):
    save(tmp_path / "in" / "a.gif", RGB)
    save(tmp_path / "in" / "b.JPG", RGB)
    assert not errors(upscale_files(BICUBIC, tmp_path / "in", tmp_path / "out", format="same"))
    assert names(tmp_path / "out") == ["a_x2.png", "b_x2.jpg"]
    upscale_files(BICUBIC, tmp_path / "in" / "a.gif", tmp_path / "c.png", format="same")
    assert load(tmp_path / "c.png").shape == (12, 16, 3)


@pytest.mark.parametrize("given", ["", " ", "\t"])
def test_an_empty_input_is_refused(tmp_path, monkeypatch, given):
    save(tmp_path / "a.png", RGB)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="inputs has an empty name"):
        upscale_files(BICUBIC, [given])
    with pytest.raises(ValueError, match="inputs is empty"):
        upscale_files(BICUBIC, [])
    assert names(tmp_path) == ["a.png"]


def test_what_is_left_out_of_folders_is_told(tmp_path):
    save(tmp_path / "in" / "a.png", RGB)
    for name in ("a.heic", "b.heic", "c.nef", "notes.txt"):
        (tmp_path / "in" / name).touch()
    lines = Lines()
    upscale_files(BICUBIC, [tmp_path / "in"] * 2, tmp_path / "out", report=lines)
    assert lines[-1] == "1 of 1 upscaled; skipped: 2 .heic, 1 .nef"
