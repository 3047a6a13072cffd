"""Image formats to files, from bands of rows, so that a large picture is never held whole.

`encode` takes no path and knows no policy; `lnln_jax.images.files` is the way in. PNG and TIFF are
written as the rows come, with 16 bits, colour profile and EXIF, all of which Pillow has for neither
(and it wants whole pictures). Pillow writes JPEG, WebP and BMP, whose rows are collected for it.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from lnln_jax.images.decode import fitting_profile

_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True, "exact": True},  # exact: colour under alpha 0
    ".bmp": {"format": "BMP"},
}
# A fraction of Pillow's time at little cost in size (docs/benchmarks.md, log).
_DEFLATE_LEVEL = 3
_STRIP_BYTES = 1 << 20  # of samples, deflated together
_CLASSIC_TIFF_BYTES = 4_000_000_000  # of samples; its offsets have 32 bits


class Header(NamedTuple):
    """Form of the samples in a file, and its metadata.

    Attributes:
      shape: shape `(H, W, C)`, with the channels of `Photo.samples`.
      dtype: uint8 or uint16.
      icc_profile: profile as in `Photo`; one that does not fit the channels is left out.
      exif: EXIF block as in `Photo`.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    icc_profile: bytes | None = None
    exif: bytes | None = None


def encode(file: BinaryIO, bands: Iterable[np.ndarray], header: Header, suffix: str) -> None:
    """Writes a picture, row by row as it comes for PNG and TIFF.

    Args:
      file: empty file, open for writing in any place.
      bands: bands `h W C`, one below the other, as the header says.
      header: form of the samples; uint16 for PNG and TIFF only, alpha for those and WebP only.
      suffix: ".png", ".tif", ".tiff", ".webp", ".jpg", ".jpeg" or ".bmp".

    Raises:
      ValueError: the encoder refused the picture.
      OSError: the file cannot be written.
    """
    header = header._replace(icc_profile=fitting_profile(header.icc_profile, header.shape[2]))
    if suffix == ".png":
        _write_png(file, _strips(bands, header), header)
    elif suffix in (".tif", ".tiff"):
        _write_tiff(file, _strips(bands, header), header)
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
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(
        file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * depth, colour_type, 0, 0, 0)
    )
    if header.icc_profile:
        _write_chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(header.icc_profile))
    if header.exif:
        _write_chunk(file, b"eXIf", header.exif.removeprefix(b"Exif\0\0"))
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


# ---- TIFF ----


def _write_tiff(file: BinaryIO, strips: Iterable[np.ndarray], header: Header) -> None:
    """Writes deflated strips, then where they are, then the directory.

    An EXIF block is a TIFF directory, so the picture's block with the tags that describe the strips
    is that of the new file. (Pillow's deflated TIFFs lose EXIF, and have no 16 bits.)
    """
    height, width, channels = header.shape
    big = height * width * channels * header.dtype.itemsize > _CLASSIC_TIFF_BYTES
    tags = Image.Exif()
    if header.exif:
        tags.load(header.exif)
    endian: Literal["<", ">"] = ">" if tags.endian == ">" and not big else "<"
    tags.bigtiff, tags.endian = big, endian
    head = tags.tobytes().removeprefix(b"Exif\0\0")[: 16 if big else 8]
    file.write(head)
    offsets, sizes = [], []
    for strip in strips:
        differences = strip.astype(header.dtype.newbyteorder(endian))
        differences[:, 1:] -= strip[:, :-1]  # the horizontal predictor; wraps around
        offsets.append(file.tell())
        sizes.append(file.write(zlib.compress(differences.tobytes(), _DEFLATE_LEVEL)))

    tags[ExifTags.Base.ImageWidth] = width
    tags[ExifTags.Base.ImageLength] = height
    tags[ExifTags.Base.BitsPerSample] = (8 * header.dtype.itemsize,) * channels
    tags[ExifTags.Base.Compression] = 8  # deflate
    tags[ExifTags.Base.PhotometricInterpretation] = 1 if channels < 3 else 2  # gray, RGB
    tags[ExifTags.Base.SamplesPerPixel] = channels
    tags[ExifTags.Base.RowsPerStrip] = min(_strip_rows(header), height)
    tags[ExifTags.Base.Predictor] = 2
    if channels % 2 == 0:
        tags[ExifTags.Base.ExtraSamples] = 2  # alpha, not premultiplied
    if header.icc_profile:
        tags[ExifTags.Base.InterColorProfile] = header.icc_profile

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


# ---- JPEG, WebP, BMP ----


def _encode_with_pillow(bands: Iterable[np.ndarray], header: Header, suffix: str) -> bytes:
    samples = np.empty(header.shape, np.uint8)
    start = 0
    for band in bands:
        samples[start : start + len(band)] = band
        start += len(band)
    icc_profile = header.icc_profile
    if suffix == ".webp" and samples.shape[2] < 3:  # it has no gray
        samples = np.concatenate([samples[..., :1]] * 3 + [samples[..., 1:]], axis=2)
        icc_profile = None
    options = dict(_SAVE_OPTIONS[suffix])
    if suffix != ".bmp":
        options |= {"icc_profile": icc_profile, "exif": header.exif or b""}
    file = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    try:
        image.save(file, **options)
    except (OSError, struct.error) as error:
        raise ValueError(str(error)) from error
    return file.getvalue()
