"""Image formats from bytes: those of Pillow, and 16 bits, which it lacks.

`decode` takes no path and knows no policy; `lnln_jax.images.files` is the way in. Pillow cuts
colours of 16 bits to 8, so `imagecodecs` (libpng, libtiff) handles those.
"""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lnln_jax.images.arrays import inverse_dihedral
from lnln_jax.runtime.extras import require

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")
# Pillow's mode to the mode read: without transparency, with it.
_MODES = {
    "1": ("L", "LA"),
    "L": ("L", "LA"),
    "LA": ("LA", "LA"),
    "P": ("RGB", "RGBA"),
    "PA": ("RGBA", "RGBA"),
    "RGB": ("RGB", "RGBA"),
    "RGBX": ("RGB", "RGB"),
    "RGBA": ("RGBA", "RGBA"),
    "YCbCr": ("RGB", "RGB"),
}
# EXIF orientation to the index of `inverse_dihedral` that turns the pixels upright.
_UPRIGHT = {1: 0, 2: 1, 3: 3, 4: 2, 5: 4, 6: 5, 7: 7, 8: 6}
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
_BAND_PIXELS = 1 << 22
_pillow_settings = threading.Lock()


class Photo(NamedTuple):
    """A picture as its file stores it, but upright.

    Attributes:
      samples: samples `H W C`, uint8 or uint16, perhaps read-only; C is 1 for gray, 2 for gray and
        alpha, 3 for RGB, 4 for RGB and alpha. Alpha is not premultiplied.
      icc_profile: profile of the colour space of the samples; None means sRGB, or unknown.
      exif: EXIF block from the bytes "Exif" on, without orientation, sizes and thumbnail; or None.
    """

    samples: np.ndarray
    icc_profile: bytes | None = None
    exif: bytes | None = None

    @property
    def gray(self) -> bool:
        """Whether there is one colour channel."""
        return self.samples.shape[2] < 3

    @property
    def colours(self) -> np.ndarray:
        """Samples without alpha, `H W 1` or `H W 3`; a view."""
        return self.samples[..., : 1 if self.gray else 3]

    @property
    def alpha(self) -> np.ndarray | None:
        """Alpha, `H W 1`, a view; None for an opaque picture."""
        return None if self.samples.shape[2] % 2 else self.samples[..., -1:]


def decode(data: bytes, max_pixels: int | None = None) -> Photo:
    """Decodes a still image and turns it upright.

    A palette becomes RGB(A), black and white becomes gray, CMYK becomes RGB (through its profile
    if there is one). A profile for other than gray or RGB samples, as they are now, is dropped.
    Of EXIF the camera, author and place stay; orientation, sizes and thumbnail are dropped.

    Args:
      data: bytes of the whole file.
      max_pixels: most pixels; larger images are refused before they take memory, as decompression
        bombs may be. `PIL.Image.MAX_IMAGE_PIXELS` counts where it is larger, or this is None.

    Raises:
      ValueError: there is no image, more than one, a damaged one or one that is not supported;
        the message gives the reason.
    """
    try:
        return _decode_16_bit_tiff(data, max_pixels) or _decode_with_pillow(data, max_pixels)
    except UnidentifiedImageError as error:
        raise ValueError(
            "not a PNG, JPEG, BMP, WebP or TIFF image, or its header is damaged"
        ) from error
    except (MemoryError, ImportError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(error).partition(',')[0]}; make it smaller or cut it") from error
    except Exception as error:  # damaged files make decoders raise almost anything
        raise ValueError(str(error) or type(error).__name__) from error


def _decode_with_pillow(data: bytes, max_pixels: int | None) -> Photo:
    with _guarded(max_pixels) as usual:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG with further views of the scene
        raise ValueError(f"it is animated or has pages ({frames}); give a single still image")
    large = usual is not None and image.width * image.height > usual
    with _guarded(max_pixels) if large else contextlib.nullcontext():  # TIFF: checked once more
        image.load()
    icc_profile = image.info.get("icc_profile")
    if image.format == "PNG" and data[24] == 16:  # the bit depth in the IHDR chunk
        require("imagecodecs", "16bit", "an image of 16 bits per channel")
        import imagecodecs

        samples = imagecodecs.png_decode(data)
    elif image.mode == "CMYK":
        samples = _samples(_cmyk_to_rgb(image, icc_profile))
    elif image.mode in _MODES:
        mode = _MODES[image.mode][image.has_transparency_data]
        samples = _samples(image if image.mode == mode else image.convert(mode))
    else:
        raise ValueError(f"pixels of type {image.mode}; convert it to 8 or 16 bits per channel")
    try:
        exif = image.getexif()  # of a TIFF: without the orientation, which load() has applied
    except Exception:  # damaged EXIF data make Pillow raise almost anything
        exif = Image.Exif()  # the picture does not depend on it
    return _upright(samples, icc_profile, exif)


@contextlib.contextmanager
def _guarded(max_pixels: int | None) -> Iterator[int | None]:
    """Has Pillow refuse images with more pixels; yields its usual limit.

    The lock: limit and warning filters belong to the process, and several threads read images.
    """
    with _pillow_settings, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        usual = Image.MAX_IMAGE_PIXELS
        if usual is not None:
            Image.MAX_IMAGE_PIXELS = max(usual, max_pixels or 0)
        try:
            yield usual
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _samples(image: Image.Image) -> np.ndarray:
    """Does what `np.asarray` does, in bands, where that would hold a large picture three times."""
    rows = _BAND_PIXELS // image.width
    if image.height <= rows:
        return np.asarray(image)
    first = np.asarray(image.crop((0, 0, image.width, 1)))
    samples = np.empty((image.height, *first.shape[1:]), first.dtype)
    for top in range(0, image.height, max(rows, 1)):
        stop = min(top + max(rows, 1), image.height)
        samples[top:stop] = np.asarray(image.crop((0, top, image.width, stop)))
    return samples


def _decode_16_bit_tiff(data: bytes, max_pixels: int | None) -> Photo | None:
    """Decodes gray and RGB TIFFs of 16 unsigned bits; None for any other file."""
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0"):
        return None
    is_big = data[2:3] == b"+"  # BigTIFF, of which Pillow knows the little-endian kind
    tags = ImageFileDirectory_v2(data[: 16 if is_big else 8])
    file = io.BytesIO(data)
    start = tags.next
    file.seek(start)
    tags.load(file)
    photometric = tags.get(ExifTags.Base.PhotometricInterpretation)
    bits = set(tags.get(ExifTags.Base.BitsPerSample, (1,)))
    formats = set(tags.get(ExifTags.Base.SampleFormat, (1,)))
    if bits != {16} or formats != {1} or photometric not in (0, 1, 2):
        return None
    if tags.next:
        raise ValueError("it has several pages; give a single image")
    height, width = tags[ExifTags.Base.ImageLength], tags[ExifTags.Base.ImageWidth]
    with _guarded(max_pixels):
        limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise ValueError(
            f"image size ({height * width} pixels) exceeds limit of {limit} pixels; "
            "make it smaller or cut it"
        )

    require("imagecodecs", "16bit", "an image of 16 bits per channel")
    import imagecodecs

    samples = imagecodecs.tiff_decode(data)
    if tags.get(ExifTags.Base.PlanarConfiguration) == 2 and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, -1)
    samples = samples.reshape(height, width, -1)
    colours = 3 if photometric == 2 else 1
    if samples.shape[2] not in (colours, colours + 1):
        raise ValueError(f"{samples.shape[2]} channels; reduce it to colour and alpha")
    if photometric == 0:  # white is zero
        samples[..., 0] = 65535 - samples[..., 0]
    meaning = tags.get(ExifTags.Base.ExtraSamples, (2,))[0]
    if meaning == 0:  # something else than alpha
        samples = samples[..., :colours]
    elif meaning == 1 and samples.shape[2] > colours:  # premultiplied by alpha
        alpha = np.maximum(samples[..., -1:].astype(np.float64), 1)
        straight = np.floor(samples[..., :-1] * 65535.0 / alpha + 0.5).clip(0, 65535)
        samples[..., :-1] = straight
    exif = Image.Exif()
    exif.bigtiff, exif.endian = is_big, "<" if data[:2] == b"II" else ">"
    exif.load_from_fp(file, start)
    return _upright(samples, tags.get(ExifTags.Base.InterColorProfile), exif)


def _cmyk_to_rgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    if icc_profile:
        srgb = ImageCms.createProfile("sRGB")
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            assert converted is not None  # it is None only for a conversion in place
            return converted
        except (OSError, ImageCms.PyCMSError):
            pass  # a damaged profile, or one for another colour space, counts as none
    return image.convert("RGB")


def _upright(samples: np.ndarray, icc_profile: bytes | None, exif: Image.Exif) -> Photo:
    """Gives the samples a channel axis, turns them and drops the metadata that is now wrong."""
    if samples.ndim == 2:
        samples = samples[..., None]
    samples = inverse_dihedral(samples, _UPRIGHT.get(exif.get(ExifTags.Base.Orientation, 1), 0))
    try:
        kept = _kept_exif(exif)
    except Exception:  # a damaged block, of which Pillow notices when it takes it apart
        kept = None
    return Photo(samples, fitting_profile(icc_profile, samples.shape[2]), kept)


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


def fitting_profile(icc_profile: bytes | None, channels: int) -> bytes | None:
    """Returns the profile if it is one for gray (1 or 2 channels) or RGB (3 or 4)."""
    space = b"GRAY" if channels < 3 else b"RGB "
    return icc_profile if icc_profile and icc_profile[16:20] == space else None
