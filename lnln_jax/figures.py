"""Pictures that compare methods on a detail of an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 8
_TEXT_HEIGHT = 40


@dataclass(frozen=True)
class Panel:
    """One method's result: a uint8 `H W 3` image and the lines that stand under its crop."""

    image: np.ndarray
    caption: Sequence[str]


def compare_crops(
    panels: Sequence[Panel], box: tuple[int, int, int, int], *, zoom: int = 4
) -> np.ndarray:
    """The last panel's whole image with a box in it, and beside it the crops of all panels.

    Args:
      panels: images of one size, the original last.
      box: top, left, height and width of the crop in pixels, inside the image.
      zoom: by how much crops are enlarged; pixels stay squares.

    Returns:
      A uint8 `H W 3` picture.

    Raises:
      ValueError: the box leaves the image, or the panels differ in size.
    """
    top, left, height, width = box
    shape = panels[-1].image.shape
    if any(panel.image.shape != shape for panel in panels):
        sizes = ", ".join(str(panel.image.shape) for panel in panels)
        raise ValueError(f"panels have different sizes: {sizes}; give SR and HR of one image")
    if min(top, left, height - 1, width - 1) < 0 or (
        top + height > shape[0] or left + width > shape[1]
    ):
        raise ValueError(f"box is {box}, which does not lie inside an image of {shape[:2]}")
    font = ImageFont.load_default(size=14)
    columns = -(-len(panels) // 2)
    cell = (width * zoom + _GAP, height * zoom + _TEXT_HEIGHT + _GAP)
    overview = Image.fromarray(panels[-1].image)
    line = max(2, shape[0] // 150)
    ImageDraw.Draw(overview).rectangle(
        (left - line, top - line, left + width + line, top + height + line),
        outline=(255, 220, 0),
        width=line,
    )
    tall = 2 * cell[1] - _GAP
    overview = overview.resize((round(shape[1] * tall / shape[0]), tall), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (overview.width + _GAP + columns * cell[0], tall), "white")
    canvas.paste(overview, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for i, panel in enumerate(panels):
        x = overview.width + _GAP + (i % columns) * cell[0]
        y = (i // columns) * cell[1]
        crop = Image.fromarray(panel.image[top : top + height, left : left + width])
        crop = crop.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
        canvas.paste(crop, (x, y))
        text = "\n".join(panel.caption)
        centre = (x + width * zoom // 2, y + height * zoom + 3)
        draw.multiline_text(centre, text, fill="black", font=font, anchor="ma", align="center")
    return np.asarray(canvas)
