"""Writes the tables of docs/zoo.md and README.md on all networks, published and measured.

    lnln leaderboard weights/ --data data/Set5 --data data/Set14 --data data/B100 --scale 2 \\
        --output out/x2
    python -m scripts.recipes.zoo out/x2/leaderboard.json out/x4/leaderboard.json

Without files it writes the tables anew from what docs/zoo.json keeps of earlier ones. Published
figures are those of `lnln_jax.evaluation.published`.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lnln_jax.evaluation.published import PublishedRow, all_published
from lnln_jax.evaluation.report import format_scores
from lnln_jax.weights.pretrained import BENCHMARKS
from scripts.benchmarks.common import markdown_table
from scripts.recipes.marks import ROOT, between_marks

KEPT = ROOT / "docs" / "zoo.json"
SETS = (*BENCHMARKS, "Urban100")
CLASSES = (
    *((0.5e6, "below 0.5 M"), (1e6, "0.5 to 1 M"), (2e6, "1 to 2 M"), (1e7, "2 to 10 M")),
    (math.inf, "above 10 M"),
)
Measured = dict[str, Any]  # a row of a leaderboard, without its images


def kept() -> list[Measured]:
    """Returns the rows of docs/zoo.json."""
    return json.loads(KEPT.read_text("utf-8")) if KEPT.is_file() else []


def keep(leaderboards: Sequence[Path]) -> None:
    """Adds the networks of published sizes of leaderboards to docs/zoo.json."""
    rows = {(row["network"], row["scale"], row["sha256"]): row for row in kept()}
    for path in leaderboards:
        board = json.loads(path.read_text("utf-8"))
        for row in board["rows"]:
            if row["kind"] == "measured" and row["published_size"] and row["network"]:
                key = row["network"], row["scale"], row["sha256"]
                names = ("model", "network", "scale", "sha256", "scores")
                rows[key] = {name: row[name] for name in names} | {
                    "date": board["environment"]["date"],
                    "jax": board["environment"]["jax"],
                }
    KEPT.write_text(json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n", "utf-8")


def pages(measured: Sequence[Measured]) -> dict[Path, str]:
    """Returns what is to stand in which file."""
    parts = {ROOT / "docs" / "zoo.md": tables(measured), ROOT / "README.md": best(measured)}
    return {path: between_marks(path, text, by="zoo.py") for path, text in parts.items()}


def tables(measured: Sequence[Measured]) -> str:
    """Returns a table for each scale: published figures, and what files give here."""
    parts = []
    for scale in (2, 3, 4):
        rows = [row for row in all_published() if row.scale == scale and row.network != "bicubic"]
        ours = {row["network"]: row for row in measured if row["scale"] == scale}
        table = [[f"x{scale}", "parameters (M)", "multiply-adds (G)", *SETS, "scores of"]]
        for row in sorted(rows, key=_size):
            table.append(_published_cells(row))
            if found := ours.get(row.network):
                table.append(_measured_cells(found))
        parts.append(markdown_table(table))
    return "\n\n".join(parts)


def best(measured: Sequence[Measured]) -> str:
    """Returns README's table: of each size the network with the highest published PSNR at x2.

    Rows that are quoted from memory do not count.
    """
    table = [["size", "network", "parameters (M)", *BENCHMARKS, "measured here"]]
    rows = [row for row in all_published() if row.scale == 2 and row.parameters and row.certain]
    ours = {row["network"]: row for row in measured if row["scale"] == 2}
    least = 0.0
    for most, size in CLASSES:
        inside = [row for row in rows if least <= _size(row) < most and row.score("Set5")]
        row = max(inside, key=lambda row: row.scores["Set5"][0])
        found = ours.get(row.network)
        table.append(
            [
                size,
                f"`{row.network}`",
                f"{_size(row) / 1e6:.2f}",
                *(format_scores(row.scores.get(name)) for name in BENCHMARKS),
                ", ".join(_of(found, name) for name in BENCHMARKS) if found else "",
            ]
        )
        least = most
    return markdown_table(table)


def _size(row: PublishedRow) -> float:
    return row.parameters or 0.0


def _published_cells(row: PublishedRow) -> list[str]:
    return [
        f"`{row.network}`",
        f"{row.parameters / 1e6:.3f}" if row.parameters else "",
        f"{row.multiply_adds:,g}" if row.multiply_adds else "",
        *(format_scores(row.scores.get(name)) for name in SETS),
        row.source if {*SETS} & {*row.scores} else "",
    ]


def _measured_cells(row: Measured) -> list[str]:
    return [
        "",
        "",
        "",
        *(f"**{_of(row, name)}**" if name in row["scores"] else "" for name in SETS),
        f"**measured**, `{row['model']}`",
    ]


def _of(row: Measured, name: str) -> str:
    scores = row["scores"][name]
    return format_scores((scores["psnr_y_db"], scores["ssim_y"]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("leaderboards", nargs="*", type=Path, help="leaderboard.json files")
    if leaderboards := parser.parse_args(arguments).leaderboards:
        keep(leaderboards)
    for path, text in pages(kept()).items():
        path.write_text(text, "utf-8")
        print(path)


if __name__ == "__main__":
    main()
