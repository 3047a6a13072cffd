"""Orientation, EXIF and colour profiles of image files."""

import warnings

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps

from lnln_jax.images.files import read_photo, read_rgb, to_rgb, write_photo
from tests.support.pictures import (
    ALPHA,
    GRAY,
    GRAY_PROFILE,
    RGB,
    SRGB,
    assert_camera_exif,
    camera_exif,
    make_png,
    png_chunk,
    save,
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", "16.png", "16.tif"])
def test_pixels_are_upright(tmp_path, orientation, suffix):
    exif = camera_exif(orientation)
    path = tmp_path / f"x{suffix}"
    pixels = RGB.astype(np.uint16) * 257 if "16" in suffix else RGB
    if suffix == "16.png":
        exif_chunk = png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
        path.write_bytes(make_png(pixels, exif_chunk))
    elif suffix == "16.tif":
        tag = (int(ExifTags.Base.Orientation), 3, 1, orientation, True)
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=[tag], metadata=None)
    else:
        save(path, pixels, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    turned = Image.fromarray(RGB)
    turned.getexif()[ExifTags.Base.Orientation] = orientation
    expected = np.asarray(ImageOps.exif_transpose(turned))
    assert expected.shape[:2] == ((7, 5) if orientation < 5 else (5, 7))
    photo = read_photo(path)
    np.testing.assert_array_equal(to_rgb(photo), expected)
    np.testing.assert_array_equal(read_rgb(path), expected)
    if photo.metadata.exif is not None:
        kept = Image.Exif()
        kept.load(photo.metadata.exif)
        assert kept[ExifTags.Base.Orientation] == 1


def test_alpha_is_turned_with_the_pixels(tmp_path):
    path = save(tmp_path / "x.png", np.dstack([RGB, ALPHA]), exif=camera_exif(6))
    np.testing.assert_array_equal(read_photo(path).alpha[..., 0], np.rot90(ALPHA, -1))


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_and_profile_survive(tmp_path, source, target, dtype):
    path = save(tmp_path / f"in{source}", RGB, exif=camera_exif(6), icc_profile=SRGB)
    photo = read_photo(path)
    assert photo.metadata.icc_profile == SRGB
    result = tmp_path / f"out{target}"
    write_photo(photo._replace(samples=photo.samples.astype(dtype)), result)
    with Image.open(result) as image:
        assert image.size == (7, 5)
        assert image.info["icc_profile"] == SRGB
        assert_camera_exif(image.getexif())
        image.load()


def test_exif_keeps_the_byte_order_of_the_camera(tmp_path):
    exif = camera_exif(1, "<")
    for suffix in (".tif", ".png"):
        photo = read_photo(save(tmp_path / "in.jpg", RGB, exif=exif))
        write_photo(photo, tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as image:
            assert_camera_exif(image.getexif())
    assert (tmp_path / "out.tif").read_bytes()[:4] == b"II*\0"


def test_damaged_exif_is_left_out(tmp_path):
    path = save(tmp_path / "x.jpg", RGB, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow says that it is corrupt
        assert read_photo(path).metadata.exif is None


def test_a_profile_stays_only_where_it_fits(tmp_path):
    gray = read_photo(save(tmp_path / "x.png", GRAY, icc_profile=GRAY_PROFILE))
    assert gray.metadata.icc_profile == GRAY_PROFILE
    for suffix, kept in ((".png", True), (".tif", True), (".webp", False)):  # WebP stores RGB
        write_photo(gray, tmp_path / f"y{suffix}")
        with Image.open(tmp_path / f"y{suffix}") as image:
            assert ("icc_profile" in image.info) == kept
    assert read_photo(save(tmp_path / "x.png", GRAY, icc_profile=SRGB)).metadata.icc_profile is None
