"""A scatter plot as SVG, x logarithmic, with a label at each point; nothing but text."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 640, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 626, 14, 366  # edges of the area of points
_MARK = 6  # half the width of a point
_CHARACTER, _LINE = 6.7, 15  # width and height of a label's letters, nearly
_SHIFTS = (0, -15, 15, -30, 30)  # of a label, up or down, where it would hide another
_MOST_LETTERS = 34


class Point(NamedTuple):
    """A point of the plot.

    Attributes:
      label: text beside it.
      about: text that a pointer or a screen reader gets.
      x: value above 0.
      y: value.
      kind: class of its mark: "measured" or "published".
    """

    label: str
    about: str
    x: float
    y: float
    kind: str


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def hides(self, other: "_Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def scatter(points: Sequence[Point], *, name: str, title: str, x_label: str, y_label: str) -> str:
    """Draws points as an SVG element; colours and fonts are those of the page's style sheet.

    Args:
      points: points, at least one.
      name: what the names of its elements begin with, on a page where nothing else does.
      title: title, for screen readers.
      x_label: what the values below are.
      y_label: what the values at the left are.
    """
    x_edges = _log_edges([point.x for point in points])
    y_ticks = _ticks([point.y for point in points])
    x_scale = (_RIGHT - _LEFT) / math.log(x_edges[1] / x_edges[0])
    y_scale = (_BOTTOM - _TOP) / (y_ticks[-1] - y_ticks[0])

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + math.log(x / x_edges[0]) * x_scale, _BOTTOM - (y - y_ticks[0]) * y_scale

    spots = [place(point.x, point.y) for point in points]
    lines = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" '
        f'aria-labelledby="{name}-title {name}-about">',
        f'<title id="{name}-title">{escape(title)}</title>',
        f'<desc id="{name}-about">{len(points)} points: {escape(x_label)} below, logarithmic, '
        f"against {escape(y_label)} at the left. The table holds the same numbers.</desc>",
        *_axes(_log_ticks(*x_edges), y_ticks, place),
        f'<text class="axis" x="{(_LEFT + _RIGHT) / 2}" y="{_HEIGHT - 10}">'
        f"{escape(x_label)}</text>",
        f'<text class="axis" transform="translate(14 {(_TOP + _BOTTOM) / 2}) rotate(-90)">'
        f"{escape(y_label)}</text>",
        *(
            _point(point, spot, label)
            for point, spot, label in zip(points, spots, _labels(points, spots), strict=True)
        ),
        "</svg>",
    ]
    return "\n".join(lines)


def _axes(
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    place: Callable[[float, float], tuple[float, float]],
) -> list[str]:
    """Draws a line with its number for each tick."""
    lines = []
    for value in x_ticks:
        x, _ = place(value, y_ticks[0])
        lines.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>')
        lines.append(f'<text class="below" x="{x:.1f}" y="{_BOTTOM + 18}">{_short(value)}</text>')
    for value in y_ticks:
        _, y = place(1, value)
        lines.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        lines.append(f'<text class="left" x="{_LEFT - 8}" y="{y + 4:.1f}">{value:g}</text>')
    return lines


def _point(point: Point, spot: tuple[float, float], label: tuple[float, float, str]) -> str:
    """Draws a point with its label; the keyboard reaches it."""
    x, y = spot
    label_x, label_y, side = label
    if point.kind == "measured":
        mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_MARK - 1}"/>'
    else:
        corners = f"M{x:.1f} {y - _MARK:.1f}l{_MARK} {_MARK}l-{_MARK} {_MARK}l-{_MARK} -{_MARK}z"
        mark = f'<path d="{corners}"/>'
    return (
        f'<g class="point {point.kind}" role="img" tabindex="0" aria-label="{escape(point.about)}">'
        f"<title>{escape(point.about)}</title>{mark}"
        f'<text class="{side}" x="{label_x:.1f}" y="{label_y + 4:.1f}">'
        f"{escape(_shortened(point.label))}</text></g>"
    )


def _labels(
    points: Sequence[Point], spots: Sequence[tuple[float, float]]
) -> list[tuple[float, float, str]]:
    """Finds a place for each label, right or left of its point, that hides nothing.

    Returns:
      x, y and class of each; one without such a place is "crowded", too, which the page shows only
      while the point has the focus or the pointer.
    """
    taken = [_Box(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in spots]
    placed = []
    for point, (x, y) in zip(points, spots, strict=True):
        width = len(_shortened(point.label)) * _CHARACTER
        options = []
        for shift in _SHIFTS:
            middle = y + shift
            for side, left in (("right", x + _MARK + 4), ("left", x - _MARK - 4 - width)):
                box = _Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)
                inside = box.left > _LEFT and box.right < _WIDTH and box.top > 0
                hidden = sum(box.hides(other) for other in taken)
                options.append((not inside, hidden, abs(shift), side == "left", middle, side, box))
        _, hidden, *_, middle, side, box = min(options)
        if not hidden:
            taken.append(box)
        label_x = x + (_MARK + 4) * (1 if side == "right" else -1)
        placed.append((label_x, middle, f"{side} crowded" if hidden else side))
    return placed


def _log_edges(values: Sequence[float]) -> tuple[float, float]:
    """Returns the edges of an axis that holds all values, and labels beside them."""
    return min(values) / 1.6, max(values) * 2.2


def _log_ticks(first: float, last: float) -> list[float]:
    """Returns round numbers between edges, the fewer the farther these are apart."""
    wide = last / first
    steps = (1, 1.5, 2, 3, 4, 5, 7) if wide < 12 else (1, 2, 5) if wide < 2000 else (1,)
    powers = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return [tick for tick in ticks if first <= tick <= last]


def _ticks(values: Sequence[float]) -> list[float]:
    """Returns at most eight round numbers, equally far apart, around all values."""
    margin = max(0.05 * (max(values) - min(values)), 0.05)
    low, high = min(values) - margin, max(values) + margin
    sizes = (base * 10.0**power for power in range(-3, 4) for base in (1, 2, 5))
    step = next(size for size in sizes if (high - low) / size <= 6)
    return [round(i * step, 6) for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _short(value: float) -> str:
    """Returns a number in few letters: 20 K, 5 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if value >= size * (1 - 1e-9):
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _shortened(label: str) -> str:
    return label if len(label) <= _MOST_LETTERS else f"…{label[1 - _MOST_LETTERS :]}"
