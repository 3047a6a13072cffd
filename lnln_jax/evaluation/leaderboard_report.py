"""A leaderboard as Markdown and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lnln_jax.evaluation.leaderboard_rows import TIMED_RUNS, TIMED_SIDE, Leaderboard, Row
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.report import escape, format_scores
from lnln_jax.evaluation.tables import aligned
from lnln_jax.models.complexity import HD
from lnln_jax.runtime.numbers import finite_or_none

SHA_DIGITS = 12  # of a SHA-256 in the table


def headings(board: Leaderboard) -> list[str]:
    """Returns the names of the columns."""
    return [
        *("model", "network", "scale", "parameters", "multiply-adds (G)"),
        *(f"{name} (dB / SSIM)" for name in board.names),
        *(f"ms (LR {TIMED_SIDE}x{TIMED_SIDE})", "SHA-256"),
    ]


def cells(row: Row, board: Leaderboard) -> list[str]:
    """Returns what a row says in each column; empty where nothing is known."""
    other = "" if row.published_size or not row.network else ", other size"
    return [
        row.model,
        row.network + other,
        f"x{row.scale}",
        "" if row.parameters is None else f"{row.parameters:,}",
        "" if row.multiply_adds is None else f"{row.multiply_adds / 1e9:,.1f}",
        *(format_scores(row.scores.get(name)) for name in board.names),
        "" if row.milliseconds is None else _milliseconds(row.milliseconds),
        row.sha256[:SHA_DIGITS],
    ]


def _milliseconds(value: float) -> str:
    """Formats three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def failures(board: Leaderboard) -> list[tuple[str, str]]:
    """Returns what could not be measured: model and reason."""
    rows = [*board.failed, *board.rows]
    return [(row.model, " ".join(why.split())) for row in rows for why in row.failures]


def notes(board: Leaderboard, environment: Mapping[str, str]) -> list[str]:
    """Says how everything was measured, a line each."""
    shaved = " or ".join(f"{scale} at x{scale}" for scale in board.sets)
    size = f"{HD[1]}x{HD[0]}"
    side = f"{TIMED_SIDE}x{TIMED_SIDE}"
    ensemble = ", averaged over eight symmetries" if board.self_ensemble else ""
    lines = [
        f"PSNR and SSIM on Y of rounded results{ensemble}, shaved {shaved}; by scale and PSNR on "
        f"{board.names[0]}",
        *(
            f"LR of {name} x{scale}: {origin}"
            for scale, sets in board.sets.items()
            for name, origin in ((s.benchmark.name, s.benchmark.lr_origin()) for s in sets)
        ),
        f"Multiply-adds of convolutions and matrix products for an output of {size}",
        f"ms: milliseconds for an LR image of {side}, the median of at most {TIMED_RUNS} runs "
        f"after compilation{' (eight passes each)' if board.self_ensemble else ''}, on "
        f"{environment['device']} ({environment['platform']})",
    ]
    for row in board.rows:
        if known := row.published:
            lines.append(
                f"{row.model} x{row.scale}: {known.source}{'; ' if known.note else ''}{known.note}"
            )
    versions = f"lnln_jax {environment['lnln_jax']}, jax {environment['jax']}"
    return [*lines, f"{versions}, Python {environment['python']}, {environment['date']}"]


def to_markdown(board: Leaderboard, environment: Mapping[str, str]) -> str:
    """Writes the table, what could not be measured and why, and how all was measured."""
    parts = ["# Leaderboard"]
    if board.rows:
        table = [headings(board), *(cells(row, board) for row in board.rows)]
        parts.append(aligned([[escape(cell) for cell in line] for line in table]))
    if failed := failures(board):
        lines = [f"| {escape(model)} | {escape(why)} |" for model, why in failed]
        parts.append("\n".join(["| not measured | why |", "| --- | --- |", *lines]))
    parts.append("\n".join(f"- {escape(line)}" for line in notes(board, environment)))
    return "\n\n".join(parts) + "\n"


def to_json(board: Leaderboard, environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns everything, for `json.dump`; an infinite PSNR becomes None."""
    return {
        "environment": dict(environment),
        "protocol": {f"x{scale}": asdict(Protocol().at(scale)) for scale in board.sets},
        "self_ensemble": board.self_ensemble,
        "multiply_adds_output_pixels": list(HD),
        "milliseconds_of": {"lr_pixels": [TIMED_SIDE, TIMED_SIDE], "most_runs": TIMED_RUNS},
        "sets": [
            {
                "name": each.benchmark.name,
                "scale": scale,
                "images": len(each.benchmark),
                "lr": each.benchmark.lr_origin(),
                "sha256": each.sha256,
            }
            for scale, sets in board.sets.items()
            for each in sets
        ],
        "rows": [_row_json(row) for row in board.rows],
        "failed": [_row_json(row) for row in board.failed],
    }


def _row_json(row: Row) -> dict[str, Any]:
    known = row.published
    scores = {
        name: {"psnr_y_db": finite_or_none(psnr), "ssim_y": ssim}
        for name, (psnr, ssim) in row.scores.items()
    }
    images = {
        name: {
            image: {"psnr_y_db": finite_or_none(psnr), "ssim_y": ssim}
            for image, (psnr, ssim) in of_set.items()
        }
        for name, of_set in row.images.items()
    }
    return {
        "kind": "published" if known else "measured",
        "model": row.model,
        "source": row.source,
        "network": row.network or None,
        "published_size": row.published_size,
        "scale": row.scale,
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        "milliseconds": row.milliseconds,
        "sha256": row.sha256 or None,
        "scores": scores,
        **({"certain": known.certain, "note": known.note} if known else {"images": images}),
        "failures": list(row.failures),
    }
