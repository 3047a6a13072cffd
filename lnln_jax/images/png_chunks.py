"""Chunks of PNG files: what they say about colour, and texts too large for Pillow."""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from PIL import PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"

# Chunks that say what colour the samples are, with the length of each.
_COLOUR = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}
_TEXTS = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")
_STALE_TEXTS = (XMP_KEYWORD, b"Raw profile type ", b"exif:", b"tiff:", b"date:", b"Thumb::")
_LARGE = PngImagePlugin.MAX_TEXT_CHUNK + 1  # inflated; Pillow refuses the picture for it
_MOST_TEXT = 32 << 20  # of all texts that Pillow gets
_MOST_INFLATED = 64 << 20  # of a profile or XMP packet; more is a bomb


class Texts(NamedTuple):
    """A PNG file without the texts that Pillow would refuse, and what of them is of use.

    Attributes:
      data: bytes of the file; those that were given, if nothing was too large.
      icc_profile: profile that was too large; else None.
      xmp: XMP packet that was too large; else None.
    """

    data: bytes
    icc_profile: bytes | None = None
    xmp: bytes | None = None


def kept_chunks(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Returns kind and body of the chunks of a PNG file that stay true of a larger picture.

    They are gAMA, cHRM, sRGB, cICP, mDCV and cLLI, and texts but those in which programs put EXIF,
    XMP, profiles, thumbnails and times of files.
    """
    kept: list[tuple[bytes, bytes]] = []
    colours = dict(_COLOUR)
    for kind, start, length in _chunks(data):
        if kind == b"IDAT":
            colours.clear()  # behind the pixels they say nothing
            continue
        body = data[start : start + length]
        is_text = kind in _TEXTS and kind != b"iCCP" and not body.startswith(_STALE_TEXTS)
        if is_text or colours.get(kind) == length:
            kept.append((kind, body))
            colours.pop(kind, None)  # the first one counts
    return tuple(kept)


def colour(chunks: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Returns those of the chunks that say what colours the samples are, by kind."""
    return {kind: body for kind, body in chunks if kind in _COLOUR}


def without_large_texts(data: bytes, tell: Callable[[str], object]) -> Texts:
    """Takes out profiles and texts by which Pillow refuses the whole picture.

    The first profile and the first XMP packet are kept up to 64 MiB; `tell` is told of all else
    that is left out. Beyond 32 MiB of texts, none is inflated to see how large it is.
    """
    large, total, inflated = [], 0, 0
    for kind, start, length in _chunks(data):
        if kind in _TEXTS:
            _, packed, rest = _parts(kind, data[start : start + length])
            size = length
            if packed:
                known = inflated < _MOST_TEXT
                size = len(_inflated(rest, _LARGE)) if known else _LARGE
                inflated += size
            if (packed and size >= _LARGE) or total + size > _MOST_TEXT:
                large.append((kind, start, length))
            else:
                total += size
    if not large:
        return Texts(data)
    kept: dict[str, bytes | None] = {}
    pieces, end, lost = [], 0, 0
    for kind, start, length in large:
        keyword, packed, rest = _parts(kind, data[start : start + length])
        pieces.append(data[end : start - 8])
        end = start + length + 4
        what = "ICC profile" if kind == b"iCCP" else "XMP" if keyword == XMP_KEYWORD else ""
        if what and what not in kept:
            kept[what] = _whole(rest, what, tell) if packed else rest
        else:
            lost += 1
    if lost:
        tell(f"{lost} large text{'s are' if lost > 1 else ' is'} left out")
    data = b"".join([*pieces, data[end:]])
    return Texts(data, kept.get("ICC profile"), kept.get("XMP"))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and length of the chunks that are whole."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield kind, at + 8, length
        at += 12 + length


def _parts(kind: bytes, body: bytes) -> tuple[bytes, bool, bytes]:
    """Returns the keyword of a text, whether it is deflated, and the text."""
    keyword, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        return keyword, False, rest
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        return keyword, packed, rest.partition(b"\0")[2].partition(b"\0")[2]
    return keyword, True, rest[1:]


def _inflated(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:
        return b""  # Pillow, too, leaves out what is damaged


def _whole(data: bytes, what: str, tell: Callable[[str], object]) -> bytes | None:
    inflated = _inflated(data, _MOST_INFLATED + 1)
    if len(inflated) > _MOST_INFLATED:
        tell(f"{what} inflates to more than {_MOST_INFLATED >> 20} MiB and is left out")
        return None
    return inflated or None
