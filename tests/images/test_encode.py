"""Image files that are written, read back without lnln_jax."""

import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from lnln_jax.images import encode as image_encoders
from lnln_jax.images import write_tiff
from lnln_jax.images.files import (
    ImageFileError,
    Photo,
    read_photo,
    read_rgb,
    write_bands,
    write_photo,
)
from lnln_jax.images.photo import Header, Metadata
from tests.support.pictures import (
    ALPHA,
    GRAY,
    GRAY_PROFILE,
    RGB,
    RGB16,
    SRGB,
    assert_camera_exif,
    camera_exif,
    make_png,
    replicated,
)


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


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".webp", ".jpg", ".jpeg", ".bmp"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_8_bit_files_read_back_by_pillow(tmp_path, suffix, gray, alpha):
    pixels = (replicated(GRAY) if gray else RGB).astype(np.float32)
    path = tmp_path / f"x{suffix}"
    photo = Photo(np.dstack([GRAY if gray else RGB, *([] if alpha is None else [alpha])]))
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
    np.testing.assert_array_equal(again.samples, samples)
    assert again.gray == (channels < 3)


def test_16_bits_become_8_where_the_format_has_no_more(tmp_path):
    write_photo(Photo(RGB16), tmp_path / "x.webp")
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "x.webp"), np.floor(RGB16 / 257 + 0.5).astype(np.uint8)
    )


def test_one_pixel(tmp_path):
    for suffix in (".png", ".tif", ".webp", ".jpg", ".bmp"):
        write_photo(Photo(np.full((1, 1, 3), 200, np.uint8)), tmp_path / f"x{suffix}")
        assert np.abs(read_rgb(tmp_path / f"x{suffix}") - 200.0).max() < 2


def test_an_older_file_is_replaced_and_gets_ordinary_permissions(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    write_photo(Photo(RGB), path)
    np.testing.assert_array_equal(read_rgb(path), RGB)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain", "x.png"]


FULL_DISK = """
import pathlib, resource, sys
import numpy as np
from lnln_jax.images.files import ImageFileError, Photo, write_photo
samples = np.random.default_rng(0).integers(0, 65536, (100, 100, 3), np.uint16)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for name in sys.argv[1:]:
    try:
        write_photo(Photo(samples), pathlib.Path(name))
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
    photo = Photo(RGB)
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
    photo = Photo(np.zeros((side, 1, 3), np.uint8))
    with pytest.raises(ImageFileError, match=f"at most {side - 1} pixels a side, not 1x{side}"):
        write_photo(photo, tmp_path / f"x{suffix}")


@pytest.mark.parametrize("samples", [RGB.astype(np.float32), np.zeros((2, 2, 5), np.uint8)])
def test_other_samples_are_refused(tmp_path, samples):
    with pytest.raises(ValueError, match=r"samples must be uint8 or uint16 .* got \w+ \("):
        write_photo(Photo(samples), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


# ---- bands ----


def in_bands(samples: np.ndarray, heights: list[int]) -> list[np.ndarray]:
    assert sum(heights) == len(samples)
    return np.split(samples, np.cumsum(heights)[:-1])


HEIGHTS = [[7], [1] * 7, [3, 1, 2, 1], [1, 6]]


@pytest.mark.parametrize("heights", HEIGHTS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("strip_bytes", [1, 70, 1 << 20])
def test_bands_become_one_file(tmp_path, monkeypatch, heights, channels, dtype, strip_bytes):
    monkeypatch.setattr(image_encoders, "_STRIP_BYTES", strip_bytes)
    samples = np.dstack([RGB16, RGB16[..., :1]])[..., :channels].astype(dtype)
    profile = GRAY_PROFILE if channels < 3 else SRGB
    header = Header(samples.shape, samples.dtype, Metadata(profile, camera_exif(1)))
    for name, decode in (("x.png", imagecodecs.png_decode), ("x.tif", tifffile.imread)):
        write_bands(iter(in_bands(samples, heights)), header, tmp_path / name)
        source = (tmp_path / name).read_bytes() if name == "x.png" else tmp_path / name
        np.testing.assert_array_equal(decode(source).reshape(samples.shape), samples)
        if dtype == np.uint16 and name == "x.png":
            np.testing.assert_array_equal(png_16_bit_samples(source), samples)
        photo = read_photo(tmp_path / name)
        np.testing.assert_array_equal(photo.samples, samples)
        assert photo.metadata.icc_profile == profile
        exif = Image.Exif()
        exif.load(photo.metadata.exif)
        assert_camera_exif(exif)
        if dtype == np.uint8:
            with Image.open(tmp_path / name) as image:
                np.testing.assert_array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_strips_of_a_tiff(tmp_path, monkeypatch):
    monkeypatch.setattr(image_encoders, "_STRIP_BYTES", 35)  # two rows
    header = Header(RGB.shape, RGB.dtype)
    write_bands(in_bands(RGB, [3, 4]), header, tmp_path / "x.tif")
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert len(file.pages[0].dataoffsets) == 4
        assert file.pages[0].rowsperstrip == 2
        assert not file.is_bigtiff


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("strip_bytes", [20, 1 << 20])
def test_large_tiffs_have_offsets_of_64_bits(tmp_path, monkeypatch, dtype, endian, strip_bytes):
    monkeypatch.setattr(image_encoders, "_STRIP_BYTES", strip_bytes)
    monkeypatch.setattr(write_tiff, "_CLASSIC_TIFF_BYTES", 100)
    samples = RGB16.astype(dtype)
    write_photo(Photo(samples, Metadata(SRGB, camera_exif(1, endian))), tmp_path / "x.tif")
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), samples)
    photo = read_photo(tmp_path / "x.tif")
    np.testing.assert_array_equal(photo.samples, samples)
    assert photo.metadata.icc_profile == SRGB
    exif = Image.Exif()
    exif.load(photo.metadata.exif)
    assert_camera_exif(exif)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".bmp"])
def test_bands_that_end_in_an_error_leave_the_old_file(tmp_path, suffix):
    def failing():
        yield RGB[:3]
        raise RuntimeError("no more")

    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="no more"):
        write_bands(failing(), Header(RGB.shape, RGB.dtype), path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_the_first_rows_are_written_before_the_last_exist(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2000, 1000, 3), np.uint8)

    def watched():
        yield noise
        (unfinished,) = tmp_path.iterdir()
        assert unfinished.stat().st_size > 0.8 * noise.size
        yield noise

    for name in ("x.png", "x.tif"):
        write_bands(watched(), Header((4000, 1000, 3), noise.dtype), tmp_path / name)
        (tmp_path / name).unlink()
