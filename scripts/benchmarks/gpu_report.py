"""Tables that the parts of gpu.py write, on disk as soon as a row of them is known."""

import json
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lnln_jax.runtime.files import write_file
from scripts.benchmarks.common import markdown_table

Tables = dict[str, list[dict[str, Any]]]  # rows by table


class Report:
    """The tables of one part, in `results.json` and `results.md` beside those of the others.

    Attributes:
      folder: where both files lie.
      deadline: on the clock of `time.monotonic`, when the part has to end.
      tables: of this part.
      parts: the tables of all parts.
    """

    def __init__(self, folder: Path, part: str, deadline: float) -> None:
        """Opens a folder, with the tables that were left there."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.deadline = folder, deadline
        self._writing = threading.Lock()
        path = folder / "results.json"
        self.parts: dict[str, Tables] = json.loads(path.read_text()) if path.exists() else {}
        self.tables = self.parts.setdefault(part, {})

    def begin(self) -> None:
        """Forgets what an earlier run of this part has found."""
        self.tables.clear()
        self._write()

    @property
    def left(self) -> float:
        """The seconds until the part has to end."""
        return self.deadline - time.monotonic()

    def row(self, table: str, /, **cells: Any) -> None:
        """Adds a row to a table, prints it, and writes both files."""
        with self._writing:  # rows may come from several threads
            self.tables.setdefault(table, []).append(cells)
            print(f"{table}: " + ", ".join(f"{k} {cell(v)}" for k, v in cells.items()), flush=True)
            self._write()

    def _write(self) -> None:
        text = json.dumps(self.parts, indent=1) + "\n"
        write_file(self.folder / "results.json", text.encode())
        write_file(self.folder / "results.md", to_markdown(self.parts).encode())

    def has(self, seconds: float, table: str, /, **cells: Any) -> bool:
        """Returns whether so many seconds are left; if not, a row says that it was left out."""
        if self.left < seconds:
            self.row(table, **cells, left_out=f"{self.left:.0f} s before the limit")
        return self.left >= seconds

    @contextmanager
    def attempt(self, table: str, /, **cells: Any) -> Iterator[None]:
        """Turns what fails inside into a row that says so; `cells` name the row."""
        try:
            yield
        except Exception as error:  # out of memory, a broken driver: the next row may do
            traceback.print_exc()
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self.row(table, **cells, failed=text[:300])

    @property
    def failures(self) -> list[str]:
        """The tables in which something failed or is not sound."""
        return [
            name
            for name, rows in self.tables.items()
            if any("failed" in row or row.get("sound") is False for row in rows)
        ]


def to_markdown(parts: dict[str, Tables]) -> str:
    """Returns all tables, each with the columns of all its rows."""
    text = []
    for part, tables in parts.items():
        text.append(f"# {part}\n")
        for name, rows in tables.items():
            head = list(dict.fromkeys(key for row in rows for key in row))
            cells = [[cell(row.get(key, "")) for key in head] for row in rows]
            text.append(f"## {name}\n\n{markdown_table([head, *cells])}\n")
    return "\n".join(text)


def cell(value: Any) -> str:
    """Returns a value as a table shows it: three digits, or what it is."""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "/")
