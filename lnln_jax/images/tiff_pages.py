"""Pages of TIFF files: which one is the picture, and 16 bits, which Pillow lacks."""

import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lnln_jax.images.metadata import resolution
from lnln_jax.runtime.extras import require

_MOST_PAGES = 1000
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_TAGS = (
    ExifTags.Base.NewSubfileType,
    ExifTags.Base.SubfileType,
    ExifTags.Base.ImageWidth,
    ExifTags.Base.ImageLength,
    ExifTags.Base.BitsPerSample,
    ExifTags.Base.Compression,
    ExifTags.Base.PhotometricInterpretation,
    ExifTags.Base.SamplesPerPixel,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.PlanarConfiguration,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.SubIFDs,
    ExifTags.Base.ExtraSamples,
    ExifTags.Base.SampleFormat,
    ExifTags.Base.XMLPacket,
    ExifTags.Base.InterColorProfile,
    ExifTags.Base.DNGVersion,
)

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0")  # the last of BigTIFF


class Page:
    """A directory of a TIFF file.

    Attributes:
      index: number of the page, from 0.
      start: byte where the directory begins.
      tags: those of its tags that matter here.
    """

    def __init__(self, data: bytes, index: int, start: int, tags: ImageFileDirectory_v2) -> None:
        self.index, self.start = index, start
        self.tags: dict[int, Any] = {tag: tags[tag] for tag in _TAGS if tag in tags}
        self._data = data

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        try:
            return self.tags[ExifTags.Base.ImageLength], self.tags[ExifTags.Base.ImageWidth]
        except KeyError as error:
            raise ValueError("its directory tells no size") from error

    @property
    def is_16_bit(self) -> bool:
        """Whether it has gray or RGB samples of 16 unsigned bits."""
        bits = set(self.tags.get(ExifTags.Base.BitsPerSample, (1,)))
        formats = set(self.tags.get(ExifTags.Base.SampleFormat, (1,)))
        photometric = self.tags.get(ExifTags.Base.PhotometricInterpretation)
        return bits == {16} and formats == {1} and photometric in (0, 1, 2)

    @property
    def kind(self) -> str:
        """Samples in words, for errors."""
        tags = self.tags
        bits = "/".join(map(str, sorted(set(tags.get(ExifTags.Base.BitsPerSample, (1,))))))
        formats = {1: "unsigned", 2: "signed", 3: "floating"}
        numbers = formats.get(tags.get(ExifTags.Base.SampleFormat, (1,))[0], "other")
        count = tags.get(ExifTags.Base.SamplesPerPixel, 1)
        compression = tags.get(ExifTags.Base.Compression, 1)
        return f"{count} channels of {bits} {numbers} bits, compression {compression}"

    def samples_of_16_bits(self) -> np.ndarray:
        """Decodes them as `H W C`, uint16, alpha not premultiplied; not turned upright."""
        require("imagecodecs", "16bit", "an image of 16 bits per channel")
        import imagecodecs

        photometric = self.tags[ExifTags.Base.PhotometricInterpretation]
        colours = 3 if photometric == 2 else 1
        channels = self.tags.get(ExifTags.Base.SamplesPerPixel, 1)
        if channels not in (colours, colours + 1):  # before they take memory
            raise ValueError(f"{channels} channels; reduce it to colour and alpha")
        samples = imagecodecs.tiff_decode(self._data, index=self.index)
        if self.tags.get(ExifTags.Base.PlanarConfiguration) == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
        samples = samples.reshape(*self.size, channels)
        if photometric == 0:  # white is zero
            samples[..., 0] = 65535 - samples[..., 0]
        meaning = self.tags.get(ExifTags.Base.ExtraSamples, (2,))[0]
        if meaning == 0:  # something else than alpha
            samples = samples[..., :colours]
        elif meaning == 1 and samples.shape[2] > colours:  # premultiplied by alpha
            alpha = np.maximum(samples[..., -1:].astype(np.float64), 1)
            straight = np.floor(samples[..., :-1] * 65535.0 / alpha + 0.5).clip(0, 65535)
            samples[..., :-1] = straight
        return samples

    def exif(self) -> Image.Exif:
        """Reads the page's tags as EXIF."""
        exif = Image.Exif()
        exif.bigtiff = self._data[2:3] == b"+"
        exif.endian = "<" if self._data[:2] == b"II" else ">"
        exif.load_from_fp(io.BytesIO(self._data), self.start)
        return exif

    def info(self) -> dict[str, Any]:
        """Returns what `kept_metadata` takes."""
        xmp = self.tags.get(ExifTags.Base.XMLPacket)
        return {
            "icc_profile": self.tags.get(ExifTags.Base.InterColorProfile),
            "xmp": xmp[0] if isinstance(xmp, tuple) else xmp,
            "dpi": resolution(self.tags),
        }


def picture_page(data: bytes) -> Page:
    """Finds the page of a TIFF file that is its picture.

    The others may be thumbnails, masks and smaller versions of it.

    Raises:
      ValueError: there are none or several, or only the preview of a camera's raw file.
    """
    pages = _pages(data)
    if not pages:
        raise ValueError("it has no pages")
    whole = [page for page in pages if not _kind(page) & (_REDUCED | _MASK)]
    if not whole and (_has_raw(pages[0]) or len(pages) > 1):
        raise ValueError(
            "it is a camera's raw file, of which only the preview could be read; develop it to "
            "TIFF or JPEG"
        )
    picture = max(whole or pages, key=lambda page: page.size[0] * page.size[1])
    if any(page is not picture and not _is_smaller(page, picture) for page in whole):
        raise ValueError(f"it has several pages ({len(pages)}); give a single image")
    return picture


def _pages(data: bytes) -> list[Page]:
    is_big = data[2:3] == b"+"  # BigTIFF, of which Pillow knows the little-endian kind
    header = data[: 16 if is_big else 8]
    file = io.BytesIO(data)
    pages: list[Page] = []
    start = ImageFileDirectory_v2(header).next
    while start and len(pages) < _MOST_PAGES and start not in (page.start for page in pages):
        tags = ImageFileDirectory_v2(header)
        file.seek(start)
        tags.load(file)
        pages.append(Page(data, len(pages), start, tags))
        start = tags.next
    return pages


def _kind(page: Page) -> int:
    kind = page.tags.get(ExifTags.Base.NewSubfileType, 0)
    old_kind = page.tags.get(ExifTags.Base.SubfileType)  # 2 is a reduced image
    return int(kind) | (_REDUCED if old_kind == 2 else 0)


def _has_raw(page: Page) -> bool:
    return ExifTags.Base.SubIFDs in page.tags or ExifTags.Base.DNGVersion in page.tags


def _is_smaller(page: Page, picture: Page) -> bool:
    """Returns whether a page may be a smaller version: half or less, of the same proportions."""
    height, width = page.size
    whole_height, whole_width = picture.size
    difference = abs(height * whole_width - width * whole_height)
    return 2 * height <= whole_height + 1 and difference <= max(whole_height, whole_width)
