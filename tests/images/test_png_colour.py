"""What PNG files say about colour, in PNG and in other formats, and texts too large for Pillow."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from lnln_jax.images.files import read_photo, read_rgb, write_photo
from lnln_jax.images.profiles import profile_from_png
from lnln_jax.images.xmp import kept_xmp
from tests.support.pictures import (
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

LINEAR = struct.pack(">I", 100_000)
MAC = struct.pack(">I", 55_556)  # 1 / 1.8
P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def look(path) -> np.ndarray:
    """What a viewer that knows profiles shows, as sRGB."""
    photo = read_photo(path)
    samples = photo.samples
    image = Image.fromarray(samples if samples.shape[2] > 1 else samples[..., 0])
    profile = photo.metadata.icc_profile
    if profile is None:
        return np.asarray(image.convert("RGB")).astype(int)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")).astype(int)


def srgb_encoded(linear: np.ndarray) -> np.ndarray:
    curve = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve)


RAMP = np.tile(np.arange(16, 256, dtype=np.uint8)[None, :, None], (2, 1, 3))


@pytest.mark.parametrize("target", [".jpg", ".webp", ".tif"])
@pytest.mark.parametrize(("gamma", "exponent"), [(LINEAR, 1), (MAC, 1.8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gamma_becomes_a_profile(tmp_path, target, gamma, exponent, channels):
    path = tmp_path / "x.png"
    path.write_bytes(make_png(RAMP[..., :channels], png_chunk(b"gAMA", gamma)))
    write_photo(read_photo(path), tmp_path / f"y{target}")
    expected = srgb_encoded((RAMP / 255.0) ** exponent)
    assert np.abs(look(tmp_path / f"y{target}") - expected).max() <= 3


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", LINEAR)],
        [(b"gAMA", MAC), (b"cHRM", P3)],
        [(b"sRGB", b"\0")],
        [(b"cICP", bytes([9, 16, 0, 1])), (b"mDCV", bytes(24)), (b"cLLI", bytes(8))],
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_chunks_of_colour_stay_in_png(tmp_path, chunks, dtype):
    path = tmp_path / "x.png"
    path.write_bytes(make_png(RGB.astype(dtype), *(png_chunk(*chunk) for chunk in chunks)))
    write_photo(read_photo(path), tmp_path / "y.png")
    data = (tmp_path / "y.png").read_bytes()
    for chunk in chunks:
        assert png_chunk(*chunk) in data[: data.index(b"IDAT")]


def test_primaries_become_a_profile():
    pixel = Image.new("RGB", (1, 1), (255, 0, 0))
    for chunks in ({b"cHRM": P3}, {b"cICP": bytes([12, 13, 0, 1])}):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_from_png(chunks, gray=False)))
        lab = ImageCms.createProfile("LAB")
        seen = ImageCms.profileToProfile(pixel, profile, lab, outputMode="LAB").getpixel((0, 0))
        lightness, a, b = seen[0] / 2.55, *(c - 128 for c in seen[1:])
        assert (lightness, a, b) == pytest.approx((56.2, 94.5, 98.9), abs=1)  # P3 in CSS Color 4


@pytest.mark.parametrize(
    "chunks",
    [
        {b"sRGB": b"\0", b"gAMA": LINEAR},
        {b"gAMA": struct.pack(">I", 45455)},
        {b"gAMA": bytes(4)},
        {b"cICP": bytes([1, 13, 0, 1])},
    ],
)
def test_what_says_srgb_needs_no_profile(chunks):
    assert profile_from_png(chunks, gray=False) is None


@pytest.mark.parametrize("target", [".jpg", ".tif"])
def test_what_no_profile_can_say_is_told(tmp_path, caplog, target):
    path = tmp_path / "x.png"
    path.write_bytes(make_png(RGB, png_chunk(b"cICP", bytes([9, 16, 0, 1]))))
    write_photo(read_photo(path), tmp_path / f"y{target}")
    (record,) = caplog.records
    assert f"y{target}: " in record.getMessage()
    assert "cICP 9/16/0/1" in record.getMessage()
    profile = png_chunk(b"iCCP", b"P3\0\0" + zlib.compress(SRGB))  # says the same as well as it can
    path.write_bytes(make_png(RGB, png_chunk(b"cICP", bytes([9, 16, 0, 1])), profile))
    write_photo(read_photo(path), tmp_path / f"z{target}")
    assert len(caplog.records) == 1
    assert read_photo(tmp_path / f"z{target}").metadata.icc_profile == SRGB


@pytest.mark.parametrize(
    "chrm",
    [
        bytes(32),
        struct.pack(">8I", *[31270, 32900] * 4),
        struct.pack(">8I", *range(1, 2**31, 2**28)),
    ],
)
def test_primaries_without_meaning(tmp_path, chrm):
    path = tmp_path / "x.png"
    path.write_bytes(make_png(RGB, png_chunk(b"cHRM", chrm)))
    write_photo(read_photo(path), tmp_path / "y.jpg")
    assert read_photo(tmp_path / "y.jpg").metadata.icc_profile is None


def test_training_sees_the_stored_samples(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(make_png(RGB, png_chunk(b"gAMA", LINEAR)))
    np.testing.assert_array_equal(read_rgb(path), RGB)


# ---- texts of PNG files ----


def test_texts_stay_in_png_but_those_that_are_untrue(tmp_path, caplog):
    info = PngImagePlugin.PngInfo()
    for zipped in (False, True):
        info.add_text(f"parameters {zipped}", "a castle, Steps: 20", zip=zipped)
        info.add_itxt(f"Title {zipped}", "Schloß", lang="de", zip=zipped)
    stale = {"Raw profile type exif": "x", "exif:Orientation": "6", "date:create": "2020-01-01"}
    for key, value in stale.items():
        info.add_text(key, value)
    write_photo(read_photo(save(tmp_path / "x.png", RGB, pnginfo=info)), tmp_path / "y.png")
    with Image.open(tmp_path / "y.png") as image:
        assert image.text == {
            **dict.fromkeys(("parameters False", "parameters True"), "a castle, Steps: 20"),
            **dict.fromkeys(("Title False", "Title True"), "Schloß"),
        }
    write_photo(read_photo(tmp_path / "y.png"), tmp_path / "z.jpg")
    assert not caplog.records


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_large_profile_survives(tmp_path, dtype):
    profile = long_profile(3 << 20)
    save(tmp_path / "x.jpg", RGB, icc_profile=profile)
    photo = read_photo(tmp_path / "x.jpg")
    write_photo(photo._replace(samples=photo.samples.astype(dtype)), tmp_path / "y.png")
    again = read_photo(tmp_path / "y.png")
    assert again.metadata.icc_profile == profile
    np.testing.assert_array_equal(again.samples, photo.samples)


@pytest.mark.parametrize("packed", [False, True])
def test_large_texts_are_no_reason(tmp_path, packed, caplog):
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "x" * (3 << 20), zip=packed)
    info.add_itxt("b", "y" * (3 << 20), zip=packed)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode() + " " * (3 << 20), zip=packed)
    if not packed:
        info.add_text("c", "z" * (70 << 20))
    path = save(tmp_path / "x.png", RGB, pnginfo=info, exif=camera_exif(1))
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.samples, RGB)
    assert photo.metadata.xmp == kept_xmp(XMP)
    exif = Image.Exif()
    exif.load(photo.metadata.exif)
    assert_camera_exif(exif)
    (record,) = caplog.records
    assert ("2 large texts are" if packed else "1 large text is") in record.getMessage()
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    assert limits == (1 << 20, 64 << 20)


def test_large_texts_behind_the_pixels(tmp_path):
    text = png_chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(2 << 20)))
    data = make_png(RGB)
    (tmp_path / "x.png").write_bytes(data[:-12] + text + data[-12:])
    np.testing.assert_array_equal(read_rgb(tmp_path / "x.png"), RGB)


def test_bombs_in_texts_are_left_out(tmp_path, caplog):
    bomb = zlib.compress(bytes(100 << 20), 9)
    profile, text = png_chunk(b"iCCP", b"p\0\0" + bomb), png_chunk(b"zTXt", b"t\0\0" + bomb)
    (tmp_path / "x.png").write_bytes(make_png(RGB, profile, text))
    photo = read_photo(tmp_path / "x.png")
    assert photo.metadata.icc_profile is None
    np.testing.assert_array_equal(photo.samples, RGB)
    told = [record.getMessage() for record in caplog.records]
    assert "x.png: ICC profile inflates to more than 64 MiB" in told[0]
    assert "1 large text is left out" in told[1]


def test_a_large_text_that_is_left_out_is_told(tmp_path, caplog):
    path = tmp_path / "x.png"
    text = png_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"cat " * (1 << 19)))
    path.write_bytes(make_png(RGB, text))
    read_photo(path)
    (record,) = caplog.records
    assert "x.png: 1 large text is left out" in record.getMessage()


def test_many_bombs_take_no_time(tmp_path):
    """Of all these, 32 MiB are inflated to see how large they are, and one profile."""
    packed = zlib.compress(bytes(1 << 26))
    profile = png_chunk(b"iCCP", b"a\0\0" + packed)
    text = png_chunk(b"zTXt", b"a\0\0" + packed)
    path = tmp_path / "x.png"
    path.write_bytes(make_png(RGB, profile * 300, text * 300))
    began = time.process_time()
    np.testing.assert_array_equal(read_photo(path).samples, RGB)
    assert time.process_time() - began < 10  # 600 times 64 MiB would take a minute
