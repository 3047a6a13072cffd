"""The figures as one HTML page: crops, tables and a before/after slider over each whole image.

The page needs nothing but its own file: images are PNG data inside it, and its content security
policy forbids every request. Without scripts the crops and the tables are still there.
"""

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from lnln_jax.evaluation.figures import Figure, Method, ShownScore, enlarged_crop, shown_scores
from lnln_jax.evaluation.pages import write_html
from lnln_jax.images.encode import encode_png

_MOST_COLUMNS = 6


def write_page(figures: Sequence[Figure], path: str | Path, *, title: str, note: str = "") -> None:
    """Writes the page, whole or not at all.

    Args:
      figures: figures to show below each other.
      path: HTML file; an old one is replaced.
      title: title of the page, plain text like the names in the figures.
      note: paragraph under the title, such as the protocol of the metrics.

    Raises:
      ValueError: there are no figures.
      OSError: the file cannot be written.
    """
    if not figures:
        raise ValueError("figures is empty; give at least one")
    write_html(
        Path(path),
        "figure_page.html",
        title=title,
        note=f'<p class="note">{escape(note)}</p>' if note else "",
        sizes="\n".join(_sizes(i, figure) for i, figure in enumerate(figures)),
        sections="\n".join(_section(i, figure) for i, figure in enumerate(figures)),
    )


def _sizes(index: int, figure: Figure) -> str:
    """Writes CSS rules, since the policy forbids style attributes."""
    count = len(figure.columns)
    columns = math.ceil(count / math.ceil(count / _MOST_COLUMNS))
    height, width = figure.hr.shape[:2]
    return (
        f"#figure-{index} {{ --columns: {columns}; --narrow-columns: {2 if count <= 4 else 3}; "
        f"--crop: {enlarged_crop(figure.hr, figure.box).shape[1]}; "
        f"--width: {width}; --height: {height}; }}"
    )


def _section(index: int, figure: Figure) -> str:
    columns = figure.columns
    scores = shown_scores(columns)
    crops = "\n".join(_crop(figure, m, s) for m, s in zip(columns, scores, strict=True))
    rows = "\n".join(
        f'<tr><th scope="row">{escape(method.name)}</th><td>{_bold(psnr)}</td>'
        f"<td>{_bold(ssim)}</td></tr>"
        for method, (psnr, ssim) in zip(figure.methods, scores[:-1], strict=True)
    )
    images = "\n".join(
        f'<img src="{_png(m.image)}" alt="{escape(m.name)}" draggable="false" decoding="sync"'
        f"{' hidden' if i else ''}>"
        for i, m in enumerate(columns)
    )
    height, width = figure.hr.shape[:2]
    top, left, box_height, box_width = figure.box
    box = f'<rect x="{left}" y="{top}" width="{box_width}" height="{box_height}"/>'
    last = max(1, len(figure.methods) - 1)
    zooms = "".join(
        f'<label><input type="radio" name="zoom-{index}" value="{zoom}" autocomplete="off"'
        f"{' checked' if zoom == 1 else ''}>{zoom}×</label>"
        for zoom in (1, 2, 4)
    )
    return f"""
<section id="figure-{index}">
<h2>{escape(figure.name)}</h2>
<div class="crops">
{crops}
</div>
<div class="whole">
<div class="viewer" hidden>
<div class="tools">
<label><span class="unseen">Left image</span>{_select(columns, 0)}</label>
<fieldset class="zoom"><legend class="unseen">Zoom</legend>{zooms}</fieldset>
<label><span class="unseen">Right image</span>{_select(columns, last)}</label>
</div>
<div class="frame">
<div class="stage" data-zoom="1">
{images}
<svg viewBox="0 0 {width} {height}" aria-hidden="true">{box}{box}</svg>
<div class="divider" role="slider" tabindex="0" aria-label="Divider between left and right image"
 aria-orientation="horizontal" aria-valuemin="0" aria-valuemax="100" aria-valuenow="50"></div>
</div>
</div>
</div>
<table>
<thead>
<tr><th scope="col">Method</th><th scope="col">PSNR (dB)</th><th scope="col">SSIM</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
</section>"""


def _crop(figure: Figure, method: Method, score: tuple[ShownScore, ShownScore]) -> str:
    crop = enlarged_crop(method.image, figure.box)
    if method.image is figure.hr:
        line = "PSNR / SSIM"
    elif method.psnr is None and method.ssim is None:
        line = ""
    else:
        line = " / ".join(map(_bold, score))
    return (
        f'<figure><img src="{_png(crop)}" width="{crop.shape[1]}" height="{crop.shape[0]}" '
        f'alt="{escape(method.name)}, detail">'
        f"<figcaption>{escape(method.name)}<span>{line}</span></figcaption></figure>"
    )


def _select(columns: Sequence[Method], selected: int) -> str:
    options = "".join(
        f"<option{' selected' if i == selected else ''}>{escape(method.name)}</option>"
        for i, method in enumerate(columns)
    )
    return f'<select autocomplete="off">{options}</select>'


def _bold(score: ShownScore) -> str:
    return f"<b>{score.text}</b>" if score.best else score.text


def _png(image: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"
