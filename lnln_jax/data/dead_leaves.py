"""Synthetic training images: the dead leaves model.

An image is a pile of opaque leaves whose radii follow a power law, seen from above. Occlusion and
the power law alone give it the statistics that photographs have: edges of every orientation and
length, and the same look at every scale (Lee, Mumford and Huang, "Occlusion Models for Natural
Images", IJCV 2001). Achddou, Gousseau and Ladjal ("Synthetic Images as a Regularity Prior for
Image Restoration Neural Networks", SSVM 2021) trained restoration networks on such images alone.

The model's leaves are disks of one colour. Here some are ellipses and rectangles, which adds thin
structures, straight edges and corners, and most carry a texture: a gradient, stripes or noise.

Images are `H W 3`, uint8, RGB. Lengths below are in pixels of the canvas, which is twice as high
and wide as the image: averaging 2 x 2 canvas pixels is what smooths the edges.
"""

from typing import NamedTuple

import numpy as np

from lnln_jax.images.products import quiet_products
from lnln_jax.runtime.numbers import whole

SUPERSAMPLING = 2
R_MIN = (2.0, 16.0)  # an image's smallest radius, drawn log-uniformly
CHUNK = 512  # leaves drawn between two looks at what is still uncovered
MAX_LEAVES = 6144  # then one leaf as big as the frame closes the gaps
TILE = 256  # side of the periodic noise tiles


class Leaves(NamedTuple):
    """The outlines of N leaves, front to back; every field is float32 `N`."""

    x: np.ndarray
    y: np.ndarray
    half_length: np.ndarray
    half_width: np.ndarray
    cos: np.ndarray
    sin: np.ndarray
    is_rectangle: np.ndarray  # 1.0, or 0.0 for an ellipse


def dead_leaves(rng: np.random.Generator, size: int | tuple[int, int]) -> np.ndarray:
    """Draws one image of the dead leaves model.

    Args:
      rng: source of every random number; the same state gives the same image.
      size: side of a square image, or (height, width); at least 1.

    Returns:
      uint8 `H W 3`, RGB.

    Raises:
      ValueError: `size` is not one or two positive whole numbers.
    """
    sides = np.atleast_1d(size).tolist()
    sides = sides if len(sides) > 1 else [size, size]  # a number of any kind, or none
    if len(sides) != 2:
        raise ValueError(f"size is {size}; it must be a side, or height and width")
    height, width = (whole("size", side, least=1) for side in sides)
    labels, count = _pile(rng, SUPERSAMPLING * height, SUPERSAMPLING * width)
    canvas = _shade(rng, labels, count)
    shape = (height, SUPERSAMPLING, width, SUPERSAMPLING, 3)
    image = canvas.reshape(shape).mean(axis=(1, 3))
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def _pile(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, int]:
    """Piles leaves front to back until they cover the canvas.

    Returns:
      The index of the leaf seen at each pixel, int32 `height width`, and the number of leaves.
    """
    labels = np.full((height, width), -1, np.int32)
    r_min = np.exp(rng.uniform(*np.log(R_MIN)))
    r_max = max(2.0 * r_min, max(height, width) / 2.0)
    count = 0
    while count < MAX_LEAVES and (labels < 0).any():
        leaves = _draw_leaves(rng, r_min, r_max, height, width)
        for i, leaf in enumerate(zip(*(field.tolist() for field in leaves), strict=True)):
            _slide_under(labels, count + i, *leaf)
        count += leaves.x.size
    labels[labels < 0] = count
    return labels, count + 1


def _draw_leaves(
    rng: np.random.Generator, r_min: float, r_max: float, height: int, width: int
) -> Leaves:
    """Draws leaves on the whole plane until `CHUNK` or more of them may touch the canvas."""
    # Leaves whose centres are outside count too: without them, large ones would thin out at the
    # borders. About `plane` of them are drawn for each one that is kept.
    reach = 3.0 * r_max
    plane = (height + 2 * reach) * (width + 2 * reach) / (height * width)
    n = int(CHUNK * plane)
    # The inverse of the distribution function of a density proportional to r^-3.
    u = rng.random(n, np.float32)
    r = (r_min**-2 - u * (r_min**-2 - r_max**-2)) ** -0.5
    x = rng.uniform(-reach, width + reach, n)
    y = rng.uniform(-reach, height + reach, n)
    kind = rng.random(n, np.float32)  # half disks, a quarter ellipses, a quarter rectangles
    # About the area of the disk; the longest have sixteen times their width.
    stretch = np.where(kind < 0.5, 1.0, np.exp(rng.uniform(0.0, np.log(4.0), n)))
    angle = rng.uniform(0.0, np.pi, n)
    fields = (x, y, r * stretch, r / stretch, np.cos(angle), np.sin(angle), kind >= 0.75)
    extent = 1.5 * r * stretch  # a rectangle's corner is at sqrt(2) at the most
    touches = (np.abs(x - width / 2) < width / 2 + extent) & (
        np.abs(y - height / 2) < height / 2 + extent
    )
    return Leaves(*(field[touches].astype(np.float32) for field in fields))


def _slide_under(
    labels: np.ndarray,
    index: int,
    x: float,
    y: float,
    half_length: float,
    half_width: float,
    cos: float,
    sin: float,
    is_rectangle: float,
) -> None:
    """Writes `index` into the uncovered pixels of `labels` that one leaf covers."""
    dx = half_length * abs(cos) + half_width * abs(sin)
    dy = half_length * abs(sin) + half_width * abs(cos)
    x0, x1 = max(0, int(x - dx)), max(0, int(x + dx) + 2)
    y0, y1 = max(0, int(y - dy)), max(0, int(y + dy) + 2)
    window = labels[y0:y1, x0:x1]
    uncovered = window < 0
    if not uncovered.any():
        return
    rows = np.arange(y0, y0 + window.shape[0], dtype=np.float32)[:, None] - y
    columns = np.arange(x0, x0 + window.shape[1], dtype=np.float32) - x
    along = columns * (cos / half_length) + rows * (sin / half_length)
    across = rows * (cos / half_width) - columns * (sin / half_width)
    if is_rectangle:
        inside = np.maximum(np.abs(along), np.abs(across)) <= 1.0
    else:
        inside = along * along + across * across <= 1.0
    np.copyto(window, index, where=inside & uncovered)


def _shade(rng: np.random.Generator, labels: np.ndarray, count: int) -> np.ndarray:
    """Colours every leaf: one colour plus a gradient, stripes and noise, each of random strength.

    Args:
      rng: source of the colours and textures.
      labels: leaf seen at each pixel, int32 `H W`.
      count: number of leaves.

    Returns:
      float32 `H W 3`, nominally in [0, 1].
    """
    height, width = labels.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y -= height / 2
    x -= width / 2

    def per_leaf(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)[labels]

    angle = rng.uniform(0.0, 2 * np.pi, count)
    cos, sin = per_leaf(np.cos(angle)), per_leaf(np.sin(angle))
    along, across = cos * x + sin * y, cos * y - sin * x
    texture = per_leaf(rng.normal(0.0, 0.3, count) / max(height, width)) * across

    # Each leaf has axes and an origin of its own, so that one tile looks different everywhere.
    along += per_leaf(rng.uniform(0.0, TILE, count))
    across += per_leaf(rng.uniform(0.0, TILE, count))
    tiles = _noise_tiles(rng)
    tile = rng.integers(len(tiles), size=count)[labels]
    noise = tiles[tile, across.astype(np.int32) % TILE, along.astype(np.int32) % TILE]

    wavelength = np.exp(rng.uniform(np.log(6.0), np.log(64.0), count))
    bend = _strength(rng, count, share=0.5, median=0.5)
    stripes = np.sin(per_leaf(2 * np.pi / wavelength) * along + per_leaf(bend) * noise)
    # A steep sine, clipped, is a square wave: lines with sharp edges.
    steepness = np.exp(rng.uniform(0.0, np.log(8.0), count))
    stripes = np.clip(per_leaf(steepness) * stripes, -1.0, 1.0)

    texture += per_leaf(_strength(rng, count, share=0.3, median=0.1)) * stripes
    texture += per_leaf(_strength(rng, count, share=0.6, median=0.05)) * noise

    colours, tints = _colours(rng, count)
    return colours[labels] + texture[..., None] * tints[labels]


def _strength(rng: np.random.Generator, count: int, *, share: float, median: float) -> np.ndarray:
    """Draws strengths of a texture, `count`: zero but for a `share` of the leaves."""
    strength = median * np.exp(rng.normal(0.0, 0.7, count))
    return np.where(rng.random(count) < share, strength, 0.0)


def _colours(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws the colour of each leaf and the direction in which its texture moves that colour.

    As in photographs, the three channels are strongly correlated: lightness varies most, blue to
    orange less, green to purple least. An image has a palette, so its leaves resemble each other.

    Returns:
      Two arrays, float32 `count 3`.
    """
    axes = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
    spread = np.array([rng.uniform(0.18, 0.35), 0.06, 0.03])
    palette = rng.normal([0.45, 0.03, 0.0], [0.1, 0.05, 0.02])
    colours = palette + spread * rng.normal(size=(count, 3))
    # Reflect what leaves [0, 1] back into it, so that no leaf loses its texture to clipping.
    lightness = np.abs(colours[:, :1])
    lightness = 1.0 - np.abs(1.0 - lightness)
    with quiet_products():
        rgb = np.concatenate([lightness, colours[:, 1:]], axis=1) @ axes
    tints = 1.0 + rng.normal(0.0, 0.15, (count, 3))
    return rgb.astype(np.float32), tints.astype(np.float32)


def _noise_tiles(rng: np.random.Generator) -> np.ndarray:
    """Makes periodic noise of unit variance: fine grain, clouds, and fibres along the rows.

    Returns:
      float32 `6 TILE TILE`.
    """
    fx = np.fft.fftfreq(TILE)
    fy = fx[:, None]
    f = np.hypot(fx, fy)
    f[0, 0] = np.inf  # no constant part
    resolved = 1.0 / (1.0 + (f / 0.2) ** 8)  # the image's Nyquist frequency is 0.25 here
    amplitudes = (
        resolved * f**-0.5,
        resolved * f**-1.25,
        resolved * np.hypot(0.02, fy) ** -0.5 * np.exp(-((fx / 0.02) ** 2)),
    )
    tiles = []
    for amplitude in amplitudes:
        amplitude[0, 0] = 0.0
        spectrum = rng.standard_normal((2, TILE, TILE), np.float32)
        field = np.fft.ifft2(amplitude * (spectrum[0] + 1j * spectrum[1]))
        tiles += [field.real / field.real.std(), field.imag / field.imag.std()]
    return np.stack(tiles).astype(np.float32)
