"""Results as text for the terminal, as Markdown and as JSON."""

import datetime
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import jax

from lnln_jax.evaluation.paper import TABLE_1, Scores, has_published_sizes, published_scores
from lnln_jax.evaluation.published import PublishedScores
from lnln_jax.evaluation.results import SRCNN_BICUBIC, Result, Score
from lnln_jax.runtime.numbers import finite_or_none
from lnln_jax.version import __version__

CONVENTIONS = (
    f'"bicubic" is measured as the networks are; "{SRCNN_BICUBIC}" is what the bicubic rows of '
    "published tables hold: rounded luma, made smaller and larger again without rounding between. "
    "Only their row of Manga109 is another: uint8 RGB made smaller and larger, then rounded luma."
)
_WIDEST = 60  # characters of a name in the terminal
_MEMORY_NOTES = {
    "peak_memory_bytes": "planned by the compiler for the largest program (arguments, results and "
    "temporaries), not measured",
    "device_peak_memory_bytes": "measured by the device since the process began, models before "
    "this one included; null where it does not tell",
}


def format_table(results: Sequence[Result]) -> str:
    """Makes a table of PSNR / SSIM with a row per image and a column per model, and the means.

    Args:
      results: results of one benchmark, as `evaluate` returns them; `published_bicubic` may follow.
    """
    table = [[_shortened(cell) for cell in row] for row in _per_image(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
    rule = "-" * len(lines[0])
    return "\n".join([describe(results[0]), lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _shortened(name: str) -> str:
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"


def describe(result: Result) -> str:
    """Says in one line how a result was measured."""
    ensemble = "; self-ensemble" if result.self_ensemble else ""
    return f"{result.protocol.describe(result.scale)}; LR {result.lr_origin}{ensemble}"


def environment() -> dict[str, str]:
    """Describes where and when this runs, for a report."""
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
    """Returns everything, for `json.dump`; an infinite PSNR becomes None.

    A result has the paper's scores only if it is of a network of the published sizes; `paper` has
    the rows of all methods that ran in any size, method -> benchmark -> scores.

    Args:
      results: results of one scale and protocol, benchmark after benchmark.
      sources: model name -> what it was loaded from.
      environment: what `environment()` returned.
    """
    first = results[0]
    return {
        "scale": first.scale,
        "protocol": asdict(first.protocol),
        "self_ensemble": first.self_ensemble,
        "environment": dict(environment),
        "models": dict(sources),
        "notes": _MEMORY_NOTES,
        "results": [_result_json(result) for result in results],
        "paper": {
            method: {benchmark: _scores_json(scores) for benchmark, scores in row.items()}
            for method, row in _paper_rows(results).items()
        },
    }


def to_markdown(
    results: Sequence[Result], *, sources: Mapping[str, str], environment: Mapping[str, str]
) -> str:
    """Writes a report: methods by benchmarks above the paper's rows, times, and every image.

    Args:
      results: results of one scale and protocol, benchmark after benchmark.
      sources: model name -> what it was loaded from.
      environment: what `environment()` returned.
    """
    by_benchmark: dict[str, list[Result]] = {}
    for result in results:
        by_benchmark.setdefault(result.benchmark, []).append(result)
    groups, first = list(by_benchmark.values()), results[0]
    versions = f"lnln_jax {environment['lnln_jax']}, jax {environment['jax']}"
    ensemble = "; self-ensemble over eight symmetries" if first.self_ensemble else ""
    head = [
        f"Protocol: {first.protocol.describe(first.scale)}{ensemble}",
        *(f"LR of {group[0].benchmark}: {group[0].lr_origin}" for group in groups),
        *(
            f"{r.model}: {_network(r)} from {sources[r.model]}"
            for r in groups[0]
            if r.model in sources
        ),
        f"{versions}, Python {environment['python']}, {environment['device']} "
        f"({environment['platform']}), {environment['date']}",
    ]
    notes = [CONVENTIONS] if any(r.model == SRCNN_BICUBIC for r in results) else []
    if paper := _paper_rows(results):
        others = [r.model for r in groups[0] if r.network in paper and not _published(r)]
        notes.append(
            '"(paper)" is Table 1 of Wang et al., ICASSP 2021, of networks of the published sizes'
            + (f"; of other sizes here: {', '.join(map(escape, others))}." if others else ".")
        )
    parts = [f"# Evaluation x{first.scale}", "\n".join(f"- {escape(line)}" for line in head)]
    parts += ["## Means", _markdown_table(_means(groups, paper)), *notes]
    if times := _times(results):
        parts += ["## Time", "\n".join(f"- {escape(line)}" for line in times)]
    for group in groups:
        parts += [f"## {escape(group[0].benchmark)}", _markdown_table(_per_image(group))]
    return "\n\n".join(parts) + "\n"


def _per_image(results: Sequence[Result]) -> list[list[str]]:
    """Makes a header, a row for each image, and the means."""
    first = results[0]
    return [
        [f"{first.benchmark} x{first.scale}", *(result.model for result in results)],
        *(
            [score.image, *(format_scores((r.scores[i].psnr, r.scores[i].ssim)) for r in results)]
            for i, score in enumerate(first.scores)
        ),
        ["mean", *(format_scores((result.psnr, result.ssim)) for result in results)],
    ]


def _means(
    groups: Sequence[Sequence[Result]], paper: Mapping[str, Mapping[str, Scores]]
) -> list[list[str]]:
    """Makes a header and a row for each method and each of the paper's; columns are benchmarks."""
    return [
        ["method", *(group[0].benchmark for group in groups)],
        *(
            [of_model[0].model, *(format_scores((result.psnr, result.ssim)) for result in of_model)]
            for of_model in zip(*groups, strict=True)
        ),
        *(
            [f"{method} (paper)", *(format_scores(row.get(group[0].benchmark)) for group in groups)]
            for method, row in paper.items()
        ),
    ]


def _paper_rows(results: Sequence[Result]) -> dict[str, dict[str, Scores]]:
    """Returns the paper's scores of the methods that ran: method -> benchmark -> scores."""
    rows: dict[str, dict[str, Scores]] = {method: {} for method in TABLE_1[2]}
    for result in results:
        if scores := _paper(result):
            rows[result.network][result.benchmark] = scores
    return {method: row for method, row in rows.items() if row}


def _paper(result: Result) -> Scores | None:
    """Returns the paper's scores of the same class of network, of any size, if comparable."""
    if result.self_ensemble or not result.protocol.is_published(result.scale):
        return None
    return published_scores(result.network, result.benchmark, result.scale)


def _published(result: Result) -> bool:
    return has_published_sizes(result.network, result.options)


def _network(result: Result) -> str:
    """Describes the network, such as EDSR (n_resblocks 16, n_feats 64, res_scale 1.0)."""
    options = ", ".join(f"{key} {value}" for key, value in result.options.items())
    return (result.network or "results") + (f" ({options})" if options else "")


def _times(results: Sequence[Result]) -> list[str]:
    """Makes a line for each network: the time of an image, and that of measuring it."""
    scores: dict[str, list[Score]] = {}
    for result in results:
        if result.network and result.model != SRCNN_BICUBIC:
            scores.setdefault(result.model, []).extend(result.scores)
    lines = []
    for model, of_model in scores.items():
        seconds = sum(score.seconds for score in of_model)
        metrics = sum(score.metrics_seconds for score in of_model)
        lines.append(
            f"{model}: {seconds / len(of_model):.3g} s an image; PSNR and SSIM take "
            f"{100 * metrics / seconds:.1f} % of that on top"
        )
    return lines


def format_scores(scores: PublishedScores | None) -> str:
    """Formats PSNR (dB) / SSIM as in the tables of papers; nothing for None, "-" for no SSIM."""
    if scores is None:
        return ""
    psnr, ssim = scores
    return f"{psnr:.2f} / {'-' if ssim is None else f'{ssim:.4f}'}"


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(map(escape, row)) + " |" for row in rows]
    rule = "| --- |" + " ---: |" * (len(rows[0]) - 1)
    return "\n".join([lines[0], rule, *lines[1:]])


def escape(text: str) -> str:
    """Escapes names of files, so that Markdown shows them literally, on one line, in one cell."""
    text = re.sub(r"[\\`*<\[|&~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    return " ".join(text.split())


def _result_json(result: Result) -> dict[str, Any]:
    paper = _paper(result) if _published(result) else None
    return {
        "model": result.model,
        "network": result.network,
        "options": dict(result.options),
        "benchmark": result.benchmark,
        "lr": result.lr_origin,
        "self_ensemble": result.self_ensemble,
        "psnr": finite_or_none(result.psnr),
        "ssim": result.ssim,
        "paper": _scores_json(paper) if paper else None,
        "peak_memory_bytes": result.peak_memory_bytes,
        "device_peak_memory_bytes": result.device_peak_memory_bytes,
        **{
            key: sum(getattr(score, key) for score in result.scores)
            for key in ("seconds", "compile_seconds", "metrics_seconds")
        },
        "images": [
            {**asdict(score), "psnr": finite_or_none(score.psnr)} for score in result.scores
        ],
    }


def _scores_json(scores: Scores) -> dict[str, float]:
    return {"psnr": scores[0], "ssim": scores[1]}
