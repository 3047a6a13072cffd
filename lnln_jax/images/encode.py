"""Image formats to files, from bands of rows, so that a large picture is never held whole.

`encode` takes no path and knows no policy; `lnln_jax.images.files` is the way in. PNG and TIFF are
written as the rows come, with 16 bits and metadata, all of which Pillow has for neither (and it
wants whole pictures). Pillow writes the other formats, whose rows are collected for it.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from lnln_jax.images.formats import WRITTEN
from lnln_jax.images.metadata import set_resolution
from lnln_jax.images.photo import Header, Metadata
from lnln_jax.images.png_chunks import SIGNATURE, XMP_KEYWORD
from lnln_jax.images.write_tiff import write_tiff

# A fraction of Pillow's time at little cost in size (docs/benchmarks.md, log).
_DEFLATE_LEVEL = 3
_STRIP_BYTES = 1 << 20  # of samples, deflated together
_INCH = 0.0254  # in metres


def encode(file: BinaryIO, bands: Iterable[np.ndarray], header: Header, suffix: str) -> None:
    """Writes a picture, row by row as it comes for PNG and TIFF.

    Args:
      file: empty file, open for writing in any place.
      bands: bands `h W C`, one below the other, as the header says.
      header: form of the samples; depth, alpha and metadata are such as the format holds.
      suffix: one of `formats.WRITTEN`.

    Raises:
      ValueError: the encoder refused the picture.
      OSError: the file cannot be written.
    """
    name = WRITTEN[suffix].name
    if name == "PNG":
        _write_png(file, _strips(bands, header), header)
    elif name == "TIFF":
        rows = _strip_rows(header)
        write_tiff(file, _strips(bands, header), header, rows=rows, level=_DEFLATE_LEVEL)
    else:
        file.write(_encode_with_pillow(bands, header, suffix))


def encode_png(image: np.ndarray) -> bytes:
    """Returns the bytes of a PNG file of uint8 or uint16 samples `H W C`, as `Photo` has them."""
    file = io.BytesIO()
    encode(file, [image], Header(image.shape, image.dtype), ".png")
    return file.getvalue()


def _strips(bands: Iterable[np.ndarray], header: Header) -> Iterator[np.ndarray]:
    """Cuts bands of any heights anew, in strips of `_strip_rows`; the last has what is left."""
    rows = _strip_rows(header)
    rest = np.empty((0, *header.shape[1:]), header.dtype)
    for band in bands:
        rest = np.concatenate([rest, band]) if len(rest) else band
        while len(rest) >= rows:
            yield rest[:rows]
            rest = rest[rows:]
    if len(rest):
        yield rest


def _strip_rows(header: Header) -> int:
    _, width, channels = header.shape
    return max(1, _STRIP_BYTES // (width * channels * header.dtype.itemsize))


# ---- PNG ----


def _write_png(file: BinaryIO, strips: Iterable[np.ndarray], header: Header) -> None:
    height, width, channels = header.shape
    depth = header.dtype.itemsize
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    file.write(SIGNATURE)
    _write_chunk(
        file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * depth, colour_type, 0, 0, 0)
    )
    _write_png_metadata(file, header.metadata)
    deflate = zlib.compressobj(_DEFLATE_LEVEL)
    above = np.zeros(width * channels * depth, np.uint8)
    for strip in strips:
        samples = np.ascontiguousarray(strip, header.dtype.newbyteorder(">"))
        rows = samples.view(np.uint8).reshape(len(strip), -1)
        if data := deflate.compress(_filtered(rows, above, channels * depth)):
            _write_chunk(file, b"IDAT", data)
        above = rows[-1]
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _write_png_metadata(file: BinaryIO, metadata: Metadata) -> None:
    for kind, body in metadata.png_chunks:
        _write_chunk(file, kind, body)
    if metadata.icc_profile:
        _write_chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile))
    if metadata.dpi:
        across, down = (round(value / _INCH) for value in metadata.dpi)
        _write_chunk(file, b"pHYs", struct.pack(">IIB", across, down, 1))  # 1: pixels per metre
    if metadata.xmp:
        _write_chunk(file, b"iTXt", XMP_KEYWORD + bytes(5) + metadata.xmp)
    if metadata.exif:
        _write_chunk(file, b"eXIf", metadata.exif.removeprefix(b"Exif\0\0"))


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> bytes:
    """Applies PNG's filter 3: bytes minus the mean of those `step` to the left and above."""
    neighbours = np.vstack([above[None], rows[:-1]]).astype(np.uint16)
    neighbours[:, step:] += rows[:, :-step]
    filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 3
    np.subtract(rows, (neighbours >> 1).astype(np.uint8), out=filtered[:, 1:])  # wraps around
    return filtered.tobytes()


def _write_chunk(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind)
    file.write(body)
    file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


# ---- others ----


def _encode_with_pillow(bands: Iterable[np.ndarray], header: Header, suffix: str) -> bytes:
    samples = np.empty(header.shape, np.uint8)
    start = 0
    for band in bands:
        samples[start : start + len(band)] = band
        start += len(band)
    form = WRITTEN[suffix]
    if not form.gray and samples.shape[2] < 3:
        samples = np.concatenate([samples[..., :1]] * 3 + [samples[..., 1:]], axis=2)
    file = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    try:
        image.save(file, form.name, **form.options, **_options(header.metadata, form.name))
    except (OSError, struct.error) as error:
        raise ValueError(str(error)) from error
    return file.getvalue()


def _options(metadata: Metadata, name: str) -> dict[str, Any]:
    """Returns metadata as Pillow's options for saving."""
    options: dict[str, Any] = {}
    exif = metadata.exif
    if name in ("JPEG", "BMP"):
        options["dpi"] = metadata.dpi or (0, 0)  # without, Pillow writes 96 for BMP
    elif metadata.dpi:  # only EXIF has a place for it
        tags = Image.Exif()
        if exif:
            tags.load(exif)
        set_resolution(tags, metadata.dpi)
        exif = tags.tobytes()
    fields = {"icc_profile": metadata.icc_profile, "exif": exif, "xmp": metadata.xmp}
    return options | {field: value for field, value in fields.items() if value}
