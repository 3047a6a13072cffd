"""A leaderboard as one HTML page: a table that can be sorted, and scatter plots for each scale.

The page needs nothing but its own file, and its content security policy forbids every request.
Without scripts the table stays as it is, and the plots are there.
"""

import math
from collections.abc import Sequence
from html import escape
from itertools import zip_longest
from pathlib import Path

from lnln_jax.evaluation.leaderboard_report import SHA_DIGITS, cells, failures, headings
from lnln_jax.evaluation.leaderboard_rows import Leaderboard, Row
from lnln_jax.evaluation.pages import write_html
from lnln_jax.evaluation.scatter import Point, scatter


def write_page(board: Leaderboard, notes: Sequence[str], path: Path) -> None:
    """Writes the page, whole or not at all.

    Args:
      board: the leaderboard.
      notes: how it was measured, a line each.
      path: HTML file; an old one is replaced.

    Raises:
      OSError: the file cannot be written.
    """
    content = "\n".join(
        [_table(board), *(_plots(board, scale) for scale in board.sets), _failures(board)]
    )
    lines = "\n".join(f"<li>{escape(note)}</li>" for note in notes)
    title = f"Leaderboard: {', '.join(board.names)}"
    write_html(path, "leaderboard_page.html", title=title, content=content, notes=lines)


def _table(board: Leaderboard) -> str:
    if not board.rows:
        return "<p>No model could be measured.</p>"
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings(board))
    rows = "\n".join(_row(row, board) for row in board.rows)
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="All models">
<table class="sortable">
<thead>
<tr>{heads}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>"""


def _row(row: Row, board: Leaderboard) -> str:
    kind = "measured" if row.published is None else "published"
    model, *others = cells(row, board)
    more = "".join(
        f"<td{_value(number)}{_whole(row, text)}>{escape(text)}</td>"
        for text, number in zip_longest(others, _numbers(row, board))
    )
    return f'<tr class="{kind}"><th scope="row">{escape(model)}</th>{more}</tr>'


def _numbers(row: Row, board: Leaderboard) -> list[float | None]:
    """Returns the numbers that the columns after the model are sorted by; None: by the text."""
    psnr = [row.scores[name][0] if name in row.scores else None for name in board.names]
    return [None, row.scale, row.parameters, row.multiply_adds, *psnr, row.milliseconds]


def _value(number: float | None) -> str:
    if number is None:
        return ""
    return f' data-value="{number if math.isfinite(number) else 1e9}"'


def _whole(row: Row, text: str) -> str:
    """Returns the whole hash for the cell of its first digits."""
    return f' title="{row.sha256}"' if text and text == row.sha256[:SHA_DIGITS] else ""


def _plots(board: Leaderboard, scale: int) -> str:
    """Draws PSNR on the first benchmark against parameters and against multiply-adds."""
    first = board.names[0]
    y_label = f"PSNR on {first} (dB)"
    plots = []
    for key, caption, x_label in (
        ("parameters", "PSNR against parameters", "parameters"),
        ("multiply_adds", "PSNR against multiply-adds", "multiply-adds for 1280x720"),
    ):
        points = [
            Point(
                row.model if row.published is None else row.network,
                f"{row.model}: {row.scores[first][0]:.2f} dB, {getattr(row, key):,} {x_label}",
                getattr(row, key),
                row.scores[first][0],
                "measured" if row.published is None else "published",
            )
            for row in board.rows
            if row.scale == scale
            and getattr(row, key)
            and first in row.scores
            and math.isfinite(row.scores[first][0])
        ]
        if points:
            name, title = f"x{scale}-{key}", f"x{scale}: {y_label} against {x_label}"
            drawn = scatter(points, name=name, title=title, x_label=x_label, y_label=y_label)
            plots.append(
                f"<figure>\n{drawn}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"
            )
    if not plots:
        return ""
    figures = "\n".join(plots)
    return f"""<section>
<h2>x{scale}</h2>
<ul class="legend">
<li class="measured"><svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="5"/></svg>
measured here</li>
<li class="published"><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2l6 6l-6 6l-6 -6z"/>
</svg>published</li>
</ul>
<div class="plots">
{figures}
</div>
</section>"""


def _failures(board: Leaderboard) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(model)}</th><td class="text">{escape(why)}</td></tr>'
        for model, why in failures(board)
    )
    if not rows:
        return ""
    return f"""<section>
<h2>Not measured</h2>
<table>
<thead>
<tr><th scope="col">model</th><th scope="col" class="text">why</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</section>"""
