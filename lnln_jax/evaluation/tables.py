"""Tables in Markdown."""

from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Formats a table, its first row the head, whose columns are aligned as text, too."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = [list(map(str.ljust, cells, widths)) for cells in table]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
