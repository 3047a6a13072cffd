"""Figures as one picture: the original with its box, and beside it the enlarged crops."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lnln_jax.evaluation.figures import Figure, crop_factor, enlarged_crop, shown_scores

_NARROWEST_CELL = 200  # room for a caption under a narrow crop
_MOST_COLUMNS = 4
_WIDEST_OVERVIEW = 1.3  # times the height of the crops beside it
_GAP = 16
_MOST_LINES = 3  # of a name; what is longer ends with an ellipsis
_FONT_SIZE = 20
_LINE_HEIGHT = 26

Line = Sequence[tuple[str, bool]]  # pieces of text, each bold or not


def draw(figures: Sequence[Figure]) -> np.ndarray:
    """Draws figures below each other: the original with its box, and beside it the crops.

    A crop is enlarged by a whole factor, nearest neighbour, and has the name and PSNR / SSIM of
    its method under it, the best in bold.

    Returns:
      A uint8 `H W 3` picture.

    Raises:
      ValueError: there are no figures.
    """
    if not figures:
        raise ValueError("figures is empty; give at least one")
    cell = max(_NARROWEST_CELL, *(crop_factor(f.box) * f.box[3] + 2 for f in figures))
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
    """Draws the original and its name, as high as the crops beside it if that is not too wide."""
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
    """Puts the picture in a thin frame, with centred lines under it, on white."""
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
    """Breaks a text into lines of at most `width` pixels, at spaces where there are any."""
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
