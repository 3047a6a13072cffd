"""Pictures as files store them: samples, and what is said about them."""

from typing import NamedTuple

import numpy as np


class Metadata(NamedTuple):
    """What a file says about its picture, as far as it is true of a larger one, too.

    Attributes:
      icc_profile: profile of the colour space of the samples; None means sRGB, or unknown.
      exif: EXIF block from the bytes "Exif" on, without orientation, sizes and thumbnail; or None.
      xmp: XMP packet without the like; or None.
      dpi: pixels per inch, across and down, or None. The number is kept, not the size in print, as
        editors do when they enlarge a picture.
      png_chunks: kinds and bodies of chunks of a PNG file. Some say what colours the samples are
        (gAMA, cHRM, sRGB, cICP, ...), of which cICP counts before the profile, that before the
        others; some are texts, such as a title or a prompt, for which only PNG has a place.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()


class Photo(NamedTuple):
    """A picture as its file stores it, but upright.

    Attributes:
      samples: samples `H W C`, uint8 or uint16, perhaps read-only; C is 1 for gray, 2 for gray and
        alpha, 3 for RGB, 4 for RGB and alpha. Alpha is not premultiplied.
      metadata: what the file says about them.
    """

    samples: np.ndarray
    metadata: Metadata = Metadata()

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


class Header(NamedTuple):
    """Form of the samples in a file, and its metadata.

    Attributes:
      shape: shape `(H, W, C)`, with the channels of `Photo.samples`.
      dtype: uint8 or uint16.
      metadata: metadata as in `Photo`.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    metadata: Metadata = Metadata()
