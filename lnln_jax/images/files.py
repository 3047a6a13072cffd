"""Image files in and out; `formats` lists what is read and what is written.

There are two ways in. `read_rgb` is for training and evaluation: every file becomes uint8 `H W 3`.
`read_photo` keeps what a larger version of the same picture needs (`write_photo`, `write_bands`):
alpha, gray, 16 bits and metadata. In both, the EXIF orientation has been applied. What is wrong
with a file that can be read all the same, or is lost on writing, is logged as a warning.
"""

import functools
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lnln_jax.images.decode import decode
from lnln_jax.images.encode import encode
from lnln_jax.images.formats import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from lnln_jax.images.formats import WRITTEN, fitting
from lnln_jax.images.photo import Header, Metadata, Photo
from lnln_jax.images.transparency import is_opaque
from lnln_jax.runtime.files import printable, replacing

# Of a photo to be upscaled: 23,170 a side, some 4 GB while it is read. Training and evaluation
# keep Pillow's limit, 89 million.
MAX_PHOTO_PIXELS = 1 << 29
MAX_RESULT_PIXELS = 16 * MAX_PHOTO_PIXELS  # of the largest photo at x4

_logger = logging.getLogger(__name__)


class ImageFileError(ValueError):
    """A file that cannot be read or written; the message gives the file and the reason."""


def read_rgb(path: Path) -> np.ndarray:
    """Reads any image as RGB, for training and evaluation.

    Gray is replicated, palettes are expanded, CMYK is converted (through its colour profile if
    there is one), alpha is dropped, 16 bits are rounded to 8 and the EXIF orientation is applied.

    Returns:
      uint8 `H W 3`, contiguous and writable.

    Raises:
      ImageFileError: the file is missing, empty, truncated or damaged, is not an image of a
        known format, is animated, has other than 8 or 16 bits per channel, or has more pixels than
        `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    return to_rgb(_read(Path(path), metadata=False))


def decode_photo(data: bytes, name: str) -> Photo:
    """Decodes the bytes of an image file as `read_rgb` does, into a `Photo` without metadata.

    Args:
      data: bytes of the file.
      name: name of the file, for errors.
    """
    return _decode(data, name, metadata=False)


def read_photo(path: Path, *, metadata: bool = True) -> Photo:
    """Reads a picture with its alpha, bit depth and, unless they are not wanted, metadata.

    A palette becomes RGB(A), black and white becomes gray. CMYK becomes sRGB through its profile,
    which then no longer applies and is dropped.

    Raises:
      ImageFileError: as for `read_rgb`, but up to `MAX_PHOTO_PIXELS` are allowed, too.
    """
    return _read(Path(path), MAX_PHOTO_PIXELS, metadata=metadata)


def fit(photo: Photo, path: Path, *, scale: int = 1) -> Photo:
    """Checks, before any work is done, that a file can hold a picture, and makes it fit.

    Args:
      photo: picture.
      path: file that it, or a larger version of it, will be written to.
      scale: factor by which that is larger.

    Returns:
      The picture without an alpha that is opaque and that the format cannot hold, and without
      metadata that it cannot hold, which one warning lists.

    Raises:
      ImageFileError: the format named by the suffix is not written, cannot hold transparency or
        cannot be that large.
    """
    height, width = (side * scale for side in photo.samples.shape[:2])
    if height * width > MAX_RESULT_PIXELS:
        raise ImageFileError(
            f"{printable(path)}: {width}x{height} pixels are more than {MAX_RESULT_PIXELS}; choose "
            "a smaller scale, or cut the picture"
        )
    form = WRITTEN.get(path.suffix.lower())
    if form and not form.alpha and photo.alpha is not None and is_opaque(photo.alpha):
        photo = photo._replace(samples=photo.colours)
    channels = photo.samples.shape[2]
    _check_writable(path, (height, width, channels))
    if photo.samples.dtype == np.uint16 and form and not form.deep:
        suffix = path.suffix.lower()
        _warn(printable(path), f"8 bits per channel are kept of 16, as {suffix} files have them")
    return photo._replace(metadata=_fitting(photo.metadata, path, channels))


def _fitting(metadata: Metadata, path: Path, channels: int) -> Metadata:
    suffix = path.suffix.lower()
    metadata, lost = fitting(metadata, suffix, channels)
    if lost:
        _warn(printable(path), f"left out, since {suffix} files cannot hold it: {', '.join(lost)}")
    return metadata


def _check_writable(path: Path, shape: tuple[int, int, int]) -> None:
    height, width, channels = shape
    suffix, shown = path.suffix.lower(), printable(path)
    if suffix not in WRITTEN:
        raise ImageFileError(
            f"{shown}: cannot write the format {suffix!r}; choose {', '.join(WRITTEN)}"
        )
    form = WRITTEN[suffix]
    if not form.alpha and channels % 2 == 0:
        raise ImageFileError(
            f"{shown}: {suffix} files cannot hold transparency; choose .png, .webp or .tif"
        )
    if form.longest_side is not None and max(height, width) > form.longest_side:
        raise ImageFileError(
            f"{shown}: {suffix} files hold at most {form.longest_side} pixels a side, not "
            f"{width}x{height}; choose .png or .tif"
        )


def write_photo(photo: Photo, path: Path) -> None:
    """Writes a picture in the format of the suffix; see `fit` and `write_bands`."""
    photo = fit(photo, Path(path))
    header = Header(photo.samples.shape, photo.samples.dtype, photo.metadata)
    write_bands([photo.samples], header, path)


def write_bands(bands: Iterable[np.ndarray], header: Header, path: Path) -> None:
    """Writes a picture from top to bottom in the format of the suffix.

    An older file of that name is replaced. The file appears whole or not at all, also when the
    iterable fails: it is written beside its place and then renamed. PNG and TIFF keep 16 bits and
    hold no more than a band in memory, the others get 8 bits and hold the picture. PNG, TIFF, BMP
    and WebP are lossless, JPEG has quality 95 and AVIF 90, both at full colour resolution. WebP and
    AVIF store gray as RGB. Metadata that the format cannot hold are left out, with a warning.

    Args:
      bands: bands `h W C` of any heights, one below the other.
      header: form of the picture; its height is the sum of theirs.
      path: file to write; its suffix is one of `formats.WRITTEN`.

    Raises:
      ValueError: the samples are of other than 1 to 4 channels of 8 or 16 unsigned bits.
      ImageFileError: the format cannot hold the picture (see `fit`), or writing failed
        (no such folder, no permission, disk full, ...).
    """
    path = Path(path)
    if header.dtype not in (np.uint8, np.uint16) or header.shape[2:] not in (
        (1,),
        (2,),
        (3,),
        (4,),
    ):
        raise ValueError(
            f"samples must be uint8 or uint16 of shape (H, W, 1 to 4), got {header.dtype} "
            f"{header.shape}"
        )
    _check_writable(path, header.shape)
    header = header._replace(metadata=_fitting(header.metadata, path, header.shape[2]))
    suffix = path.suffix.lower()
    if header.dtype == np.uint16 and not WRITTEN[suffix].deep:
        header = header._replace(dtype=np.dtype(np.uint8))
        bands = map(_eight_bits, bands)
    try:
        with replacing(path) as file:
            encode(file, bands, header, suffix)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{printable(path)}: cannot be written: {reason}") from error


def _read(path: Path, max_pixels: int | None = None, *, metadata: bool = True) -> Photo:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise ImageFileError(f"{printable(path)}: cannot be read: {reason}") from error
    return _decode(data, str(path), max_pixels, metadata=metadata)


def _decode(
    data: bytes, name: str, max_pixels: int | None = None, *, metadata: bool = True
) -> Photo:
    shown = printable(name)
    try:
        if not data:
            raise ValueError("the file is empty (zero bytes)")
        return decode(data, max_pixels, functools.partial(_warn, shown), metadata=metadata)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{shown}: cannot be read: {reason}") from error


@functools.lru_cache(4096)
def _warn(name: str, text: str) -> None:
    """Logs a warning once for each file and text, however often the file is read."""
    _logger.warning("%s: %s", name, text)


def to_rgb(photo: Photo) -> np.ndarray:
    """Returns the colours of a picture as `read_rgb` does: uint8 `H W 3`, contiguous, writable."""
    colours = _eight_bits(photo.colours)
    return np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)), order="C")


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
