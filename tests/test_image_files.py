"""Files are made by Pillow, tifffile or by hand, and results are read back without lnln_jax."""

import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps

from lnln_jax.image_files import (
    ImageFileError,
    Photo,
    find_images,
    read_photo,
    read_rgb,
    write_photo,
)

RGB = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
GRAY = RGB[..., 0]
ALPHA = RGB[..., 1]
RGB16 = np.random.default_rng(1).integers(0, 65536, (7, 5, 3), np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]  # only its name matters here


def replicated(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray] * 3, axis=-1)


def save(path: Path, image: np.ndarray | Image.Image, **options: object) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_png(samples: np.ndarray, *chunks: bytes, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of uint8 or uint16 `H W C`, unfiltered; `size` (width, height) is a lie to tell."""
    height, width, channels = samples.shape
    depth = 8 * samples.itemsize
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), depth, colour_type, 0, 0, 0)
    rows = samples.astype(samples.dtype.newbyteorder(">"))
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_16_bit_samples(data: bytes) -> np.ndarray:
    """Decodes a 16-bit PNG as its specification says, to uint16 `H W C`."""
    chunks, at = {b"IDAT": b""}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    width, height, depth, colour_type = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert depth == 16
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[colour_type]
    raw, stride, step = zlib.decompress(chunks[b"IDAT"]), width * channels * 2, channels * 2
    above, rows = bytearray(stride), []
    for y in range(height):
        kind, *line = raw[y * (stride + 1) : (y + 1) * (stride + 1)]
        for i in range(stride):
            a = line[i - step] if i >= step else 0
            b, c = above[i], above[i - step] if i >= step else 0
            paeth = min((a, b, c), key=lambda value, p=a + b - c: abs(p - value))
            line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[kind]) % 256
        rows.append(bytes(line))
        above = bytearray(line)
    return np.frombuffer(b"".join(rows), ">u2").reshape(height, width, channels)


def camera_exif(orientation: int, endian: str = ">") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.XResolution] = 72.0
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.ExposureTime: 1 / 60,
        ExifTags.Base.DateTimeOriginal: "2020:02:03 04:05:06",
        ExifTags.Base.UserComment: b"ASCII\0\0\0hello",
        ExifTags.Base.ExifImageWidth: 5,
    }
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (50.0, 30.0, 15.5),
    }
    return exif.tobytes()


def assert_camera_exif(exif: Image.Exif) -> None:
    assert exif[ExifTags.Base.Make] == "Maker"
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "2020:02:03 04:05:06"
    assert details[ExifTags.Base.UserComment] == b"ASCII\0\0\0hello"
    assert float(details[ExifTags.Base.ExposureTime]) == pytest.approx(1 / 60)
    assert ExifTags.Base.ExifImageWidth not in details
    assert [float(x) for x in exif.get_ifd(ExifTags.IFD.GPSInfo)[2]] == [50.0, 30.0, 15.5]


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


# ---- finding ----


def test_find_images_is_recursive_sorted_and_case_blind(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.TiFf", "sub/d.webp", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "e.png").touch()
    (tmp_path / "folder.png").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "sub/c.TiFf", "sub/d.webp"]


def test_find_images_wants_a_folder(tmp_path):
    with pytest.raises(ImageFileError, match=r"absent: .*No such file"):
        find_images(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(ImageFileError, match=r"file: .*Not a directory"):
        find_images(tmp_path / "file")


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


def test_gray_stays_gray_and_is_replicated(tmp_path):
    path = save(tmp_path / "gray.png", GRAY)
    photo = read_photo(path)
    assert photo.gray
    assert photo.alpha is None
    assert photo.bit_depth == 8
    assert photo.pixels.dtype == np.float32
    np.testing.assert_array_equal(photo.pixels, replicated(GRAY))
    np.testing.assert_array_equal(read_rgb(path), replicated(GRAY))


def test_black_and_white_becomes_gray(tmp_path):
    path = save(tmp_path / "bits.png", Image.fromarray(GRAY > 127))
    with Image.open(path) as image:
        assert image.mode == "1"
    photo = read_photo(path)
    assert photo.gray
    np.testing.assert_array_equal(photo.pixels, replicated((GRAY > 127) * np.float32(255)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_with_alpha_stays_so(tmp_path, suffix):
    path = save(tmp_path / f"la{suffix}", np.dstack([GRAY, ALPHA]))
    photo = read_photo(path)
    assert photo.gray
    np.testing.assert_array_equal(photo.pixels, replicated(GRAY))
    np.testing.assert_array_equal(photo.alpha, ALPHA)
    np.testing.assert_array_equal(read_rgb(path), replicated(GRAY))


def test_colour_with_alpha(tmp_path):
    path = save(tmp_path / "rgba.png", np.dstack([RGB, ALPHA]))
    photo = read_photo(path)
    assert not photo.gray
    np.testing.assert_array_equal(photo.pixels, RGB)
    np.testing.assert_array_equal(photo.alpha, ALPHA)
    np.testing.assert_array_equal(read_rgb(path), RGB)


def test_palette_becomes_rgb(tmp_path):
    image = Image.fromarray(RGB).quantize(8)
    expected = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)[np.asarray(image)]
    photo = read_photo(save(tmp_path / "p.png", image))
    assert not photo.gray
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.pixels, expected)


def test_palette_with_transparency_becomes_rgba(tmp_path):
    image = Image.fromarray(RGB).quantize(8)
    alphas = np.arange(8, dtype=np.uint8) * 30
    photo = read_photo(save(tmp_path / "p.png", image, transparency=alphas.tobytes()))
    np.testing.assert_array_equal(photo.alpha, alphas[np.asarray(image)])
    expected = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)[np.asarray(image)]
    np.testing.assert_array_equal(photo.pixels, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_becomes_alpha(tmp_path, dtype, channels):
    samples = RGB[..., :channels].astype(dtype)
    key = samples[2, 3].astype(">u2").tobytes()
    path = tmp_path / "key.png"
    path.write_bytes(make_png(samples, png_chunk(b"tRNS", key)))
    expected = np.where((samples == samples[2, 3]).all(axis=-1), 0, 255)
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.alpha, expected)
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
        assert np.abs(photo.pixels - expected).max() < 3
        assert photo.icc_profile is None  # the pixels are sRGB now
        np.testing.assert_array_equal(read_rgb(path), photo.pixels)


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
    assert photo.bit_depth == 16
    assert photo.gray == (channels < 3)
    colours = samples[..., :3] if channels > 2 else replicated(samples[..., 0])
    np.testing.assert_array_equal(np.rint(photo.pixels * 257), colours)
    if channels % 2 == 0:
        np.testing.assert_array_equal(np.rint(photo.alpha * 257), samples[..., -1])
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
    assert photo.bit_depth == 16
    assert photo.gray == (channels < 3)
    np.testing.assert_array_equal(np.rint(photo.pixels[..., 0] * 257), samples[..., 0])
    np.testing.assert_array_equal(
        np.rint(photo.pixels[..., 2] * 257), samples[..., 2 if channels > 2 else 0]
    )
    assert (photo.alpha is not None) == (channels % 2 == 0)
    if photo.alpha is not None:
        np.testing.assert_array_equal(np.rint(photo.alpha * 257), samples[..., -1])


def test_16_bit_tiff_with_other_conventions(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB16[..., 0], photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(
        np.rint(read_photo(path).pixels[..., 0] * 257), 65535 - RGB16[..., 0]
    )
    premultiplied = np.array([[[10000, 20000, 0, 40000], [0, 0, 0, 0]]], np.uint16)
    tifffile.imwrite(path, premultiplied, photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(path)
    np.testing.assert_array_equal(np.rint(photo.pixels * 257), [[[16384, 32768, 0], [0, 0, 0]]])
    tag = (int(ExifTags.Base.Orientation), 3, 1, 3, True)
    tifffile.imwrite(path, RGB16, photometric="rgb", bigtiff=True, byteorder="<", extratags=[tag])
    np.testing.assert_array_equal(np.rint(read_photo(path).pixels * 257), RGB16[::-1, ::-1])
    extra = np.dstack([RGB16, RGB16[..., :1]])
    tifffile.imwrite(path, extra, photometric="rgb", extrasamples=["unspecified"])
    assert read_photo(path).alpha is None


# ---- orientation, EXIF, colour profile ----


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
    np.testing.assert_array_equal(photo.pixels, expected)
    np.testing.assert_array_equal(read_rgb(path), expected)
    if photo.exif is not None:
        kept = Image.Exif()
        kept.load(photo.exif)
        assert kept[ExifTags.Base.Orientation] == 1


def test_alpha_is_turned_with_the_pixels(tmp_path):
    path = save(tmp_path / "x.png", np.dstack([RGB, ALPHA]), exif=camera_exif(6))
    np.testing.assert_array_equal(read_photo(path).alpha, np.rot90(ALPHA, -1))


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_exif_and_profile_survive(tmp_path, source, target, bit_depth):
    path = save(tmp_path / f"in{source}", RGB, exif=camera_exif(6), icc_profile=SRGB)
    photo = read_photo(path)
    assert photo.icc_profile == SRGB
    result = tmp_path / f"out{target}"
    write_photo(Photo(photo.pixels, None, False, bit_depth, photo.icc_profile, photo.exif), result)
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
        assert read_photo(path).exif is None


def test_a_profile_stays_only_where_it_fits(tmp_path):
    gray = read_photo(save(tmp_path / "x.png", GRAY, icc_profile=GRAY_PROFILE))
    assert gray.icc_profile == GRAY_PROFILE
    for suffix, kept in ((".png", True), (".tif", True), (".webp", False)):  # WebP stores RGB
        write_photo(gray, tmp_path / f"y{suffix}")
        with Image.open(tmp_path / f"y{suffix}") as image:
            assert ("icc_profile" in image.info) == kept
    assert read_photo(save(tmp_path / "x.png", GRAY, icc_profile=SRGB)).icc_profile is None


# ---- writing ----


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".webp", ".jpg", ".jpeg", ".bmp"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("alpha", [None, ALPHA.astype(np.float32)])
def test_8_bit_files_read_back_by_pillow(tmp_path, suffix, gray, alpha):
    pixels = (replicated(GRAY) if gray else RGB).astype(np.float32)
    path = tmp_path / f"x{suffix}"
    photo = Photo(pixels, alpha, gray)
    if alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        with pytest.raises(ImageFileError, match=r"cannot hold transparency; choose \.png"):
            write_photo(photo, path)
        assert not path.exists()
        return
    write_photo(photo, path)
    with Image.open(path) as image:
        mode = "RGB" if not gray or suffix == ".webp" else "L"
        assert image.mode == mode + ("A" if alpha is not None else "")
        if alpha is not None:
            np.testing.assert_array_equal(np.asarray(image.getchannel("A")), alpha)
        difference = np.abs(np.asarray(image.convert("RGB"), np.float32) - pixels)
    if "jp" not in suffix:
        np.testing.assert_array_equal(difference, 0)
    elif gray:
        assert difference.mean() < 3


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_round_trip(tmp_path, channels, suffix):
    samples = np.dstack([RGB16, RGB16[..., :1]])[..., :channels]
    samples[0, 0], samples[0, 1] = 0, 65535
    first, second = tmp_path / "in.png", tmp_path / f"out{suffix}"
    first.write_bytes(make_png(samples))
    write_photo(read_photo(first), second)
    if suffix == ".png":
        written = png_16_bit_samples(second.read_bytes())
    else:
        with tifffile.TiffFile(second) as file:
            written = file.pages[0].asarray().reshape(samples.shape)
            assert file.pages[0].extrasamples == ((2,) if channels % 2 == 0 else ())
    np.testing.assert_array_equal(written, samples)
    again = read_photo(second)
    np.testing.assert_array_equal(again.pixels, read_photo(first).pixels)
    assert again.gray == (channels < 3)


def test_16_bits_become_8_where_the_format_has_no_more(tmp_path):
    photo = Photo((RGB16 / 257).astype(np.float32), bit_depth=16)
    write_photo(photo, tmp_path / "x.webp")
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "x.webp"), np.floor(RGB16 / 257 + 0.5).astype(np.uint8)
    )


def test_values_are_clipped_and_rounded(tmp_path):
    pixels = replicated(np.array([[-20.0, 0.4, 0.6, 254.6, 300.0]], np.float32))
    for bit_depth, expected in ((8, [0, 0, 1, 255, 255]), (16, [0, 103, 154, 65432, 65535])):
        write_photo(Photo(pixels, bit_depth=bit_depth), tmp_path / "x.tif")
        written = tifffile.imread(tmp_path / "x.tif")
        np.testing.assert_array_equal(written[0, :, 0], expected)


def test_one_pixel(tmp_path):
    for suffix in (".png", ".tif", ".webp", ".jpg", ".bmp"):
        write_photo(Photo(np.full((1, 1, 3), 200, np.float32)), tmp_path / f"x{suffix}")
        assert np.abs(read_rgb(tmp_path / f"x{suffix}") - 200.0).max() < 2


def test_an_older_file_is_replaced_and_gets_ordinary_permissions(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    write_photo(Photo(RGB.astype(np.float32)), path)
    np.testing.assert_array_equal(read_rgb(path), RGB)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain", "x.png"]


def test_a_failing_encoder_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"old")
    photo = Photo(RGB.astype(np.float32), exif=b"Exif\0\0" + bytes(70_000))  # too long for JPEG
    with pytest.raises(ImageFileError, match=r"x\.jpg: cannot be written: EXIF data is too long"):
        write_photo(photo, path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


FULL_DISK = """
import pathlib, resource, sys
import numpy as np
from lnln_jax.image_files import ImageFileError, Photo, write_photo
pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.float32)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for name in sys.argv[1:]:
    try:
        write_photo(Photo(pixels, bit_depth=16), pathlib.Path(name))
    except ImageFileError as error:
        print(error)
"""


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    paths = [tmp_path / name for name in ("old.png", "new.png", "new.tif", "new.jpg")]
    paths[0].write_bytes(b"old")
    command = [sys.executable, "-c", FULL_DISK, *map(str, paths)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    for path, line in zip(paths, lines, strict=True):
        assert line == f"{path}: cannot be written: File too large"
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("old.png", b"old")]


def test_unwritable_places(tmp_path):
    photo = Photo(RGB.astype(np.float32))
    with pytest.raises(ImageFileError, match=r"x\.png: cannot be written: No such file"):
        write_photo(photo, tmp_path / "absent" / "x.png")
    (tmp_path / "file").touch()
    with pytest.raises(ImageFileError, match=r"x\.png: cannot be written: Not a directory"):
        write_photo(photo, tmp_path / "file" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageFileError, match=r"folder\.png: cannot be written: Is a directory"):
        write_photo(photo, tmp_path / "folder.png")
    with pytest.raises(ImageFileError, match=r"cannot write the format '\.gif'; choose \.png"):
        write_photo(photo, tmp_path / "x.gif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16384), (".jpg", 65501)])
def test_too_large_for_the_format(tmp_path, suffix, side):
    photo = Photo(np.zeros((side, 1, 3), np.float32))
    with pytest.raises(ImageFileError, match=f"at most {side - 1} pixels a side, not 1x{side}"):
        write_photo(photo, tmp_path / f"x{suffix}")


def test_photo_checks_its_arrays():
    pixels = RGB.astype(np.float32)
    with pytest.raises(ValueError, match=r"pixels must be float32 .* got uint8"):
        Photo(RGB)
    with pytest.raises(ValueError, match=r"pixels must .* shape \(H, W, 3\)"):
        Photo(pixels[..., 0])
    with pytest.raises(ValueError, match=r"alpha must be float32 of shape \(7, 5\), got .* \(5,\)"):
        Photo(pixels, alpha=pixels[0, :, 0])
    with pytest.raises(ValueError, match="bit_depth must be 8 or 16, got 12"):
        Photo(pixels, bit_depth=12)


# ---- broken files ----


def encoded(image: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format, **options)
    return file.getvalue()


NOISE = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
FRAMES = {"save_all": True, "append_images": [Image.fromarray(RGB[::-1])]}
PIXEL = np.zeros((1, 1, 3), np.uint8)


BROKEN = {
    "zero bytes": (b"", "the file is empty"),
    "text": (b"just some text\n", "not a PNG, JPEG, BMP, WebP or TIFF image"),
    "cut PNG": (encoded(NOISE, "PNG")[:5000], "truncated"),
    "cut PNG header": (encoded(NOISE, "PNG")[:20], "Truncated"),
    "cut JPEG": (encoded(NOISE, "JPEG")[:1500], "truncated"),
    "cut TIFF": (encoded(NOISE, "TIFF")[:5000], ""),
    "cut WebP": (encoded(NOISE, "WEBP")[:2000], ""),
    "cut 16-bit PNG": (make_png(NOISE.astype(np.uint16) * 257)[:5000], "truncated"),
    "damaged PNG": (encoded(NOISE, "PNG").replace(b"IDAT", b"IDAT\1", 1), ""),
    "large PNG": (make_png(PIXEL, size=(10_000, 10_000)), "exceeds limit"),
    "huge PNG": (make_png(PIXEL, size=(50_000, 50_000)), "exceeds limit"),
    "huge 16-bit PNG": (make_png(PIXEL.astype(np.uint16), size=(50_000, 50_000)), "exceeds limit"),
    "animated GIF": (encoded(RGB, "GIF", **FRAMES), r"animated or has pages \(2\)"),
    "animated PNG": (encoded(RGB, "PNG", **FRAMES), "animated"),
    "animated WebP": (encoded(RGB, "WEBP", **FRAMES), "animated"),
    "TIFF pages": (encoded(RGB, "TIFF", **FRAMES), "has pages"),
    "float TIFF": (encoded(GRAY.astype(np.float32), "TIFF"), "pixels of type F; convert it"),
    "32-bit TIFF": (encoded(GRAY.astype(np.int32), "TIFF"), "pixels of type I; convert it"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_say_why(tmp_path, content, reason):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    for read in (read_rgb, read_photo):
        with pytest.raises(ImageFileError, match=rf"broken\.png: cannot be read: .*{reason}"):
            read(path)


def test_broken_16_bit_tiffs_say_why(tmp_path):
    path = tmp_path / "x.tif"
    large = np.random.default_rng(0).integers(0, 65536, (50, 50, 3), np.uint16)
    tifffile.imwrite(path, large, photometric="rgb")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ImageFileError, match=r"x\.tif: cannot be read: .*"):
        read_rgb(path)
    tifffile.imwrite(path, np.stack([RGB16] * 2), photometric="rgb")
    with pytest.raises(ImageFileError, match="several pages"):
        read_rgb(path)
    tifffile.imwrite(path, np.dstack([RGB16] * 2), photometric="rgb", planarconfig="contig")
    with pytest.raises(ImageFileError, match="6 channels"):
        read_rgb(path)


def test_a_16_bit_tiff_with_a_huge_header(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB16, photometric="rgb")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(ImageFileError, match="image size 5x7 exceeds"):
        read_rgb(path)


def test_a_bomb_is_refused_where_warnings_are_ignored(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(make_png(PIXEL, size=(10_000, 10_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageFileError, match="exceeds limit"):
            read_rgb(path)
        assert warnings.filters[0][0] == "ignore"


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ImageFileError, match=r"no\.png: cannot be read: No such file"):
        read_rgb(tmp_path / "no.png")
    with pytest.raises(ImageFileError, match="cannot be read: Is a directory"):
        read_photo(tmp_path)
