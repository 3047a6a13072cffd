"""Pictures for tests, and files of them that are made by Pillow or by hand."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

RGB = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
GRAY = RGB[..., 0]
ALPHA = RGB[..., 1]
RGB16 = np.random.default_rng(1).integers(0, 65536, (7, 5, 3), np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GRAY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]  # only its name matters here

# Of a camera: half of it is untrue as soon as the picture is turned or enlarged.
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
  xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
  xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:e="http://ns.adobe.com/exif/1.0/"
  xmlns:dc="http://purl.org/dc/elements/1.1/"
  xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
  xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="0123"
  xmp:Rating="5" tiff:Orientation="6" hdrgm:GainMapMax="3" tiff:Make="Maker">
<dc:creator><rdf:Seq><rdf:li>Ann Author</rdf:li></rdf:Seq></dc:creator>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Wir \u00fcber uns</rdf:li></rdf:Alt></dc:title>
<e:PixelXDimension>5</e:PixelXDimension><e:PixelYDimension>7</e:PixelYDimension>
<xmp:Thumbnails><rdf:Alt><rdf:li>base64</rdf:li></rdf:Alt></xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


def replicated(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray] * 3, axis=-1)


def save(path: Path, image: np.ndarray | Image.Image, **options: object) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def long_profile(more: int) -> bytes:
    """An sRGB profile that deflate does not make shorter."""
    noise = np.random.default_rng(0).bytes(more)
    return struct.pack(">I", len(SRGB) + more) + SRGB[4:] + noise


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_png(samples: np.ndarray, *chunks: bytes, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of uint8 or uint16 `H W C`, unfiltered; `size` (width, height) is a lie to tell."""
    height, width, channels = samples.shape
    depth = 8 * samples.itemsize
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), depth, colour_type, 0, 0, 0)
    rows = samples.astype(samples.dtype.newbyteorder(">"))
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def camera_exif(orientation: int, endian: str = ">") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[ExifTags.Base.Make] = "Maker"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.XResolution] = 72.0
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.ExposureTime: 1 / 60,
        ExifTags.Base.DateTimeOriginal: "2020:02:03 04:05:06",
        ExifTags.Base.UserComment: b"ASCII\0\0\0hello",
        ExifTags.Base.ExifImageWidth: 5,
    }
    exif[ExifTags.IFD.GPSInfo] = {
        ExifTags.GPS.GPSLatitudeRef: "N",
        ExifTags.GPS.GPSLatitude: (50.0, 30.0, 15.5),
    }
    return exif.tobytes()


def assert_camera_exif(exif: Image.Exif) -> None:
    assert exif[ExifTags.Base.Make] == "Maker"
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "2020:02:03 04:05:06"
    assert details[ExifTags.Base.UserComment] == b"ASCII\0\0\0hello"
    assert float(details[ExifTags.Base.ExposureTime]) == pytest.approx(1 / 60)
    assert ExifTags.Base.ExifImageWidth not in details
    assert [float(x) for x in exif.get_ifd(ExifTags.IFD.GPSInfo)[2]] == [50.0, 30.0, 15.5]
