"""Formats beside the common five, pages of TIFF files, and what is told of files that are read."""

import io
import struct
import threading
import warnings

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from lnln_jax.images.files import ImageFileError, read_photo, read_rgb, write_photo
from lnln_jax.images.formats import IMAGE_SUFFIXES, WRITTEN
from lnln_jax.images.library import guarded
from lnln_jax.images.photo import Photo
from tests.support.pictures import ALPHA, GRAY, RGB, RGB16, make_png, png_chunk, save

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".avif")


def made(suffix: str) -> bytes:
    """A file of RGB, as Pillow writes it, or by hand."""
    if suffix == ".psd":
        head = b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\7\0\0\0\5\0\10\0\3" + bytes(12) + b"\0\0"
        return head + np.moveaxis(RGB, -1, 0).tobytes()
    options = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    names = {".tif": "TIFF"} | dict.fromkeys(LOSSY[:5], "JPEG")
    names |= dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG2000")
    names[".apng"] = "PNG"
    names |= dict.fromkeys((".pgm", ".pnm", ".ppm", ".pbm"), "PPM")
    file = io.BytesIO()
    name = names.get(suffix, suffix[1:].upper())
    Image.fromarray(RGB).save(file, name, **options.get(name, {}))
    return file.getvalue()


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_suffix_is_read(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(made(suffix))
    assert np.abs(read_rgb(path).astype(int) - RGB).max() <= (20 if suffix in LOSSY else 0)


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_one_pixel_in_every_format(tmp_path, suffix, channels):
    path = tmp_path / f"x{suffix}"
    samples = np.full((1, 1, channels), 200, np.uint8)
    samples[..., -1] = 255 if channels % 2 == 0 else 200
    write_photo(Photo(samples), path)
    assert np.abs(read_rgb(path) - 200.0).max() <= 2


def test_avif_keeps_transparency(tmp_path):
    pytest.importorskip("PIL._avif")
    samples = np.full((16, 16, 4), 128, np.uint8)
    samples[:, 8:, 3] = 255
    write_photo(Photo(samples), tmp_path / "x.avif")
    assert np.abs(read_photo(tmp_path / "x.avif").samples - 128.0)[:, :8].max() <= 2
    assert read_photo(tmp_path / "x.avif").samples.shape == (16, 16, 4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("most", [65535, 1023])
@pytest.mark.parametrize("comment", [b"", b"# made by hand\n"])
def test_16_bit_pgm_and_ppm(tmp_path, channels, most, comment):
    samples = RGB16[..., :channels].astype(np.int64) * most // 65535
    head = b"P%d\n%s5 7\n%d\n" % (5 if channels == 1 else 6, comment, most)
    path = tmp_path / "x.ppm"
    path.write_bytes(head + samples.astype(">u2").tobytes())
    photo = read_photo(path)
    assert photo.samples.dtype == np.uint16
    np.testing.assert_array_equal(photo.samples, np.rint(samples * (65535 / most)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ImageFileError, match="truncated"):
        read_photo(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(20), "it is HEIC, which is not read; save it as PNG"),
        (b"\xff\x0a" + bytes(20), "it is JPEG XL"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "it is a video, which is not read; take its pictures"),
        (b"\0\0\0\x14ftypqt  ", "it is a video"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86", "it is a video"),
        (b"RIFF\0\0\1\0AVI LIST", "it is a video"),
        (b"<!DOCTYPE HTML><html>", "it is a web page, which is not read; download the picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        (b"%PDF-1.7", "it is PDF"),
    ],
)
def test_what_else_a_file_may_be(tmp_path, content, reason):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ImageFileError, match=reason):
        read_rgb(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("samples", "options", "reason"),
    [
        (RGB.astype(np.float16), {}, "3 channels of 16 floating bits.*save it as gray or RGB"),
        (RGB.astype(np.float32), {}, "3 channels of 32 floating bits"),
        (GRAY.astype(np.int16), {"photometric": "minisblack"}, "pixels of type I"),
        (
            np.dstack([RGB, RGB[..., :2]]),
            {"photometric": "separated", "extrasamples": ["unassalpha"]},
            "5 channels of 8 unsigned",
        ),
    ],
)
def test_other_samples_in_tiff_say_why(tmp_path, samples, options, reason):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, samples, **{"photometric": "rgb"} | options)
    with pytest.raises(ImageFileError, match=rf"x\.tif: cannot be read: .*{reason}"):
        read_rgb(path)


# ---- pages of TIFF files ----

WHOLE = np.random.default_rng(3).integers(0, 256, (64, 48, 3), np.uint8)
HALF, SMALL = WHOLE[::2, ::2], WHOLE[::8, ::8]
REDUCED = {"subfiletype": 1}


def write_pages(path, *pages, dtype=np.uint8, **options) -> None:
    with tifffile.TiffWriter(path, **options) as file:
        for samples, tags in pages:
            widened = samples.astype(dtype) * (257 if dtype == np.uint16 else 1)
            file.write(widened, photometric="rgb", metadata=None, **tags)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "pages",
    [
        [(WHOLE, {}), (SMALL, REDUCED)],
        [(SMALL, REDUCED), (WHOLE, {})],
        [(WHOLE, {}), (HALF, {}), (SMALL, {})],
        [(WHOLE, {"subifds": 1}), (SMALL, REDUCED)],
        [(WHOLE, REDUCED)],
    ],
    ids=["thumbnail", "thumbnail first", "pyramid", "sub-directory", "alone"],
)
@pytest.mark.parametrize("bigtiff", [False, True])
def test_the_picture_of_a_tiff_with_smaller_versions(tmp_path, dtype, pages, bigtiff):
    write_pages(tmp_path / "x.tif", *pages, dtype=dtype, bigtiff=bigtiff)
    expected = WHOLE.astype(dtype) * (257 if dtype == np.uint16 else 1)
    np.testing.assert_array_equal(read_photo(tmp_path / "x.tif").samples, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        ([(WHOLE, {}), (WHOLE[::-1], {})], r"it has several pages \(2\)"),
        ([(WHOLE, {}), (WHOLE[:30], {})], r"it has several pages \(2\)"),
        ([(WHOLE, {}), (SMALL, REDUCED), (WHOLE, {})], r"it has several pages \(3\)"),
        ([(SMALL, REDUCED | {"subifds": 1}), (WHOLE, {})], "it is a camera's raw file"),
    ],
)
def test_tiffs_with_several_pictures_are_refused(tmp_path, dtype, pages, reason):
    write_pages(tmp_path / "x.tif", *pages, dtype=dtype)
    with pytest.raises(ImageFileError, match=reason):
        read_photo(tmp_path / "x.tif")


def test_pages_in_a_circle(tmp_path):
    write_pages(tmp_path / "x.tif", (WHOLE, {}))
    data = bytearray((tmp_path / "x.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        start = file.pages[0].offset
        end = start + 2 + 12 * len(file.pages[0].tags)
    data[end : end + 4] = start.to_bytes(4, "little")
    (tmp_path / "x.tif").write_bytes(data)
    np.testing.assert_array_equal(read_photo(tmp_path / "x.tif").samples, WHOLE)


# ---- warnings ----


def corrupt_exif(path) -> None:
    save(path, RGB, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30))


def test_warnings_name_the_file_once(tmp_path, caplog, capfd):
    for name in ("a.jpg", "b.jpg"):
        corrupt_exif(tmp_path / name)
        for _ in range(2):
            read_rgb(tmp_path / name)
    assert [text.split(": ")[0] for text in caplog.messages] == [
        str(tmp_path / "a.jpg"),
        str(tmp_path / "b.jpg"),
    ]
    assert all("Corrupt EXIF data" in text for text in caplog.messages)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_odd_tags_of_a_tiff_are_told_with_its_name(tmp_path, caplog, dtype):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB.astype(dtype), photometric="rgb", byteorder="<")
    one, two = (struct.pack("<HHI", ExifTags.Base.XResolution, 5, count) for count in (1, 2))
    path.write_bytes(path.read_bytes().replace(one, two))
    assert read_photo(path).samples.shape == RGB.shape
    assert caplog.messages
    assert all(text.startswith(f"{path}: Metadata Warning") for text in caplog.messages)


def test_a_palette_with_many_alphas_says_nothing(tmp_path, caplog):
    image = Image.fromarray(RGB).quantize(8)
    path = save(tmp_path / "x.png", image, transparency=bytes(range(0, 240, 30)))
    assert read_photo(path).alpha is not None
    assert not caplog.records


def test_warnings_of_others_go_their_way():
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with guarded(None, told.append):
            warnings.warn("of another", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["of another"]
    assert told == []


def test_threads_get_the_warnings_of_their_files(tmp_path, caplog):
    paths = [tmp_path / f"{i}.jpg" for i in range(40)]
    for i, path in enumerate(paths):
        corrupt_exif(path) if i % 2 else save(path, RGB)
    filters = list(warnings.filters)

    def read(share) -> None:
        for path in share:
            read_rgb(path)

    threads = [threading.Thread(target=read, args=(paths[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(text.split(": ")[0] for text in caplog.messages) == sorted(map(str, paths[1::2]))
    assert warnings.filters == filters


def test_a_transparent_colour_of_a_gray_png_with_a_large_text(tmp_path):
    text = png_chunk(b"tEXt", b"t\0" + bytes(40 << 20))
    key = png_chunk(b"tRNS", b"\0" + GRAY[2, 3].tobytes())
    (tmp_path / "x.png").write_bytes(make_png(GRAY[..., None], text, key))
    alpha = read_photo(tmp_path / "x.png").alpha
    np.testing.assert_array_equal(alpha[..., 0], np.where(GRAY[2, 3] == GRAY, 0, 255))
    assert alpha.shape == (*ALPHA.shape, 1)
