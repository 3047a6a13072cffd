"""Formats of image files: which are read, which are written, and what each can hold."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lnln_jax.images import png_chunks
from lnln_jax.images.metadata import without_maker_note
from lnln_jax.images.photo import Metadata
from lnln_jax.images.profiles import fitting_profile, profile_from_png
from lnln_jax.runtime.extras import installed


class Format(NamedTuple):
    """A format that is written.

    Attributes:
      name: Pillow's name of it.
      options: Pillow's options for saving.
      alpha: whether it holds transparency.
      gray: whether it holds gray pictures as such.
      deep: whether it holds 16 bits per channel.
      longest_side: pixels, or None.
      limits: most bytes of fields of `Metadata`, for those that have a limit.
    """

    name: str
    options: Mapping[str, Any] = {}
    alpha: bool = True
    gray: bool = True
    deep: bool = False
    longest_side: int | None = None
    limits: Mapping[str, int] = {}


_PNG, _TIFF = Format("PNG", deep=True), Format("TIFF", deep=True)
_JPEG = Format(
    "JPEG",
    {"quality": 95, "subsampling": 0},
    alpha=False,
    longest_side=65500,
    # Segments have 64 KiB, their head included; a profile may take 255 of them.
    limits={"icc_profile": 255 * 65_519, "exif": 65_533, "xmp": 65_504},
)
_WEBP = Format(
    "WEBP",
    {"lossless": True, "exact": True},  # exact: colour under alpha 0
    gray=False,
    longest_side=16383,
)
_AVIF = Format("AVIF", {"quality": 90, "subsampling": "4:4:4"}, gray=False, longest_side=65535)
_BMP = Format("BMP", alpha=False, limits={"icc_profile": 0, "exif": 0, "xmp": 0})
_HAS_AVIF = installed("PIL._avif")  # which Pillow may be built without

WRITTEN: Mapping[str, Format] = {
    ".png": _PNG,
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jif"), _JPEG),
    **dict.fromkeys((".bmp", ".dib"), _BMP),
    ".webp": _WEBP,
    **dict.fromkeys((".tif", ".tiff"), _TIFF),
    **({".avif": _AVIF} if _HAS_AVIF else {}),
}
_READ_ONLY = """
.apng .gif .ico .jp2 .j2k .j2c .jpc .jpf .jpx .pbm .pcx .pgm .pnm .ppm .psd .qoi .tga
"""
# Suffixes of files that can be read (in lower case); the first ones can be written, too.
IMAGE_SUFFIXES = (*WRITTEN, *_READ_ONLY.split())

# Pillow's names of what is read. TGA has no mark that tells it from anything else: it is the last.
READ = (
    *("PNG", "JPEG", "BMP", "DIB", "WEBP", "TIFF", "GIF"),
    *("JPEG2000", "PPM", "PSD", "QOI", "PCX", "ICO"),
    *(("AVIF",) if _HAS_AVIF else ()),
    "TGA",
)

# What else users give, by the bytes at some place of the file, with what to do.
_SAVE = "save it as PNG, JPEG or TIFF"
_FRAMES = "take its pictures out (ffmpeg -i VIDEO frames/%05d.png)"
_NOT_READ = (
    (4, b"ftyphei", "HEIC", _SAVE),
    (4, b"ftyphev", "HEIC", _SAVE),
    (4, b"ftypmif1", "HEIF", _SAVE),
    (4, b"ftypmsf1", "HEIF", _SAVE),
    (4, b"ftypavi", "AVIF", _SAVE),
    (4, b"ftypcrx", "a camera's raw file", "develop it to TIFF or JPEG"),
    (4, b"ftyp", "a video", _FRAMES),  # MP4, QuickTime: what is none of the above
    (0, b"\x1a\x45\xdf\xa3", "a video", _FRAMES),  # Matroska, WebM
    (8, b"AVI LIST", "a video", _FRAMES),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file", "develop it to TIFF or JPEG"),
    (0, b"\xff\x0a", "JPEG XL", _SAVE),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL", _SAVE),
    (0, b"\x76\x2f\x31\x01", "OpenEXR", "save it as TIFF of 16 bits"),
    (0, b"#?RADIANCE", "Radiance HDR", "save it as TIFF of 16 bits"),
    (0, b"%PDF", "PDF", _SAVE),
    (0, b"<svg", "SVG", "draw it larger: it has no pixels"),
    (0, b"<?xml", "XML, perhaps SVG", _SAVE),
    (0, b"<!DOCTYPE html", "a web page", "download the picture itself"),
    (0, b"<html", "a web page", "download the picture itself"),
    (0, b"version https://git-lfs", "a pointer of Git LFS", "git lfs pull brings the file itself"),
)


def unidentified(data: bytes) -> str:
    """Returns why a file that no decoder knows is not read."""
    for start, mark, name, remedy in _NOT_READ:
        if data[start : start + len(mark)].lower() == mark.lower():
            return f"it is {name}, which is not read; {remedy}"
    known = ", ".join(READ[:-1])
    return f"not an image of a known format ({known} or {READ[-1]}), or its header is damaged"


def fitting(metadata: Metadata, suffix: str, channels: int) -> tuple[Metadata, list[str]]:
    """Leaves out what a format cannot hold, and says the same in another way where it can.

    Args:
      metadata: metadata of a picture.
      suffix: suffix of a format that is written (`WRITTEN`).
      channels: channels of the samples, 1 to 4.

    Returns:
      The metadata, and a phrase for all that is lost of them.
    """
    form, lost = WRITTEN[suffix], []
    stored = channels if form.gray else 3
    profile, chunks_kept = fitting_profile(metadata.icc_profile, stored), metadata.png_chunks
    if stored != channels and fitting_profile(metadata.icc_profile, channels):
        lost.append("a profile for gray, which is stored as RGB")
    if form is not _PNG:
        chunks = png_chunks.colour(chunks_kept)
        if chunks and (profile is None or b"cICP" in chunks):
            try:
                profile = profile_from_png(chunks, gray=stored < 3)
            except ValueError as error:
                lost += [] if profile else [str(error)]
        chunks_kept = ()
    exif, most = metadata.exif, form.limits.get("exif", 0)
    if exif and 0 < most < len(exif):
        shorter = without_maker_note(exif)
        if len(shorter) <= most:
            lost.append(f"the maker's note of EXIF of {len(exif)} bytes (at most {most})")
            exif = shorter
    fields: dict[str, bytes | None] = {
        "icc_profile": profile,
        "exif": exif,
        "xmp": metadata.xmp,
    }
    for field, name in (("icc_profile", "an ICC profile"), ("exif", "EXIF"), ("xmp", "XMP")):
        size, limit = len(fields[field] or b""), form.limits.get(field)
        if limit is not None and size > limit:
            fields[field] = None
            lost.append(f"{name} of {size} bytes" + (f" (at most {limit})" if limit else ""))
    return Metadata(**fields, dpi=metadata.dpi, png_chunks=chunks_kept), lost
