"""Image files in and out: PNG, JPEG, BMP, WebP and TIFF.

Two ways in. `read_rgb` is for training and evaluation: every file becomes uint8 `H W 3`.
`read_photo` keeps what `write_photo` needs to save a larger version of the same picture: alpha,
gray, 16 bits, colour profile and EXIF. In both, the EXIF orientation has been applied.
"""

import dataclasses
import os
from pathlib import Path

import numpy as np

from lnln_jax.files import write_file
from lnln_jax.image import to_uint8
from lnln_jax.image_codecs import Picture, decode, encode

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

_16_BIT_SUFFIXES = (".png", ".tif", ".tiff")
_NO_ALPHA_SUFFIXES = (".jpg", ".jpeg", ".bmp")
_LONGEST_SIDE = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}


class ImageFileError(ValueError):
    """A file that cannot be read or written; the message gives the file and the reason."""


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """A picture as networks take it, with what its file said beyond the colours.

    Attributes:
      pixels: `H W 3`, float32 in 0..255, upright. The channels of a gray picture are equal.
      alpha: `H W`, float32 in 0..255, not premultiplied; None for an opaque picture.
      gray: whether the file stores one colour channel.
      bit_depth: bits per channel, 8 or 16; 16-bit values v are held as v / 257.
      icc_profile: of the colour space of `pixels`; None means sRGB, or unknown.
      exif: EXIF block, from the bytes "Exif" on, without orientation, sizes and thumbnail.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    bit_depth: int = 8
    icc_profile: bytes | None = None
    exif: bytes | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.float32:
            raise ValueError(f"pixels must be float32 of shape (H, W, 3), got {dtype} {shape}")
        alpha = self.alpha
        if alpha is not None and (alpha.shape != shape[:2] or alpha.dtype != np.float32):
            raise ValueError(
                f"alpha must be float32 of shape {shape[:2]}, got {alpha.dtype} {alpha.shape}"
            )
        if self.bit_depth not in (8, 16):
            raise ValueError(f"bit_depth must be 8 or 16, got {self.bit_depth}")


def find_images(root: Path) -> list[Path]:
    """Lists the image files in a folder and its sub-folders, sorted by path.

    Files are known by their suffix (`IMAGE_SUFFIXES`, in any case). Names that begin with a dot
    are left out, and links to folders are not followed.

    Raises:
      ImageFileError: `root` is not a folder, or a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise ImageFileError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    found = []
    for folder, subfolders, names in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths = (Path(folder, name) for name in names if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(found)


def read_rgb(path: Path) -> np.ndarray:
    """Reads any image as RGB, for training and evaluation.

    Gray is replicated, palettes are expanded, CMYK is converted (through its colour profile if
    there is one), alpha is dropped, 16 bits are rounded to 8 and the EXIF orientation is applied.

    Returns:
      uint8 `H W 3`, contiguous and writable.

    Raises:
      ImageFileError: the file is missing, empty, truncated or damaged, is no image of a known
        format, is animated, has other than 8 or 16 bits per channel, or has more pixels than
        `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    return _rgb(_read(Path(path)))


def decode_rgb(data: bytes, name: str) -> np.ndarray:
    """Decodes the bytes of an image file as `read_rgb` does; `name` is for its errors."""
    return _rgb(_decode(data, name))


def read_photo(path: Path) -> Photo:
    """Reads a picture with its alpha, bit depth, colour profile and EXIF; see `Photo`.

    A palette becomes RGB(A), black and white becomes gray. CMYK becomes sRGB through its profile,
    which then no longer applies and is dropped.

    Raises:
      ImageFileError: as for `read_rgb`.
    """
    picture = _read(Path(path))
    deep = picture.samples.dtype == np.uint16
    samples = picture.samples.astype(np.float32) / np.float32(257 if deep else 1)
    channels = samples.shape[2]
    return Photo(
        pixels=_three_channels(samples),
        alpha=np.array(samples[..., -1], order="C") if channels % 2 == 0 else None,
        gray=channels < 3,
        bit_depth=16 if deep else 8,
        icc_profile=picture.icc_profile,
        exif=picture.exif,
    )


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
    """Writes a picture in the format of the suffix; an older file of that name is replaced.

    The file appears whole or not at all: it is written beside its place and then renamed. Values
    are clipped and rounded. PNG and TIFF keep 16 bits, the others get 8. PNG, TIFF and WebP are
    lossless (WebP has no gray and stores RGB), JPEG has quality 95 and full colour resolution.
    All keep the colour profile and EXIF except BMP, which holds pixels only.

    Raises:
      ImageFileError: the format cannot hold the picture (see `check_writable`), or writing failed
        (no such folder, no permission, disk full, ...).
    """
    path = Path(path)
    check_writable(path, *photo.pixels.shape[:2], alpha=photo.alpha is not None)
    suffix = path.suffix.lower()
    samples = photo.pixels[..., :1] if photo.gray else photo.pixels
    if photo.alpha is not None:
        samples = np.concatenate([samples, photo.alpha[..., None]], axis=2)
    if photo.bit_depth == 16 and suffix in _16_BIT_SUFFIXES:
        samples = (samples * np.float32(257)).round().clip(0, 65535).astype(np.uint16)
    else:
        samples = to_uint8(samples)
    try:
        write_file(path, encode(Picture(samples, photo.icc_profile, photo.exif), suffix))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{path}: cannot be written: {reason}") from error


def _read(path: Path) -> Picture:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return _decode(data, str(path))


def _decode(data: bytes, name: str) -> Picture:
    try:
        if not data:
            raise ValueError("the file is empty (zero bytes)")
        return decode(data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageFileError(f"{name}: cannot be read: {reason}") from error


def _rgb(picture: Picture) -> np.ndarray:
    """The colours, uint8 `H W 3`."""
    samples = picture.samples
    if samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return _three_channels(samples)


def _three_channels(samples: np.ndarray) -> np.ndarray:
    """Copies the colours of `H W 1..4` samples to `H W 3`."""
    colours = samples[..., :1] if samples.shape[2] < 3 else samples[..., :3]
    return np.array(np.broadcast_to(colours, (*samples.shape[:2], 3)), order="C")
