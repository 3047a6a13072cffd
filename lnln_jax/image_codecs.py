"""Image formats as bytes: what Pillow does, and 16 bits and TIFF metadata, which it does not.

`decode` and `encode` take no paths and know no policy; `lnln_jax.image_files` is the way in.
Pillow cuts colours of 16 bits to 8, so `imagecodecs` (libpng, libtiff) handles those.
"""

import io
import struct
import threading
import warnings
import zlib
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lnln_jax.image import inverse_dihedral

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True, "exact": True},  # exact: colour under alpha 0
    ".png": {"format": "PNG"},
    ".bmp": {"format": "BMP"},
}
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
_warning_filters = threading.Lock()


class Picture(NamedTuple):
    """What a file holds.

    Attributes:
      samples: `H W C`, uint8 or uint16, upright; C is 1 for gray, 2 for gray and alpha, 3 for RGB,
        4 for RGB and alpha. Alpha is not premultiplied.
      icc_profile: of the colour space of the samples, or None.
      exif: block from the bytes "Exif" on, or None.
    """

    samples: np.ndarray
    icc_profile: bytes | None
    exif: bytes | None


def decode(data: bytes) -> Picture:
    """Decodes a still image and turns it upright.

    A palette becomes RGB(A), black and white becomes gray, CMYK becomes RGB (through its profile
    if there is one). A profile for other than gray or RGB samples, as they are now, is dropped.
    Of EXIF the camera, author and place stay; orientation, sizes and thumbnail are dropped.

    Raises:
      ValueError: there is no image, more than one, a damaged one or one that is not supported;
        the message gives the reason.
    """
    try:
        return _decode_16_bit_tiff(data) or _decode_with_pillow(data)
    except UnidentifiedImageError as error:
        raise ValueError(
            "not a PNG, JPEG, BMP, WebP or TIFF image, or its header is damaged"
        ) from error
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # damaged files make decoders raise almost anything
        raise ValueError(str(error) or type(error).__name__) from error


def encode(picture: Picture, suffix: str) -> bytes:
    """Encodes a picture.

    Args:
      picture: uint16 samples for PNG and TIFF only, alpha for PNG, TIFF and WebP only. A profile
        that does not fit the samples is left out.
      suffix: ".png", ".tif", ".tiff", ".webp", ".jpg", ".jpeg" or ".bmp".

    Raises:
      ValueError: the encoder refused the picture.
    """
    samples = picture.samples
    if suffix == ".webp" and samples.shape[2] < 3:  # it has no gray
        samples = np.concatenate([samples[..., :1]] * 3 + [samples[..., 1:]], axis=2)
    picture = Picture(samples, _fitting(picture.icc_profile, samples), picture.exif)
    try:
        if suffix in (".tif", ".tiff"):
            return _encode_tiff(picture)
        if samples.dtype == np.uint16:
            return _encode_16_bit_png(picture)
        options = dict(_SAVE_OPTIONS[suffix])
        if suffix != ".bmp":
            options |= {"icc_profile": picture.icc_profile, "exif": picture.exif or b""}
        file = io.BytesIO()
        Image.fromarray(_squeeze(samples)).save(file, **options)
        return file.getvalue()
    except (OSError, struct.error) as error:
        raise ValueError(str(error)) from error


def _decode_with_pillow(data: bytes) -> Picture:
    # The lock: warning filters belong to the process, and training reads with several threads.
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG with further views of the scene
        raise ValueError(f"it is animated or has pages ({frames}); give a single still image")
    image.load()
    icc_profile = image.info.get("icc_profile")
    if image.format == "PNG" and data[24] == 16:  # the bit depth in the IHDR chunk
        import imagecodecs

        samples = imagecodecs.png_decode(data)
    elif image.mode == "CMYK":
        samples = np.asarray(_cmyk_to_rgb(image, icc_profile))
    elif image.mode in _MODES:
        samples = np.asarray(image.convert(_MODES[image.mode][image.has_transparency_data]))
    else:
        raise ValueError(f"pixels of type {image.mode}; convert it to 8 or 16 bits per channel")
    try:
        exif = image.getexif()  # of a TIFF: without the orientation, which load() has applied
    except Exception:
        exif = Image.Exif()  # the picture does not depend on it
    return _upright(samples, icc_profile, exif)


def _decode_16_bit_tiff(data: bytes) -> Picture | None:
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
    if Image.MAX_IMAGE_PIXELS is not None and height * width > Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"image size {width}x{height} exceeds PIL.Image.MAX_IMAGE_PIXELS")

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


def _upright(samples: np.ndarray, icc_profile: bytes | None, exif: Image.Exif) -> Picture:
    """Gives the samples a channel axis, turns them and drops the metadata that is now wrong."""
    if samples.ndim == 2:
        samples = samples[..., None]
    samples = inverse_dihedral(samples, _UPRIGHT.get(exif.get(ExifTags.Base.Orientation, 1), 0))
    try:
        kept = _kept_exif(exif)
    except Exception:  # a damaged block, of which Pillow notices when it takes it apart
        kept = None
    return Picture(samples, _fitting(icc_profile, samples), kept)


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


def _fitting(icc_profile: bytes | None, samples: np.ndarray) -> bytes | None:
    """Returns the profile if it is one for gray or RGB, whichever the samples are."""
    space = b"GRAY" if samples.shape[2] < 3 else b"RGB "
    return icc_profile if icc_profile and icc_profile[16:20] == space else None


def _squeeze(samples: np.ndarray) -> np.ndarray:
    return samples[..., 0] if samples.shape[2] == 1 else samples


def _encode_16_bit_png(picture: Picture) -> bytes:
    import imagecodecs

    data = bytes(imagecodecs.png_encode(_squeeze(picture.samples)))
    metadata = b""
    if picture.icc_profile:
        body = b"ICC profile\0\0" + zlib.compress(picture.icc_profile)
        metadata += _png_chunk(b"iCCP", body)
    if picture.exif:
        metadata += _png_chunk(b"eXIf", picture.exif.removeprefix(b"Exif\0\0"))
    header = 8 + 25  # signature, IHDR chunk
    return data[:header] + metadata + data[header:]


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def _encode_tiff(picture: Picture) -> bytes:
    """Encodes 8 or 16 bits: a header, the tags, then one deflated strip.

    An EXIF block is a TIFF directory, so the picture's block with the tags that describe the strip
    is the beginning of the new file. (Pillow's deflated TIFFs lose EXIF, and have no 16 bits.)
    """
    samples = picture.samples
    height, width, channels = samples.shape
    tags = Image.Exif()
    if picture.exif:
        tags.load(picture.exif)
    tags.endian = tags.endian or "<"
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]  # the horizontal predictor; wraps around
    differences = differences.astype(samples.dtype.newbyteorder("<" if tags.endian == "<" else ">"))
    strip = zlib.compress(differences.tobytes())
    tags[ExifTags.Base.ImageWidth] = width
    tags[ExifTags.Base.ImageLength] = height
    tags[ExifTags.Base.BitsPerSample] = (8 * samples.itemsize,) * channels
    tags[ExifTags.Base.Compression] = 8  # deflate
    tags[ExifTags.Base.PhotometricInterpretation] = 1 if channels < 3 else 2  # gray, RGB
    tags[ExifTags.Base.StripOffsets] = 0  # Pillow adds the size of all that comes before
    tags[ExifTags.Base.SamplesPerPixel] = channels
    tags[ExifTags.Base.RowsPerStrip] = height
    tags[ExifTags.Base.StripByteCounts] = len(strip)
    tags[ExifTags.Base.Predictor] = 2
    if channels % 2 == 0:
        tags[ExifTags.Base.ExtraSamples] = 2  # alpha, not premultiplied
    if picture.icc_profile:
        tags[ExifTags.Base.InterColorProfile] = picture.icc_profile
    return tags.tobytes().removeprefix(b"Exif\0\0") + strip
