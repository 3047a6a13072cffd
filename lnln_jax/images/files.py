"""Image files in and out: PNG, JPEG, BMP, WebP and TIFF.

There are two ways in. `read_rgb` is for training and evaluation: every file becomes uint8 `H W 3`.
`read_photo` keeps what a larger version of the same picture needs (`write_photo`, `write_bands`):
alpha, gray, 16 bits, colour profile and EXIF. In both, the EXIF orientation has been applied.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lnln_jax.images.decode import Photo, decode
from lnln_jax.images.encode import Header, encode
from lnln_jax.runtime.files import replacing

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

# Of a photo to be upscaled: 23,170 a side, some 4 GB while it is read. Training and evaluation
# keep Pillow's limit, 89 million.
MAX_PHOTO_PIXELS = 1 << 29

_16_BIT_SUFFIXES = (".png", ".tif", ".tiff")
_NO_ALPHA_SUFFIXES = (".jpg", ".jpeg", ".bmp")
_LONGEST_SIDE = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}


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
    return to_rgb(_read(Path(path)))


def decode_rgb(data: bytes, name: str) -> np.ndarray:
    """Decodes the bytes of an image file as `read_rgb` does; `name` is for its errors."""
    return to_rgb(_decode(data, name))


def read_photo(path: Path) -> Photo:
    """Reads a picture with its alpha, bit depth, colour profile and EXIF; see `Photo`.

    A palette becomes RGB(A), black and white becomes gray. CMYK becomes sRGB through its profile,
    which then no longer applies and is dropped.

    Raises:
      ImageFileError: as for `read_rgb`, but up to `MAX_PHOTO_PIXELS` are allowed, too.
    """
    return _read(Path(path), MAX_PHOTO_PIXELS)


def check_writable(path: Path, height: int, width: int, *, alpha: bool) -> None:
    """Checks, before any work is done, that the format named by the suffix can hold a picture.

    Raises:
      ImageFileError: the suffix is none of `IMAGE_SUFFIXES`, or the format has no alpha or cannot
        be that large.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ImageFileError(
            f"{path}: cannot write the format {suffix!r}; choose {', '.join(IMAGE_SUFFIXES)}"
        )
    if alpha and suffix in _NO_ALPHA_SUFFIXES:
        raise ImageFileError(
            f"{path}: {suffix} files cannot hold transparency; choose .png, .webp or .tif"
        )
    limit = _LONGEST_SIDE.get(suffix)
    if limit is not None and max(height, width) > limit:
        raise ImageFileError(
            f"{path}: {suffix} files hold at most {limit} pixels a side, not {width}x{height}; "
            "choose .png or .tif"
        )


def write_photo(photo: Photo, path: Path) -> None:
    """Writes a picture in the format of the suffix; see `write_bands`."""
    header = Header(photo.samples.shape, photo.samples.dtype, photo.icc_profile, photo.exif)
    write_bands([photo.samples], header, path)


def write_bands(bands: Iterable[np.ndarray], header: Header, path: Path) -> None:
    """Writes a picture from top to bottom in the format of the suffix.

    An older file of that name is replaced. The file appears whole or not at all, also when the
    iterable fails: it is written beside its place and then renamed. PNG and TIFF keep 16 bits and
    hold no more than a band in memory, the others get 8 bits and hold the picture. PNG, TIFF and
    WebP are lossless (WebP has no gray and stores RGB), JPEG has quality 95 and full colour
    resolution. All keep the colour profile and EXIF except BMP, which holds pixels only.

    Args:
      bands: bands `h W C` of any heights, one below the other.
      header: form of the picture; its height is the sum of theirs.
      path: file to write; its suffix is one of `IMAGE_SUFFIXES`.

    Raises:
      ValueError: the samples are of other than 1 to 4 channels of 8 or 16 unsigned bits.
      ImageFileError: the format cannot hold the picture (see `check_writable`), or writing failed
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
    height, width, channels = header.shape
    check_writable(path, height, width, alpha=channels % 2 == 0)
    suffix = path.suffix.lower()
    if header.dtype == np.uint16 and suffix not in _16_BIT_SUFFIXES:
        header = header._replace(dtype=np.dtype(np.uint8))
        bands = map(_eight_bits, bands)
    try:
        with replacing(path) as file:
            encode(file, bands, header, suffix)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{path}: cannot be written: {reason}") from error


def _read(path: Path, max_pixels: int | None = None) -> Photo:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return _decode(data, str(path), max_pixels)


def _decode(data: bytes, name: str, max_pixels: int | None = None) -> Photo:
    try:
        if not data:
            raise ValueError("the file is empty (zero bytes)")
        return decode(data, max_pixels)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{name}: cannot be read: {reason}") from error


def to_rgb(photo: Photo) -> np.ndarray:
    """Returns the colours of a picture as `read_rgb` does: uint8 `H W 3`, contiguous, writable."""
    colours = _eight_bits(photo.colours)
    return np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)), order="C")


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
