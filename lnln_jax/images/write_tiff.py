"""TIFF files, written strip by strip, with 16 bits and metadata."""

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO, Literal

import numpy as np
from PIL import ExifTags, Image

from lnln_jax.images.metadata import set_resolution
from lnln_jax.images.photo import Header

_CLASSIC_TIFF_BYTES = 4_000_000_000  # of samples; its offsets have 32 bits


def write_tiff(
    file: BinaryIO, strips: Iterable[np.ndarray], header: Header, *, rows: int, level: int
) -> None:
    """Writes deflated strips, then where they are, then the directory.

    An EXIF block is a TIFF directory, so the picture's block with the tags that describe the strips
    is that of the new file. (Pillow's deflated TIFFs lose EXIF, and have no 16 bits.)

    Args:
      file: empty file.
      strips: strips `h W C` of `rows` rows; the last may have fewer.
      header: form of the samples.
      rows: rows of a strip.
      level: level of deflate.
    """
    height, width, channels = header.shape
    big = height * width * channels * header.dtype.itemsize > _CLASSIC_TIFF_BYTES
    tags = Image.Exif()
    if header.metadata.exif:
        tags.load(header.metadata.exif)
    endian: Literal["<", ">"] = ">" if tags.endian == ">" and not big else "<"
    tags.bigtiff, tags.endian = big, endian
    head = tags.tobytes().removeprefix(b"Exif\0\0")[: 16 if big else 8]
    file.write(head)
    offsets, sizes = [], []
    for strip in strips:
        differences = strip.astype(header.dtype.newbyteorder(endian))
        differences[:, 1:] -= strip[:, :-1]  # the horizontal predictor; wraps around
        offsets.append(file.tell())
        sizes.append(file.write(zlib.compress(differences.tobytes(), level)))
    _describe(tags, header, rows)
    number = "Q" if big else "I"
    entries = []
    for tag, values in (
        (ExifTags.Base.StripOffsets, offsets),
        (ExifTags.Base.StripByteCounts, sizes),
    ):
        _align(file)
        value = values[0] if len(values) == 1 else file.tell()
        file.write(struct.pack(f"{endian}{len(values)}{number}", *values))
        kind = 16 if big else 4  # integers of 64 or 32 bits
        entries.append(struct.pack(f"{endian}HH{number}{number}", tag, kind, len(values), value))
    _align(file)
    start = file.tell()
    file.write(_directory(tags, entries, start, len(head)))
    file.seek(len(head) - struct.calcsize("=" + number))
    file.write(struct.pack(endian + number, start))


def _describe(tags: Image.Exif, header: Header, rows: int) -> None:
    height, width, channels = header.shape
    tags[ExifTags.Base.ImageWidth] = width
    tags[ExifTags.Base.ImageLength] = height
    tags[ExifTags.Base.BitsPerSample] = (8 * header.dtype.itemsize,) * channels
    tags[ExifTags.Base.Compression] = 8  # deflate
    tags[ExifTags.Base.PhotometricInterpretation] = 1 if channels < 3 else 2  # gray, RGB
    tags[ExifTags.Base.SamplesPerPixel] = channels
    tags[ExifTags.Base.RowsPerStrip] = min(rows, height)
    tags[ExifTags.Base.Predictor] = 2
    if channels % 2 == 0:
        tags[ExifTags.Base.ExtraSamples] = 2  # alpha, not premultiplied
    if header.metadata.icc_profile:
        tags[ExifTags.Base.InterColorProfile] = header.metadata.icc_profile
    if header.metadata.xmp:
        tags[ExifTags.Base.XMLPacket] = header.metadata.xmp
    if header.metadata.dpi:
        set_resolution(tags, header.metadata.dpi)


def _directory(tags: Image.Exif, entries: list[bytes], start: int, head: int) -> bytes:
    """Makes Pillow's directory of the tags, with more entries, for byte `start` on."""
    added = sum(map(len, entries))
    entry_size = added // len(entries)
    # What entries point at comes behind them, so Pillow is told to begin later.
    data = tags.tobytes(start + added).removeprefix(b"Exif\0\0")[head:]
    count_format = f"{tags.endian}{'Q' if tags.bigtiff else 'H'}"
    first = struct.calcsize(count_format)
    (count,) = struct.unpack_from(count_format, data)
    end = first + count * entry_size
    entries = entries + [data[at : at + entry_size] for at in range(first, end, entry_size)]
    entries.sort(key=lambda entry: struct.unpack_from(f"{tags.endian}H", entry))
    return struct.pack(count_format, len(entries)) + b"".join(entries) + data[end:]


def _align(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % 8))
