"""Image files that are written, read back without lnln_jax."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile
from pictures import ALPHA, GRAY, RGB, RGB16, make_png, replicated
from PIL import Image

from lnln_jax.image_files import ImageFileError, Photo, read_photo, read_rgb, write_photo


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
