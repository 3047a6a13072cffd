"""What the parts of gpu.py write: tables that are on disk as soon as a row of them is known."""

import json
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from report import markdown_table

from lnln_jax.files import write_file


class Report:
    """The tables of one run, in `results.json` and `results.md`, which parts go on with in turns.

    Attributes:
      folder: where both files lie.
      deadline: on the clock of `time.monotonic`, when the part has to end.
    """

    def __init__(self, folder: Path, deadline: float) -> None:
        """Opens a folder, with the tables that earlier parts left there."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.deadline = folder, deadline
        self._writing = threading.Lock()
        path = folder / "results.json"
        self.tables: dict[str, list[dict[str, Any]]] = (
            json.loads(path.read_text()) if path.exists() else {}
        )

    @property
    def left(self) -> float:
        """Seconds until the part has to end."""
        return self.deadline - time.monotonic()

    def row(self, table: str, /, **cells: Any) -> None:
        """Adds a row to a table, prints it, and writes both files."""
        with self._writing:  # rows may come from several threads
            self.tables.setdefault(table, []).append(cells)
            print(f"{table}: " + ", ".join(f"{k} {cell(v)}" for k, v in cells.items()), flush=True)
            text = json.dumps(self.tables, indent=1) + "\n"
            write_file(self.folder / "results.json", text.encode())
            write_file(self.folder / "results.md", to_markdown(self.tables).encode())

    def has(self, seconds: float, table: str, /, **cells: Any) -> bool:
        """Returns whether so many seconds are left; if not, a row says that it was left out."""
        if self.left < seconds:
            self.row(table, **cells, problem=f"left out, {self.left:.0f} s before the limit")
        return self.left >= seconds

    @contextmanager
    def attempt(self, table: str, /, **cells: Any) -> Iterator[None]:
        """Turns what fails inside into a row that says so; `cells` name the row."""
        try:
            yield
        except Exception as error:  # out of memory, a broken driver: the next row may do
            traceback.print_exc()
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self.row(table, **cells, problem=text[:300])


def to_markdown(tables: dict[str, list[dict[str, Any]]]) -> str:
    """All tables, each with the columns of all its rows."""
    parts = []
    for name, rows in tables.items():
        head = list(dict.fromkeys(key for row in rows for key in row))
        cells = [[cell(row.get(key, "")) for key in head] for row in rows]
        parts.append(f"## {name}\n\n{markdown_table([head, *cells])}\n")
    return "\n".join(parts)


def cell(value: Any) -> str:
    """A value as a table shows it: three digits, or what it is."""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "/")
