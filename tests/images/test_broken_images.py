"""Files that are no images, damaged or too large."""

import io
import threading
import warnings

import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image

from lnln_jax.images.files import ImageFileError, read_photo, read_rgb
from lnln_jax.images.library import guarded
from tests.support.pictures import GRAY, RGB, RGB16, make_png


def encoded(image: np.ndarray | Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format, **options)
    return file.getvalue()


def damaged(data: bytes) -> bytes:
    return data[:20] + bytes(range(200)) + data[220:]


NOISE = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
FRAMES = {"save_all": True, "append_images": [Image.fromarray(RGB[::-1])]}
PIXEL = np.zeros((1, 1, 3), np.uint8)


BROKEN = {
    "zero bytes": (b"", "the file is empty"),
    "text": (
        b"just some text\n",
        r"not an image of a known format \(PNG, JPEG, .* or TGA\), or its header",
    ),
    "cut PNG": (encoded(NOISE, "PNG")[:5000], "truncated"),
    "cut PNG header": (encoded(NOISE, "PNG")[:20], "Truncated"),
    "cut JPEG": (encoded(NOISE, "JPEG")[:1500], "truncated"),
    "cut TIFF": (encoded(NOISE, "TIFF")[:5000], ""),
    "damaged TIFF": (damaged(encoded(NOISE, "TIFF", compression="tiff_lzw")), "data are damaged"),
    "cut WebP": (encoded(NOISE, "WEBP")[:2000], ""),
    "cut 16-bit PNG": (make_png(NOISE.astype(np.uint16) * 257)[:5000], "truncated"),
    "damaged PNG": (encoded(NOISE, "PNG").replace(b"IDAT", b"IDAT\1", 1), ""),
    "huge PNG": (make_png(PIXEL, size=(50_000, 50_000)), "exceeds limit"),
    "huge 16-bit PNG": (make_png(PIXEL.astype(np.uint16), size=(50_000, 50_000)), "exceeds limit"),
    "animated GIF": (encoded(RGB, "GIF", **FRAMES), r"animated or has pages \(2\)"),
    "animated PNG": (encoded(RGB, "PNG", **FRAMES), "animated"),
    "animated WebP": (encoded(RGB, "WEBP", **FRAMES), "animated"),
    "TIFF pages": (encoded(RGB, "TIFF", **FRAMES), "has several pages"),
    "float TIFF": (
        encoded(GRAY.astype(np.float32), "TIFF"),
        r"pixels of type F \(floating point\); convert it to RGB or gray of 8",
    ),
    "32-bit TIFF": (
        encoded(GRAY.astype(np.int32), "TIFF"),
        r"pixels of type I \(signed or of 32 bits\); convert it",
    ),
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


def test_channels_are_counted_before_they_take_memory(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    samples = np.zeros((8, 8, 900), np.uint16)
    tifffile.imwrite(path, samples, photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr("imagecodecs.tiff_decode", None)
    with pytest.raises(ImageFileError, match="900 channels; reduce it to colour and alpha"):
        read_rgb(path)


def test_photos_may_be_larger_than_training_images(tmp_path):
    """`read_photo` gets as far as the missing rows; the files say what they do not hold."""
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "x.png").write_bytes(make_png(PIXEL, size=(12_000, 9_000)))
    for read, reason in (
        (read_rgb, "exceeds limit of 89478485 pixels; make"),
        (read_photo, "trunc"),
    ):
        with pytest.raises(ImageFileError, match=reason):
            read(tmp_path / "x.png")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pillow_may_allow_more(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(make_png(PIXEL, size=(12_000, 9_000)))
    for limit in (200_000_000, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ImageFileError, match="truncated"):
            read_rgb(tmp_path / "x.png")


def test_a_16_bit_tiff_with_a_huge_header(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB16, photometric="rgb")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(ImageFileError, match=r"image size \(35 pixels\) exceeds limit of 30"):
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


@pytest.mark.parametrize("header", [b"II*\0" + bytes(4), b"II+\0\x08\0\0\0" + bytes(8)])
def test_a_tiff_without_pages(tmp_path, header):
    path = tmp_path / "x.tif"
    path.write_bytes(header)
    with pytest.raises(ImageFileError, match="cannot be read: "):
        read_rgb(path)


def test_12_bits_are_not_taken_for_16(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(
        path, np.full((8, 8), 4095, np.uint16), photometric="minisblack", bitspersample=12
    )
    with pytest.raises(ImageFileError, match=r"x\.tif: cannot be read: "):
        read_rgb(path)


def test_warnings_of_others_go_their_own_way():
    told: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with guarded(None, told.append):
            warnings.warn_explicit("of Pillow", UserWarning, PIL.__file__, 1, module="PIL.Image")
            warnings.warn_explicit("of ours", UserWarning, __file__, 1, module=__name__)
    assert told == ["of Pillow"]
    assert [str(warning.message) for warning in seen] == ["of ours"]


def test_an_error_of_another_thread_is_its_own():
    def other() -> None:
        try:
            warnings.warn("from another thread", UserWarning, stacklevel=1)
        except UserWarning as error:
            raised.append(error)

    raised: list[UserWarning] = []
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with guarded(None, told.append):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
    assert len(raised) == 1
    assert told == []
