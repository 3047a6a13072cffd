"""Image formats from bytes: those of Pillow, and 16 bits, which it lacks.

`decode` takes no path and knows no policy; `lnln_jax.images.files` is the way in. Pillow cuts
colours of 16 bits to 8, so `imagecodecs` (libpng, libtiff) handles those.
"""

import contextlib
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from lnln_jax.images import png_chunks
from lnln_jax.images.arrays import inverse_dihedral
from lnln_jax.images.formats import READ, unidentified
from lnln_jax.images.library import guarded
from lnln_jax.images.metadata import kept_metadata, resolution
from lnln_jax.images.photo import Photo
from lnln_jax.images.tiff_pages import TIFF_MARKS, Page, picture_page
from lnln_jax.runtime.extras import require

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
_NUMBERS = {"F": "floating point", "I": "signed or of 32 bits"}
# EXIF orientation to the index of `inverse_dihedral` that turns the pixels upright.
_UPRIGHT = {1: 0, 2: 1, 3: 3, 4: 2, 5: 4, 6: 5, 7: 7, 8: 6}
# Width, height and the largest value of a binary PGM or PPM file, perhaps with comments.
_PNM = re.compile(rb"P[56]" + 3 * rb"(?:\s|#[^\n]*\n)+(\d+)" + rb"\s")
_BAND_PIXELS = 1 << 22
# Files of these have further images, of which Pillow shows the first one or all together.
_ONE_OF_SEVERAL = ("MPO", "PSD", "TIFF")

Tell = Callable[[str], object]


class _Decoded(NamedTuple):
    """Samples as they are stored, and what `kept_metadata` takes."""

    samples: np.ndarray
    info: dict[str, Any]
    exif: Image.Exif
    chunks: tuple[tuple[bytes, bytes], ...] = ()


def decode(data: bytes, max_pixels: int | None, tell: Tell, *, metadata: bool) -> Photo:
    """Decodes a still image and turns it upright.

    A palette becomes RGB(A), black and white becomes gray, CMYK becomes RGB (through its profile
    if there is one). A profile for other than gray or RGB samples, as they are now, is dropped.
    Of a TIFF file with thumbnails the picture is read.

    Args:
      data: bytes of the whole file.
      max_pixels: most pixels; larger images are refused before they take memory, as decompression
        bombs may be. `PIL.Image.MAX_IMAGE_PIXELS` counts where it is larger, or this is None.
      tell: function that gets what is wrong with a file that can be read all the same.
      metadata: whether metadata are wanted, too; taking XMP apart takes milliseconds.

    Raises:
      ValueError: there is no image, more than one, a damaged one or one that is not supported;
        the message gives the reason.
    """
    page = None
    try:
        if data.startswith(TIFF_MARKS):
            with guarded(max_pixels, tell):  # for what it says of odd tags
                page = picture_page(data)
        if page is not None and page.is_16_bit:
            decoded = _decode_16_bit_tiff(page, max_pixels, tell)
        else:
            decoded = _decode_with_pillow(data, page, max_pixels, tell)
        samples = _upright(decoded)
        if not metadata:
            return Photo(samples)
        with guarded(max_pixels, tell):  # it warns of damaged tags when it takes EXIF apart
            _, info, exif, chunks = decoded
            return Photo(samples, kept_metadata(info, exif, samples.shape[2], tell, chunks))
    except UnidentifiedImageError as error:
        if page is not None:
            raise ValueError(
                f"a TIFF file of {page.kind} is not read; save it as gray or RGB of 8 or 16 bits"
            ) from error
        raise ValueError(unidentified(data)) from error
    except (MemoryError, ImportError):
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{str(error).partition(',')[0]}; make it smaller or cut it") from error
    except Exception as error:  # damaged files make decoders raise almost anything
        reason = str(error) or type(error).__name__
        if reason.startswith("decoder error"):  # with a number
            reason = f"its data are damaged ({reason})"
        raise ValueError(reason) from error


def _decode_with_pillow(
    data: bytes, page: Page | None, max_pixels: int | None, tell: Tell
) -> _Decoded:
    is_png = data.startswith(png_chunks.SIGNATURE)
    texts = png_chunks.without_large_texts(data, tell) if is_png else png_chunks.Texts(data)
    with guarded(max_pixels, tell) as usual:
        image = Image.open(io.BytesIO(texts.data), formats=READ)
        frames = 1 if image.format in _ONE_OF_SEVERAL else getattr(image, "n_frames", 1)
        if frames > 1:
            raise ValueError(f"it is animated or has pages ({frames}); give a single still image")
        if page is not None and page.index:
            image.seek(page.index)
    if image.format == "PPM" and (deep := _PNM.match(data)) and int(deep[3]) > 255:
        return _Decoded(_decode_16_bit_pnm(data, deep), {}, Image.Exif())
    large = usual is not None and image.width * image.height > usual
    with guarded(max_pixels, tell) if large else contextlib.nullcontext():  # TIFF: checked again
        image.load()
    with guarded(max_pixels, tell):  # for what it says of damaged EXIF
        try:
            exif = image.getexif()  # of a TIFF: without the orientation, which load() has applied
        except Exception:  # damaged EXIF data make Pillow raise almost anything
            exif = Image.Exif()  # the picture does not depend on it
            tell("EXIF is damaged and left out")
        info = _info(image, exif)
    if page is not None:
        info["dpi"] = resolution(page.tags)  # Pillow has 1 where there is none
    info |= {name: value for name, value in texts._asdict().items() if value and name in info}
    if is_png and data[24] == 16:  # the bit depth in the IHDR chunk
        require("imagecodecs", "16bit", "an image of 16 bits per channel")
        import imagecodecs

        samples = imagecodecs.png_decode(texts.data)
    else:
        has_palette = image.mode in ("P", "PA")
        with guarded(max_pixels, tell) if has_palette else contextlib.nullcontext():  # it may warn
            converted = _in_mode_read(image, info["icc_profile"])
        samples = _samples(converted)
    chunks = png_chunks.kept_chunks(texts.data) if is_png else ()
    return _Decoded(samples, info, exif, chunks)


def _info(image: Image.Image, exif: Image.Exif) -> dict[str, Any]:
    """Returns what `kept_metadata` takes."""
    info = {name: image.info.get(name) for name in ("icc_profile", "xmp", "dpi")}
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") not in (1, 2):
        info["dpi"] = None  # Pillow makes 72 of what EXIF does not say
    info["dpi"] = info["dpi"] or resolution(exif)
    return info


def _in_mode_read(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Converts an image to gray or RGB, with alpha or without, where it is not."""
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image, icc_profile)
    if image.mode.startswith("I;16") and image.format == "JPEG2000":  # others have fewer bits
        return image
    if image.mode not in _MODES:
        kind = f"{image.mode} ({_NUMBERS[image.mode]})" if image.mode in _NUMBERS else image.mode
        raise ValueError(
            f"pixels of type {kind}; convert it to RGB or gray of 8 or 16 bits per channel"
        )
    mode = _MODES[image.mode][image.has_transparency_data]
    return image if image.mode == mode else image.convert(mode)


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


def _decode_16_bit_tiff(page: Page, max_pixels: int | None, tell: Tell) -> _Decoded:
    height, width = page.size
    with guarded(max_pixels, tell):
        limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise ValueError(
            f"image size ({height * width} pixels) exceeds limit of {limit} pixels; "
            "make it smaller or cut it"
        )
    samples = page.samples_of_16_bits()
    with guarded(max_pixels, tell):
        exif = page.exif()
    return _Decoded(samples, page.info(), exif)


def _decode_16_bit_pnm(data: bytes, header: re.Match[bytes]) -> np.ndarray:
    width, height, most = map(int, header.groups())
    channels = 3 if data[1:2] == b"6" else 1
    count = height * width * channels
    if len(data) < header.end() + 2 * count:
        raise ValueError("image file is truncated")
    samples = np.frombuffer(data, ">u2", count, header.end()).reshape(height, width, channels)
    if most == 65535:
        return samples.astype(np.uint16)
    return np.rint(samples.clip(0, most) * (65535 / most)).astype(np.uint16)


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


def _upright(decoded: _Decoded) -> np.ndarray:
    """Gives the samples a channel axis and turns them."""
    samples, orientation = decoded.samples, decoded.exif.get(ExifTags.Base.Orientation, 1)
    if samples.ndim == 2:
        samples = samples[..., None]
    return inverse_dihedral(samples, _UPRIGHT.get(orientation, 0))
