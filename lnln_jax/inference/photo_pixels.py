"""The pixels of a photo, upscaled: colours by an upscaler, alpha by bicubic interpolation."""

from collections.abc import Iterator

import numpy as np

from lnln_jax.images.arrays import from_float32, to_float32
from lnln_jax.images.photo import Photo
from lnln_jax.images.resize import imresize_rows
from lnln_jax.images.transparency import fill_transparent
from lnln_jax.inference.upscaler import DEFAULT_OVERLAP, Upscaler

# LR pixels beyond the edges: as many as are left out beside the seam of two tiles.
BORDER = DEFAULT_OVERLAP // 2

_BAND_ROWS = 64


def upscaled(
    upscaler: Upscaler,
    photo: Photo,
    *,
    self_ensemble: bool = False,
    tile: int | None = None,
    seamless: bool = False,
) -> Iterator[np.ndarray]:
    """Upscales a photo from top to bottom.

    Beyond its edges the network sees the photo mirrored, or repeated if it is `seamless`. A photo
    whose red, green and blue are equal throughout is upscaled as gray, so that it gets no tint.

    Args:
      upscaler: upscaler of the colours.
      photo: photo of 8 or 16 bits.
      self_ensemble: as for `Upscaler.upscale`.
      tile: as for `Upscaler.upscale`.
      seamless: whether copies of the photo side by side show no seams, nor are to show any
        afterwards, as textures are made.

    Yields:
      Bands `h W*scale C` of any heights, in the dtype and with the channels of the photo.
    """
    if not seamless:
        yield from _with_alpha(upscaler, photo, self_ensemble, tile)
        return
    height, width = photo.samples.shape[:2]
    around = np.pad(photo.samples, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), "wrap")
    bands = _with_alpha(upscaler, photo._replace(samples=around), self_ensemble, tile)
    left, top = BORDER * upscaler.scale, -BORDER * upscaler.scale  # row of a band in the result
    for band in bands:
        rows = slice(max(-top, 0), max(height * upscaler.scale - top, 0))
        if (inner := band[rows, left : left + width * upscaler.scale]).size:
            yield inner
        top += len(band)


def _with_alpha(
    upscaler: Upscaler, photo: Photo, self_ensemble: bool, tile: int | None
) -> Iterator[np.ndarray]:
    overlap = DEFAULT_OVERLAP if tile is None else min(DEFAULT_OVERLAP, tile // 2)
    colours, alpha, start = photo.colours, photo.alpha, 0
    if alpha is not None:
        colours = fill_transparent(colours, alpha)
    channels = colours.shape[2]
    if _is_gray(colours):
        colours = colours[..., :1]
    for band in upscaler.bands(
        colours, self_ensemble=self_ensemble, tile=tile, overlap=overlap, border=BORDER
    ):
        if band.shape[2] < channels:
            band = np.repeat(band, channels, axis=2)
        if alpha is not None:
            stop = start + len(band)
            rows = imresize_rows(alpha, upscaler.scale, start, stop, convert=to_float32)
            band = np.concatenate([band, from_float32(rows, band.dtype)], axis=2)
            start = stop
        yield band


def _is_gray(colours: np.ndarray) -> bool:
    """Returns whether all channels are equal; the first row with a colour decides."""
    bands = (colours[top : top + _BAND_ROWS] for top in range(0, len(colours), _BAND_ROWS))
    return all((band == band[..., :1]).all() for band in bands)
