"""Results as text for the terminal, as Markdown and as JSON."""

import datetime
import math
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import jax

from lnln_jax.evaluate import SRCNN_BICUBIC, Result
from lnln_jax.paper import Scores, published_scores
from lnln_jax.version import __version__

CONVENTIONS = (
    f'"bicubic" is measured as the networks are; "{SRCNN_BICUBIC}" is what the bicubic rows of '
    "published tables hold: rounded luma, made smaller and larger again without rounding between."
)


def format_table(results: Sequence[Result]) -> str:
    """A table of PSNR / SSIM with a row per image and a column per model, and the means.

    Args:
      results: of one benchmark, as `evaluate` returns them; `published_bicubic` may follow.
    """
    table = _per_image(results)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
    rule = "-" * len(lines[0])
    return "\n".join([describe(results[0]), lines[0], rule, *lines[1:-1], rule, lines[-1]])


def describe(result: Result) -> str:
    """How a result was measured, in one line."""
    ensemble = "; self-ensemble" if result.self_ensemble else ""
    return f"{result.protocol.describe(result.scale)}; LR {result.lr_origin}{ensemble}"


def environment() -> dict[str, str]:
    """Where and when this runs, for a report."""
    return {
        "lnln_jax": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "platform": jax.default_backend(),
        "device": jax.local_devices()[0].device_kind,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def to_json(
    results: Sequence[Result], *, sources: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Everything, for `json.dump`; an infinite PSNR becomes None.

    Args:
      results: of one scale and protocol, benchmark after benchmark.
      sources: model name -> what it was loaded from.
      environment: from `environment()`.
    """
    first = results[0]
    return {
        "scale": first.scale,
        "protocol": asdict(first.protocol),
        "self_ensemble": first.self_ensemble,
        "environment": dict(environment),
        "models": dict(sources),
        "results": [_result_json(result) for result in results],
    }


def to_markdown(
    results: Sequence[Result], *, sources: Mapping[str, str], environment: Mapping[str, str]
) -> str:
    """A report: the head, methods by benchmarks beside the paper's numbers, and every image.

    Args:
      results: of one scale and protocol, benchmark after benchmark.
      sources: model name -> what it was loaded from.
      environment: from `environment()`.
    """
    by_benchmark: dict[str, list[Result]] = {}
    for result in results:
        by_benchmark.setdefault(result.benchmark, []).append(result)
    groups, first = list(by_benchmark.values()), results[0]
    compares = any(_paper(result) for result in results)
    versions = f"lnln_jax {environment['lnln_jax']}, jax {environment['jax']}"
    ensemble = "; self-ensemble over eight symmetries" if first.self_ensemble else ""
    head = [
        f"Protocol: {first.protocol.describe(first.scale)}{ensemble}",
        *(f"LR of {group[0].benchmark}: {group[0].lr_origin}" for group in groups),
        *(
            f"{r.model}: {r.network} from {sources[r.model]}"
            for r in groups[0]
            if r.model in sources
        ),
        f"{versions}, Python {environment['python']}, {environment['device']} "
        f"({environment['platform']}), {environment['date']}",
    ]
    notes = [CONVENTIONS] if any(r.model == SRCNN_BICUBIC for r in results) else []
    if compares:
        notes.append(
            '"paper" is Table 1 of Wang et al., ICASSP 2021: full-size networks, trained on DIV2K.'
        )
    parts = [f"# Evaluation x{first.scale}", "\n".join(f"- {_escape(line)}" for line in head)]
    parts += ["## Means", _markdown_table(_means(groups)), *notes]
    for group in groups:
        parts += [f"## {_escape(group[0].benchmark)}", _markdown_table(_per_image(group))]
    return "\n\n".join(parts) + "\n"


def _per_image(results: Sequence[Result]) -> list[list[str]]:
    """A header, a row for each image, and the means."""
    first = results[0]
    return [
        [f"{first.benchmark} x{first.scale}", *(result.model for result in results)],
        *(
            [score.image, *(_cell((r.scores[i].psnr, r.scores[i].ssim)) for r in results)]
            for i, score in enumerate(first.scores)
        ),
        ["mean", *(_cell((result.psnr, result.ssim)) for result in results)],
    ]


def _means(groups: Sequence[Sequence[Result]]) -> list[list[str]]:
    """A header and a row for each method: a column for each benchmark, and the paper's beside."""
    rows = [["method"], *([result.model] for result in groups[0])]
    for group in groups:
        rows[0].append(group[0].benchmark)
        for row, result in zip(rows[1:], group, strict=True):
            row.append(_cell((result.psnr, result.ssim)))
        if any(_paper(result) for result in group):
            rows[0].append("paper")
            for row, result in zip(rows[1:], group, strict=True):
                row.append(_cell(_paper(result)))
    return rows


def _paper(result: Result) -> Scores | None:
    """What the paper has for the same method, measured in the same way."""
    if result.self_ensemble or not result.protocol.is_published(result.scale):
        return None
    return published_scores(result.network, result.benchmark, result.scale)


def _cell(scores: Scores | None) -> str:
    return f"{scores[0]:.2f} / {scores[1]:.4f}" if scores else ""


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(map(_escape, row)) + " |" for row in rows]
    rule = "| --- |" + " ---: |" * (len(rows[0]) - 1)
    return "\n".join([lines[0], rule, *lines[1:]])


def _escape(text: str) -> str:
    """Names of files as Markdown shows them literally, on one line and in one cell."""
    text = re.sub(r"[\\`*<\[|&~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    return " ".join(text.split())


def _result_json(result: Result) -> dict[str, Any]:
    paper = _paper(result)
    return {
        "model": result.model,
        "network": result.network,
        "benchmark": result.benchmark,
        "lr": result.lr_origin,
        "self_ensemble": result.self_ensemble,
        "psnr": _finite(result.psnr),
        "ssim": result.ssim,
        "paper": {"psnr": paper[0], "ssim": paper[1]} if paper else None,
        "peak_memory_bytes": result.peak_memory_bytes,
        **{
            key: sum(getattr(score, key) for score in result.scores)
            for key in ("seconds", "compile_seconds", "metrics_seconds")
        },
        "images": [{**asdict(score), "psnr": _finite(score.psnr)} for score in result.scores],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
