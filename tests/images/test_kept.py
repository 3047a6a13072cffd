"""What stays true of an enlarged picture, XMP and density, and what a format cannot hold."""

import logging
import re

import numpy as np
import pytest
from PIL import ExifTags, Image

from lnln_jax.images.files import ImageFileError, fit, read_photo, read_rgb, write_photo
from lnln_jax.images.formats import WRITTEN
from lnln_jax.images.photo import Metadata, Photo
from lnln_jax.images.xmp import kept_xmp
from tests.support.pictures import (
    ALPHA,
    GRAY,
    GRAY_PROFILE,
    RGB,
    SRGB,
    XMP,
    assert_camera_exif,
    camera_exif,
    long_profile,
    make_png,
    png_chunk,
    save,
)

FILES = [".jpg", ".png", ".webp", ".tif", *([".avif"] if ".avif" in WRITTEN else [])]


# ---- XMP ----


@pytest.mark.parametrize("source", FILES)
@pytest.mark.parametrize("target", FILES)
def test_xmp_survives_without_what_is_untrue(tmp_path, source, target):
    first, second = tmp_path / f"in{source}", tmp_path / f"out{target}"
    if source == ".png":
        chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
        first.write_bytes(make_png(RGB, chunk))
    elif source == ".tif":
        tags = Image.Exif()
        tags[ExifTags.Base.XMLPacket] = XMP
        save(first, RGB, exif=tags)
    else:
        save(first, RGB, xmp=XMP)
    write_photo(read_photo(first), second)
    with Image.open(second) as image:
        image.load()
        packet = image.info["xmp"].decode()
    assert "Ann Author" in packet
    assert "\u00fcber" in packet
    assert 'xmp:Rating="5"' in packet
    for stale in ("Orientation", "Dimension", "Thumbnails", "base64", "GainMap", "HasExtended"):
        assert stale not in packet, stale
    assert read_photo(second).metadata.xmp == read_photo(first).metadata.xmp


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"<x:xmpmeta", r"damaged XMP \("),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "XMP with a document type"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".encode("utf-16-be"), "with a document type"),
        ("\ufeff<!DOCTYPE a><a/>".encode("utf-16-le"), "XMP with a document type"),
        (b"<a>" + b"<b/>" * 60_000 + b"</a>", "XMP with too many elements"),
        (b"<a>" * 5000 + b"</a>" * 5000, r"damaged XMP \("),
        (b"<a>" + bytes([0x30]) * (5 << 20) + b"</a>", "XMP of more than 4 MiB"),
    ],
)
def test_bad_xmp_is_left_out_and_told(tmp_path, caplog, packet, reason):
    path = tmp_path / "x.png"
    path.write_bytes(make_png(RGB, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)))
    assert read_photo(path).metadata.xmp is None
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path}: ")
    with pytest.raises(ValueError, match=reason):
        kept_xmp(packet)


def test_an_orientation_of_another_namespace_goes_too():
    packet = b'<a xmlns:tiff="http://elsewhere/" tiff:Orientation="6" tiff:Make="Maker"/>'
    kept = kept_xmp(packet).decode()
    assert "Orientation" not in kept  # Pillow, for one, would turn the picture by it
    assert 'tiff:Make="Maker"' in kept


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_xmp_in_other_encodings(encoding):
    packet = '<a xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"><b>\xfc</b></a>'
    kept = kept_xmp(packet.encode(encoding)).decode()
    assert "Orientation" not in kept
    assert "<b>\xfc</b>" in kept


# ---- density ----


@pytest.mark.parametrize("source", [".jpg", ".png", ".tif", ".bmp"])
@pytest.mark.parametrize("target", [*FILES, ".bmp"])
def test_density_survives(tmp_path, source, target):
    first, second = tmp_path / f"in{source}", tmp_path / f"out{target}"
    write_photo(read_photo(save(first, RGB, dpi=(300, 150))), second)
    assert read_photo(second).metadata.dpi == pytest.approx((300, 150), abs=0.02)
    if target not in (".webp", ".avif"):  # which have it in EXIF alone
        with Image.open(second) as image:
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("suffix", [*FILES, ".bmp"])
def test_no_density_is_made_up(tmp_path, suffix):
    write_photo(Photo(RGB), tmp_path / f"x{suffix}")
    assert read_photo(tmp_path / f"x{suffix}").metadata.dpi is None
    save(tmp_path / "exif.jpg", RGB, exif=Image.Exif())
    assert read_photo(tmp_path / "exif.jpg").metadata.dpi is None


def test_density_in_other_units_and_turned(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = 100.0, 50.0
    exif[ExifTags.Base.ResolutionUnit] = 3  # per centimetre
    exif[ExifTags.Base.Orientation] = 6
    path = save(tmp_path / "x.webp", RGB, exif=exif)
    assert read_photo(path).metadata.dpi == (127, 254)


# ---- what a format cannot hold ----

_described = Image.Exif()
_described[ExifTags.Base.ImageDescription] = "x" * 70_000
LONG_EXIF = _described.tobytes()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (Metadata(exif=LONG_EXIF), rf"EXIF of {len(LONG_EXIF)} bytes \(at most 65533\)"),
        (Metadata(xmp=bytes(70_000)), r"XMP of 70000 bytes \(at most 65504\)"),
        (Metadata(long_profile(17 << 20)), "an ICC profile of .* bytes"),
    ],
)
def test_too_much_for_jpeg_is_told_before_the_work(tmp_path, caplog, metadata, said):
    path = tmp_path / "x.jpg"
    fitted = fit(Photo(RGB, metadata), path, scale=2)
    assert fitted.metadata == Metadata()
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "lnln_jax.images.files")
    (text,) = caplog.messages
    assert text.startswith(f"{path}: left out, since .jpg files cannot hold it: ")
    assert re.search(said, text)
    assert not path.exists()
    write_photo(Photo(RGB, metadata), path)
    assert len(caplog.records) == 1  # once for each file and text
    assert read_rgb(path).shape == RGB.shape


def test_exif_too_long_by_its_maker_note_loses_that_alone(tmp_path, caplog):
    exif = Image.Exif()
    exif.load(camera_exif(1))
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.MakerNote] = bytes(70_000)
    del details[ExifTags.Base.ExifImageWidth]
    write_photo(Photo(RGB, Metadata(exif=exif.tobytes())), tmp_path / "x.jpg")
    assert re.search(r"x\.jpg: .* the maker's note of EXIF of \d+ bytes", caplog.text)
    with Image.open(tmp_path / "x.jpg") as image:
        assert_camera_exif(image.getexif())


def test_just_what_jpeg_holds(tmp_path, caplog):
    exif = camera_exif(1).ljust(65_533, b"\0")
    write_photo(
        Photo(RGB, Metadata(long_profile(15 << 20), exif, bytes(65_504))), tmp_path / "x.jpg"
    )
    assert not caplog.records
    with Image.open(tmp_path / "x.jpg") as image:
        assert len(image.info["exif"]) == 65_533
        assert len(image.info["xmp"]) == 65_504
        assert image.info["icc_profile"] == long_profile(15 << 20)


def test_bmp_says_what_it_leaves_out(tmp_path, caplog):
    write_photo(Photo(RGB, Metadata(SRGB, camera_exif(1), XMP)), tmp_path / "x.bmp")
    (text,) = caplog.messages
    for what in ("an ICC profile of", "EXIF of", "XMP of"):
        assert what in text


def test_gray_stored_as_rgb_loses_a_profile_for_gray(tmp_path, caplog):
    write_photo(Photo(GRAY[..., None], Metadata(GRAY_PROFILE)), tmp_path / "x.webp")
    assert "x.webp: left out, since .webp files cannot hold it: a profile for gray" in caplog.text


@pytest.mark.parametrize("suffix", [".jpg", ".jfif", ".bmp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colours", [GRAY[..., None], RGB])
def test_an_opaque_alpha_is_no_transparency(tmp_path, suffix, dtype, colours):
    most = np.iinfo(dtype).max
    colours = colours.astype(dtype) * (most // 255)
    opaque = np.dstack([colours, np.full_like(colours[..., :1], most)])
    write_photo(Photo(opaque), tmp_path / f"x{suffix}")
    write_photo(Photo(colours), tmp_path / f"y{suffix}")
    np.testing.assert_array_equal(
        read_photo(tmp_path / f"x{suffix}").samples, read_photo(tmp_path / f"y{suffix}").samples
    )
    opaque[3, 2, -1] -= 1
    with pytest.raises(ImageFileError, match=rf"{suffix} files cannot hold transparency"):
        fit(Photo(opaque), tmp_path / f"x{suffix}")


def test_an_opaque_alpha_stays_where_there_is_a_place_for_it(tmp_path):
    opaque = np.dstack([RGB, np.full_like(ALPHA, 255)])
    for suffix in (".png", ".tif"):
        write_photo(Photo(opaque), tmp_path / f"x{suffix}")
        np.testing.assert_array_equal(read_photo(tmp_path / f"x{suffix}").samples, opaque)


def test_16_bits_that_become_8_are_told(tmp_path, caplog):
    deep = RGB.astype(np.uint16) * 257
    for name in ("x.png", "x.tif"):
        write_photo(Photo(deep), tmp_path / name)
    assert not caplog.records
    write_photo(Photo(deep), tmp_path / "x.webp")
    (record,) = caplog.records
    assert "x.webp: 8 bits per channel are kept of 16" in record.getMessage()


def test_a_result_of_too_many_pixels_is_refused_before_the_work(tmp_path):
    with pytest.raises(ImageFileError, match=r"x\.png: 8000000x6000000 pixels are more than"):
        fit(Photo(np.zeros((6, 8, 3), np.uint8)), tmp_path / "x.png", scale=1_000_000)
