"""Colour under transparent pixels, which nobody sees until a picture is enlarged."""

import numpy as np

_BAND_PIXELS = 1 << 20


def is_opaque(alpha: np.ndarray) -> bool:
    """Returns whether an alpha channel, uint8 or uint16 of any shape, is 255 or 65535 throughout.

    It need not be held a second time: rows are compared one band after the other.
    """
    most = np.iinfo(alpha.dtype).max
    rows = _band_rows(alpha)
    return all((alpha[top : top + rows] == most).all() for top in range(0, len(alpha), rows))


def fill_transparent(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns colours that go on under transparent pixels as they are beside them.

    Programs leave any colour under alpha 0 (black, white, noise). Enlarging mixes neighbours, so
    that colour would show as a rim. Each hole gets the mean colour of the smallest surroundings
    that hold a visible pixel, from a pyramid of halved pictures. (Networks do worse on colours
    premultiplied by alpha: they sharpen the edge to black, which dividing by alpha then brightens.)

    Args:
      colours: colours `H W C`, uint8 or uint16.
      alpha: alpha `H W 1`; pixels of 0 are filled, others keep their colour bit for bit.

    Returns:
      A new array like `colours`, or `colours` where no pixel is transparent, or all are.
    """
    visible = alpha[..., 0] != 0
    return _filled(colours, visible) if visible.any() else colours


def _filled(colours: np.ndarray, visible: np.ndarray) -> np.ndarray:
    if visible.all():
        return colours
    coarse = _filled(*_halved(colours, visible))
    filled = colours.copy()
    rows = _band_rows(colours)
    for top in range(0, len(colours), rows):
        holes = ~visible[top : top + rows]
        if holes.any():
            band = filled[top : top + rows]
            doubled = _doubled(coarse, top, len(band), band.shape[1])
            band[holes] = np.rint(doubled[holes]).astype(colours.dtype)
    return filled


def _halved(colours: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Takes the mean of the visible ones of each 2x2 pixels, and says where there is one."""
    height, width = ((side + 1) // 2 for side in visible.shape)
    means = np.empty((height, width, colours.shape[2]), colours.dtype)
    counts = np.empty((height, width), np.uint8)
    rows = _band_rows(means)
    for top in range(0, height, rows):
        band = slice(2 * top, 2 * (top + rows))
        weights = visible[band, :, None].astype(np.uint32)
        count = np.maximum(sums := _sums(weights), 1)
        means[top : top + rows] = (_sums(colours[band] * weights) + count // 2) // count
        counts[top : top + rows] = sums[..., 0]
    return means, counts != 0


def _sums(image: np.ndarray) -> np.ndarray:
    """Adds the 2x2 pixels of each square; beyond the edges there are zeros."""
    height, width, _ = image.shape
    image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)))
    return image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]


def _doubled(coarse: np.ndarray, top: int, height: int, width: int) -> np.ndarray:
    """Interpolates some rows of a picture of double size linearly, float32."""
    image = coarse
    for axis, start, size in ((0, top, height), (1, 0, width)):
        places = np.arange(start, start + size)
        near = places // 2
        far = (near + places % 2 * 2 - 1).clip(0, image.shape[axis] - 1)
        image = np.float32(0.75) * image.take(near, axis) + np.float32(0.25) * image.take(far, axis)
    return image


def _band_rows(image: np.ndarray) -> int:
    return max(1, _BAND_PIXELS // image.shape[1])
