"""Reading image files that Pillow or tifffile wrote, or that are made by hand."""

import struct

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from lnln_jax.images import decode as image_decoders
from lnln_jax.images.files import read_photo, read_rgb, to_rgb
from tests.support.pictures import ALPHA, GRAY, RGB, RGB16, make_png, png_chunk, replicated, save


def cmyk_profile() -> bytes:
    """An ICC profile by which any full ink gives white and bare paper black, through Lab."""
    corners = [(255 if any(ink) else 0, 128, 128) for ink in np.ndindex(2, 2, 2, 2)]
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity
    lut += 4 * ramp + bytes(np.ravel(corners).tolist()) + 3 * ramp
    tag = struct.pack(">I4sII", 1, b"A2B0", 144, len(lut))
    header = struct.pack(
        ">I4sI4s4s4s", 144 + len(lut), bytes(4), 0x02100000, b"prtr", b"CMYK", b"Lab "
    )
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50
    return header.ljust(128, b"\0") + tag + lut


# ---- reading 8 bits ----


def test_read_rgb_gives_the_stored_pixels(tmp_path, data_dir):
    for suffix in (".png", ".bmp", ".tif"):
        np.testing.assert_array_equal(read_rgb(save(tmp_path / f"x{suffix}", RGB)), RGB)
    for path in (data_dir / "Set5/HR/butterfly.png", data_dir / "BSDS400/100007.jpg"):
        image = read_rgb(path)
        with Image.open(path) as expected:
            np.testing.assert_array_equal(image, np.asarray(expected))
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert image.flags.writeable


@pytest.mark.parametrize("pixels", [1, 11])
def test_large_pictures_are_taken_over_in_bands(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr(image_decoders, "_BAND_PIXELS", pixels)
    for samples in (RGB, GRAY[..., None], np.dstack([RGB, ALPHA])):
        path = save(tmp_path / "x.png", samples.squeeze())
        np.testing.assert_array_equal(read_photo(path).samples, samples)


def test_gray_stays_gray_and_is_replicated(tmp_path):
    path = save(tmp_path / "gray.png", GRAY)
    photo = read_photo(path)
    assert photo.gray
    assert photo.alpha is None
    assert photo.samples.dtype == np.uint8
    np.testing.assert_array_equal(to_rgb(photo), replicated(GRAY))
    np.testing.assert_array_equal(read_rgb(path), replicated(GRAY))


def test_black_and_white_becomes_gray(tmp_path):
    path = save(tmp_path / "bits.png", Image.fromarray(GRAY > 127))
    with Image.open(path) as image:
        assert image.mode == "1"
    photo = read_photo(path)
    assert photo.gray
    np.testing.assert_array_equal(to_rgb(photo), replicated((GRAY > 127) * np.uint8(255)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_with_alpha_stays_so(tmp_path, suffix):
    path = save(tmp_path / f"la{suffix}", np.dstack([GRAY, ALPHA]))
    photo = read_photo(path)
    assert photo.gray
    np.testing.assert_array_equal(to_rgb(photo), replicated(GRAY))
    np.testing.assert_array_equal(photo.alpha[..., 0], ALPHA)
    np.testing.assert_array_equal(read_rgb(path), replicated(GRAY))


def test_colour_with_alpha(tmp_path):
    path = save(tmp_path / "rgba.png", np.dstack([RGB, ALPHA]))
    photo = read_photo(path)
    assert not photo.gray
    np.testing.assert_array_equal(photo.samples[..., :3], RGB)
    np.testing.assert_array_equal(photo.alpha[..., 0], ALPHA)
    np.testing.assert_array_equal(read_rgb(path), RGB)


def test_palette_becomes_rgb(tmp_path):
    image = Image.fromarray(RGB).quantize(8)
    expected = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)[np.asarray(image)]
    photo = read_photo(save(tmp_path / "p.png", image))
    assert not photo.gray
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.samples[..., :3], expected)


def test_palette_with_transparency_becomes_rgba(tmp_path):
    image = Image.fromarray(RGB).quantize(8)
    alphas = np.arange(8, dtype=np.uint8) * 30
    photo = read_photo(save(tmp_path / "p.png", image, transparency=alphas.tobytes()))
    np.testing.assert_array_equal(photo.alpha[..., 0], alphas[np.asarray(image)])
    expected = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)[np.asarray(image)]
    np.testing.assert_array_equal(photo.samples[..., :3], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_becomes_alpha(tmp_path, dtype, channels):
    samples = RGB[..., :channels].astype(dtype)
    key = samples[2, 3].astype(">u2").tobytes()
    path = tmp_path / "key.png"
    path.write_bytes(make_png(samples, png_chunk(b"tRNS", key)))
    expected = np.where((samples == samples[2, 3]).all(axis=-1), 0, np.iinfo(dtype).max)
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.alpha[..., 0], expected)
    assert photo.gray == (channels == 1)


def test_cmyk_without_a_profile(tmp_path):
    path = save(tmp_path / "x.jpg", Image.new("CMYK", (4, 3), (255, 0, 0, 0)), quality=100)
    assert np.abs(read_rgb(path) - np.array([0.0, 255, 255])).max() < 3


def test_cmyk_goes_through_its_profile(tmp_path):
    profile = cmyk_profile()
    for ink, expected in (((255, 0, 0, 0), 255), ((0, 0, 0, 0), 0)):
        image = Image.new("CMYK", (4, 3), ink)
        path = save(tmp_path / "x.jpg", image, quality=100, icc_profile=profile)
        photo = read_photo(path)
        assert np.abs(photo.samples - float(expected)).max() < 3
        assert photo.metadata.icc_profile is None  # the pixels are sRGB now
        np.testing.assert_array_equal(read_rgb(path), photo.samples)


def test_a_damaged_cmyk_profile_counts_as_none(tmp_path):
    image = Image.new("CMYK", (4, 3), (255, 0, 0, 0))
    path = save(tmp_path / "x.jpg", image, quality=100, icc_profile=b"nonsense" * 20)
    assert np.abs(read_rgb(path) - np.array([0.0, 255, 255])).max() < 3


def test_a_phone_jpeg_with_several_views_gives_the_first(tmp_path):
    first, second = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    path = tmp_path / "phone.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[second])
    assert (read_rgb(path)[0, 0] > 200).tolist() == [True, False, False]


# ---- reading 16 bits ----


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png(tmp_path, channels):
    samples = np.dstack([RGB16, RGB16[..., :1]])[..., :channels]
    path = tmp_path / "x.png"
    path.write_bytes(make_png(samples))
    photo = read_photo(path)
    assert photo.samples.dtype == np.uint16
    assert photo.gray == (channels < 3)
    colours = samples[..., :3] if channels > 2 else replicated(samples[..., 0])
    np.testing.assert_array_equal(photo.samples, samples)
    rounded = np.floor(colours / 257 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(read_rgb(path), rounded)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [{}, {"planarconfig": "separate"}, {"compression": "lzw"}],
    ids=["plain", "planes", "lzw"],
)
def test_16_bit_tiff(tmp_path, channels, byteorder, options):
    samples = np.dstack([RGB16, RGB16[..., :1]])[..., :channels]
    separate = "planarconfig" in options and channels > 1
    path = tmp_path / "x.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(samples, -1, 0) if separate else samples.squeeze(),
        photometric="rgb" if channels > 2 else "minisblack",
        extrasamples=["unassalpha"] if channels % 2 == 0 else None,
        byteorder=byteorder,
        metadata=None,
        **options | ({"planarconfig": None} if channels == 1 else {}),
    )
    photo = read_photo(path)
    assert photo.samples.dtype == np.uint16
    assert photo.gray == (channels < 3)
    np.testing.assert_array_equal(photo.samples, samples)
    assert (photo.alpha is not None) == (channels % 2 == 0)


def test_16_bit_tiff_with_other_conventions(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB16[..., 0], photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(read_photo(path).samples, 65535 - RGB16[..., :1])
    premultiplied = np.array([[[10000, 20000, 0, 40000], [0, 0, 0, 0]]], np.uint16)
    tifffile.imwrite(path, premultiplied, photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.colours, [[[16384, 32768, 0], [0, 0, 0]]])
    tag = (int(ExifTags.Base.Orientation), 3, 1, 3, True)
    tifffile.imwrite(path, RGB16, photometric="rgb", bigtiff=True, byteorder="<", extratags=[tag])
    np.testing.assert_array_equal(read_photo(path).samples, RGB16[::-1, ::-1])
    extra = np.dstack([RGB16, RGB16[..., :1]])
    tifffile.imwrite(path, extra, photometric="rgb", extrasamples=["unspecified"])
    assert read_photo(path).alpha is None
