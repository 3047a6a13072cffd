"""Which files are upscaled, and what the results are called."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.images.resize import imresize
from lnln_jax.inference.photos import upscale_files
from tests.support.photo_files import BICUBIC, RGB, errors, load, names, save


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


def test_two_inputs_with_one_name(tmp_path):
    first = save(tmp_path / "1" / "a.png", RGB)
    second = save(tmp_path / "2" / "a.bmp", RGB[::-1])
    third = save(tmp_path / "2" / "b.png", RGB)
    out = tmp_path / "out"
    results = upscale_files(BICUBIC, [first, second, third], out)
    assert errors(results) == {
        "a.bmp": f"{out / 'a_x2.png'} is already the result of {first}; rename one of them, or "
        'choose format "same" if their formats differ'
    }
    np.testing.assert_array_equal(load(out / "a_x2.png"), imresize(RGB, 2))
    assert names(out) == ["a_x2.png", "b_x2.png"]
    assert not errors(upscale_files(BICUBIC, [first, second], tmp_path / "same", format="same"))


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
    results = upscale_files(BICUBIC, [source, tmp_path / "a_x2.png"], tmp_path, overwrite=True)
    assert errors(results) == {
        "a.png": f"{tmp_path / 'a_x2.png'} is itself an input; choose another output folder"
    }
