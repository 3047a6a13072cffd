"""Pictures that compare methods on a detail of an image, as papers print them.

An image here is a uint8 `H W 3` array; a box is (top, left, height, width) in its pixels. The same
figures become a page with a before/after slider in `figure_page.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lnln_jax.images.arrays import rgb_to_y

Box = tuple[int, int, int, int]

ORIGINAL = "original"
NO_SCORE = "–"

_LARGEST_CROP = 320  # the longer side of an enlarged crop, unless the box itself is longer
_NARROWEST_CELL = 200  # room for a caption under a narrow crop
_MOST_COLUMNS = 4
_WIDEST_OVERVIEW = 1.3  # times the height of the crops beside it
_GAP = 16
_MOST_LINES = 3  # of a name; what is longer ends with an ellipsis
_FONT_SIZE = 20
_LINE_HEIGHT = 26


@dataclass(frozen=True, eq=False)
class Method:
    """One column of a figure.

    Attributes:
      name: such as "bicubic" or "LNLN".
      image: the whole SR image, uint8 `H W 3` like the original.
      psnr: in dB, as the evaluation measured it; None where there is none.
      ssim: likewise.

    Raises:
      ValueError: a score is NaN.
    """

    name: str
    image: np.ndarray
    psnr: float | None
    ssim: float | None

    def __post_init__(self) -> None:
        for field, value in (("psnr", self.psnr), ("ssim", self.ssim)):
            if value is not None and math.isnan(value):
                raise ValueError(f"{field} of {self.name} is NaN; give None where there is none")


@dataclass(frozen=True, eq=False)
class Figure:
    """One image, what methods made of it, and the detail to look at.

    Attributes:
      name: such as "Set14 x2, barbara".
      hr: the original, uint8 `H W 3`.
      methods: at least one, in the order of display.
      box: the detail, inside `hr`.

    Raises:
      ValueError: an image that is not uint8 `H W 3` or differs from `hr` in size, no methods, or a
        box that leaves the image.
    """

    name: str
    hr: np.ndarray
    methods: tuple[Method, ...]
    box: Box

    def __post_init__(self) -> None:
        _check_images(self.hr, self.methods)
        top, left, height, width = self.box
        if min(top, left, height - 1, width - 1) < 0 or (
            top + height > self.hr.shape[0] or left + width > self.hr.shape[1]
        ):
            raise ValueError(
                f"box is {self.box}, which does not lie inside an image of {self.hr.shape[:2]}; "
                "give top, left, height and width"
            )

    @property
    def columns(self) -> tuple[Method, ...]:
        """The methods, and the original after them."""
        return (*self.methods, Method(ORIGINAL, self.hr, None, None))


def default_box(hr: np.ndarray, methods: Sequence[Method]) -> Box:
    """The square, a sixth of the shorter side, where the methods differ most.

    The difference is the variance of luma among the methods that have a PSNR (all of them where
    none has one), summed over the square; a single method is compared with the original.

    Args:
      hr: the original, uint8 `H W 3`.
      methods: at least one, with images of the size of `hr`.

    Raises:
      ValueError: images that no `Figure` takes.
    """
    _check_images(hr, methods)
    compared = [m.image for m in methods if m.psnr is not None] or [m.image for m in methods]
    if len(compared) == 1:
        compared.append(hr)
    total, squares = np.zeros(hr.shape[:2]), np.zeros(hr.shape[:2])
    for image in compared:
        luma = rgb_to_y(image)
        total += luma
        squares += luma * luma
    variance = squares / len(compared) - (total / len(compared)) ** 2
    side = max(1, round(min(variance.shape) / 6))
    sums = np.pad(variance, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(top), int(left), side, side


def enlarged_crop(image: np.ndarray, box: Box) -> np.ndarray:
    """The inside of the box, every pixel of it a square of n x n, with n as `draw` chooses it."""
    top, left, height, width = box
    factor = _crop_factor(box)
    crop = image[top : top + height, left : left + width]
    return crop.repeat(factor, axis=0).repeat(factor, axis=1)


class ShownScore(NamedTuple):
    """A score as text, and whether no other method's text has a larger value."""

    text: str
    best: bool


def shown_scores(methods: Sequence[Method]) -> list[tuple[ShownScore, ShownScore]]:
    """PSNR and SSIM of each method as tables print them; the best is marked among two or more."""
    psnr = _shown([m.psnr for m in methods], digits=2)
    ssim = _shown([m.ssim for m in methods], digits=4)
    return list(zip(psnr, ssim, strict=True))


def draw(figures: Sequence[Figure]) -> np.ndarray:
    """The figures below each other: the original with its box, and beside it the crops.

    A crop is enlarged by a whole factor, nearest neighbour, and has the name and PSNR / SSIM of
    its method under it, the best in bold.

    Returns:
      A uint8 `H W 3` picture.

    Raises:
      ValueError: there are no figures.
    """
    if not figures:
        raise ValueError("figures is empty; give at least one")
    cell = max(_NARROWEST_CELL, *(_crop_factor(f.box) * f.box[3] + 2 for f in figures))
    grids = [_draw_crops(figure, cell) for figure in figures]
    overviews = [_draw_overview(f, grid.height) for f, grid in zip(figures, grids, strict=True)]
    heights = [max(pair[0].height, pair[1].height) for pair in zip(overviews, grids, strict=True)]
    left = _GAP + max(overview.width for overview in overviews)
    width = left + _GAP + max(grid.width for grid in grids) + _GAP
    canvas = Image.new("RGB", (width, _GAP + sum(height + _GAP for height in heights)), "white")
    y = _GAP
    for overview, grid, height in zip(overviews, grids, heights, strict=True):
        centred = ((_GAP + left - overview.width) // 2, y + (height - overview.height) // 2)
        canvas.paste(overview, centred)
        canvas.paste(grid, (left + _GAP, y))
        y += height + _GAP
    return np.asarray(canvas)


def _check_images(hr: np.ndarray, methods: Sequence[Method]) -> None:
    if hr.ndim != 3 or hr.shape[2] != 3 or hr.size == 0 or hr.dtype != np.uint8:
        raise ValueError(f"hr must be uint8 of shape (H, W, 3), got {hr.dtype} {hr.shape}")
    if not methods:
        raise ValueError("methods is empty; give at least one")
    for method in methods:
        if method.image.shape != hr.shape or method.image.dtype != np.uint8:
            raise ValueError(
                f"the image of {method.name} is {method.image.dtype} {method.image.shape}, but hr "
                f"is uint8 {hr.shape}; give SR and HR of one image"
            )


def _crop_factor(box: Box) -> int:
    return max(1, _LARGEST_CROP // max(box[2:]))


def _shown(values: Sequence[float | None], digits: int) -> list[ShownScore]:
    rounded = [None if value is None else round(value, digits) for value in values]
    present = [value for value in rounded if value is not None]
    best = max(present) if len(present) > 1 else None
    return [
        ShownScore(NO_SCORE, False)
        if value is None
        else ShownScore(f"{value:.{digits}f}", value == best)
        for value in rounded
    ]


Line = Sequence[tuple[str, bool]]  # pieces of text, each bold or not


def _draw_crops(figure: Figure, cell: int) -> Image.Image:
    cells = []
    for method, (psnr, ssim) in zip(figure.columns, shown_scores(figure.columns), strict=True):
        lines: list[Line] = [[(line, False)] for line in _wrap(method.name, cell)]
        if method.image is figure.hr:
            lines.append([("PSNR / SSIM", False)])
        elif method.psnr is not None or method.ssim is not None:
            lines.append([psnr, (" / ", False), ssim])
        crop = Image.fromarray(enlarged_crop(method.image, figure.box))
        cells.append(_captioned(crop, lines, cell))
    count = 1 if len(cells) <= 3 else max(2, math.ceil(len(cells) / _MOST_COLUMNS))
    columns = math.ceil(len(cells) / count)
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    size = (columns * (cell + _GAP) - _GAP, sum(height + _GAP for height in heights) - _GAP)
    grid = Image.new("RGB", size, "white")
    y = 0
    for row, height in zip(rows, heights, strict=True):
        for i, picture in enumerate(row):
            grid.paste(picture, (i * (cell + _GAP), y))
        y += height + _GAP
    return grid


def _draw_overview(figure: Figure, height: int) -> Image.Image:
    """The original, with its name as high as the crops beside it if that is not too wide."""
    full_height, full_width = figure.hr.shape[:2]

    def factor_with(lines: int) -> float:
        room = max(_NARROWEST_CELL, height - _text_height(lines) - 2)
        return min(room / full_height, _WIDEST_OVERVIEW * room / full_width)

    width = max(_NARROWEST_CELL, int(full_width * factor_with(_MOST_LINES)))
    name = _wrap(figure.name, width)
    factor = factor_with(len(name))
    size = (max(1, round(full_width * factor)), max(1, round(full_height * factor)))
    overview = Image.fromarray(figure.hr).resize(size, Image.Resampling.LANCZOS)
    top, left, box_height, box_width = (side * factor for side in figure.box)
    outline = ImageDraw.Draw(overview)
    for outset, colour, line in ((4, "black", 5), (3, (255, 220, 0), 3)):  # seen on any image
        corners = [
            max(0, round(left) - outset),
            max(0, round(top) - outset),
            min(size[0] - 1, round(left + box_width) + outset - 1),
            min(size[1] - 1, round(top + box_height) + outset - 1),
        ]
        outline.rectangle(corners, outline=colour, width=line)
    return _captioned(overview, [[(line, False)] for line in name], max(width, size[0] + 2))


def _text_height(lines: int) -> int:
    return 4 + lines * _LINE_HEIGHT


def _captioned(picture: Image.Image, lines: Sequence[Line], width: int) -> Image.Image:
    """The picture in a thin frame, with centred lines under it, on white."""
    picture = ImageOps.expand(picture, 1, "lightgray")
    height = picture.height + _text_height(len(lines))
    canvas = Image.new("RGB", (width, height), "white")
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    pen, font = ImageDraw.Draw(canvas), _font()
    for i, line in enumerate(lines):
        x = (width - sum(font.getlength(text) for text, _ in line)) / 2
        y = picture.height + 4 + i * _LINE_HEIGHT
        for text, bold in line:
            # Pillow's own font has one weight: bold is the text drawn twice.
            for shift in (-0.5, 0.5) if bold else (0,):
                pen.text((x + shift, y), text, fill="black", font=font)
            x += font.getlength(text)
    return canvas


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` pixels, broken at spaces where there are any."""
    font = _font()
    lines = [""]
    for word in text.split():
        line = f"{lines[-1]} {word}".lstrip()
        if font.getlength(line) <= width:
            lines[-1] = line
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    lines = [line for line in lines if line]
    if len(lines) > _MOST_LINES:
        last = lines[_MOST_LINES - 1]
        while font.getlength(last + "…") > width:
            last = last[:-1]
        lines[_MOST_LINES - 1 :] = [last + "…"]
    return lines


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=_FONT_SIZE)
