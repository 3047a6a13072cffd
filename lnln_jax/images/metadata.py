"""Metadata of a file that was read, as far as they are true of a larger picture, too."""

from collections.abc import Callable, Mapping
from typing import Any

from PIL import ExifTags, Image

from lnln_jax.images.photo import Metadata
from lnln_jax.images.profiles import fitting_profile
from lnln_jax.images.xmp import kept_xmp

_KEPT_EXIF = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
_STALE_EXIF = (  # about the pixels or the layout of the file that was read
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
)
_MOST_DPI = 65535  # as JPEG has it
_CM = 3  # unit of a resolution; 2, which is usual, is an inch


def kept_metadata(
    info: Mapping[str, Any],
    exif: Image.Exif,
    channels: int,
    tell: Callable[[str], object],
    png_chunks: tuple[tuple[bytes, bytes], ...] = (),
) -> Metadata:
    """Takes the metadata of a picture that has been turned upright.

    Args:
      info: "icc_profile" and "xmp", bytes, and "dpi" (across, down) of the file, as it is stored,
        where it has them.
      exif: EXIF, with the orientation that has been applied.
      channels: channels of the samples, 1 to 4.
      tell: function that is told what is damaged and left out.
      png_chunks: as in `Metadata`.
    """
    try:
        block = _kept_exif(exif)
    except Exception:  # a damaged block, of which Pillow notices when it takes it apart
        block = None
        tell("EXIF is damaged and left out")
    packet, xmp = info.get("xmp"), None
    if isinstance(packet, bytes):
        try:
            xmp = kept_xmp(packet)
        except ValueError as error:
            tell(f"{error} is left out")
    dpi = _density(info.get("dpi"))
    if dpi and exif.get(ExifTags.Base.Orientation, 1) >= 5:
        dpi = dpi[1], dpi[0]
    profile = fitting_profile(info.get("icc_profile"), channels)
    return Metadata(profile, block, xmp, dpi, png_chunks)


def resolution(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """Returns the pixels per inch, across and down, that tags of EXIF or TIFF tell."""
    unit = tags.get(ExifTags.Base.ResolutionUnit, 2)
    if unit not in (2, _CM):
        return None
    across = tags.get(ExifTags.Base.XResolution)
    found = _density((across, tags.get(ExifTags.Base.YResolution, across)))
    return found and (found if unit == 2 else (found[0] * 2.54, found[1] * 2.54))


def without_maker_note(block: bytes) -> bytes:
    """Returns an EXIF block without what only the camera's maker understands, and is long."""
    exif = Image.Exif()
    exif.load(block)
    exif.get_ifd(ExifTags.IFD.Exif).pop(ExifTags.Base.MakerNote, None)
    return exif.tobytes()


def set_resolution(exif: Image.Exif, dpi: tuple[float, float]) -> None:
    """Writes pixels per inch into EXIF or TIFF tags."""
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = dpi
    exif[ExifTags.Base.ResolutionUnit] = 2


def _density(dpi: Any) -> tuple[float, float] | None:
    try:
        across, down = (round(float(value), 3) for value in dpi)
    except (TypeError, ValueError, ArithmeticError):
        return None
    plausible = 1 <= across <= _MOST_DPI and 1 <= down <= _MOST_DPI
    return (across, down) if plausible else None


def _kept_exif(exif: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    kept.endian = exif.endian
    for tag in _KEPT_EXIF:
        if tag in exif:
            kept[tag] = exif[tag]
    for group in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = exif.get_ifd(group)
        entries = {tag: value for tag, value in entries.items() if tag not in _STALE_EXIF}
        if entries:
            kept[group] = entries
    if not kept:
        return None
    kept[ExifTags.Base.Orientation] = 1
    return kept.tobytes()
