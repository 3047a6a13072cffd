"""Results as text, Markdown and JSON; the numbers in them are tested in test_measure.py."""

import datetime
import html
import json
import math
import re
from dataclasses import replace

import jax
import pytest
from markdown_it import MarkdownIt

import lnln_jax
from lnln_jax.evaluation.measure import evaluate, published_bicubic
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.report import (
    CONVENTIONS,
    describe,
    environment,
    format_table,
    to_json,
    to_markdown,
)
from lnln_jax.evaluation.results import SRCNN_BICUBIC, Result, Score
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.inference.bicubic import BicubicUpscaler

LNLN = {"n_resgroups": 5, "n_resblocks": 36, "n_feats": 64, "reduction": 16}  # as published
ENVIRONMENT = {
    "lnln_jax": "1.2.3",
    "jax": "0.10.2",
    "python": "3.11.7",
    "platform": "gpu",
    "device": "NVIDIA H200",
    "date": "2026-11-23T12:00:00+00:00",
}


def result(model: str, benchmark: str = "Set5", network: str = "", **changes) -> Result:
    scores = (
        Score("a", 30.126, 0.91234, 0.5, 2.0, 0.01),
        Score("b", 32.0, 0.9, 0.25, 0.125, 0.02),
    )
    of_two = Result(
        model=model,
        network=network,
        benchmark=benchmark,
        scale=2,
        lr_origin="files in LRx2",
        protocol=Protocol().at(2),
        self_ensemble=False,
        peak_memory_bytes=1000,
        scores=scores,
    )
    return replace(of_two, **changes)


def tables(markdown: str) -> list[list[list[str]]]:
    """The cells of every table."""
    found = re.findall(r"(?:^\|.*\|\n)+", markdown, re.MULTILINE)
    return [
        [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in t.splitlines()]
        for t in found
    ]


# ---- text ----


def test_text(published_dir):
    benchmark = open_benchmark(published_dir / "Set5", 2)
    (modern,) = evaluate([BicubicUpscaler(2)], benchmark)
    head, columns, rule, *rows, rule_below, mean = format_table(
        [modern, published_bicubic(benchmark)]
    ).splitlines()
    assert head == "PSNR (dB) / SSIM on Y, shaved 2, of rounded results; LR files in LRx2"
    assert re.split(" {2,}", columns.strip()) == ["Set5 x2", "bicubic", SRCNN_BICUBIC]
    assert [row.split()[0] for row in rows] == benchmark.names
    assert re.split(" {2,}", mean.strip()) == ["mean", "33.67 / 0.9303", "33.66 / 0.9299"]
    assert rule == rule_below == "-" * len(columns)
    assert len({len(line) for line in (columns, *rows, mean)}) == 1  # a rectangle
    for row, score in zip(rows, modern.scores, strict=True):
        assert f"  {score.psnr:.2f} / {score.ssim:.4f}  " in row


def test_the_head_says_how_it_was_measured():
    rgb = result("x", protocol=Protocol("rgb", 0, False), self_ensemble=True)
    assert describe(rgb) == (
        "PSNR (dB) / SSIM on RGB, shaved 0, of unrounded results; LR files in LRx2; self-ensemble"
    )
    assert format_table([rgb]).splitlines()[0] == describe(rgb)


# ---- Markdown ----


def test_markdown_has_the_form_of_table_1():
    options = {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0}
    results = [
        result(model, benchmark, network, options={"small": options, "run": LNLN}.get(model, {}))
        for benchmark in ("Set5", "mine", "Set14", "Manga109")
        for model, network in (
            ("bicubic", ""),
            (SRCNN_BICUBIC, "Bicubic"),
            ("run", "LNLN"),
            ("small", "EDSR"),
            ("other", "SRResNet"),
        )
    ]
    sources = {"run": "runs/run", "small": "EDSR_baseline.pt", "other": "a.pt"}
    text = to_markdown(results, sources=sources, environment=ENVIRONMENT)
    means, set5, mine, set14, _ = tables(text)
    ours = ["31.06 / 0.9062"] * 4
    assert means == [
        ["method", "Set5", "mine", "Set14", "Manga109"],
        ["---", "---:", "---:", "---:", "---:"],
        ["bicubic", *ours],
        [SRCNN_BICUBIC, *ours],
        ["run", *ours],
        ["small", *ours],
        ["other", *ours],
        ["Bicubic (paper)", "33.66 / 0.9299", "", "30.24 / 0.8688", ""],
        ["EDSR (paper)", "38.11 / 0.9602", "", "33.92 / 0.9195", "39.10 / 0.9773"],
        ["LNLN (paper)", "38.32 / 0.9618", "", "34.15 / 0.9232", "39.43 / 0.9784"],
    ]
    for table, name in ((set5, "Set5"), (mine, "mine"), (set14, "Set14")):
        assert table[0] == [f"{name} x2", "bicubic", SRCNN_BICUBIC, "run", "small", "other"]
        assert table[2:] == [
            ["a", *["30.13 / 0.9123"] * 5],
            ["b", *["32.00 / 0.9000"] * 5],
            ["mean", *["31.06 / 0.9062"] * 5],
        ]
    for line in (
        "# Evaluation x2",
        "- Protocol: PSNR (dB) / SSIM on Y, shaved 2, of rounded results",
        "- LR of mine: files in LRx2",
        "- run: LNLN (n_resgroups 5, n_resblocks 36, n_feats 64, reduction 16) from runs/run",
        "- small: EDSR (n_resblocks 16, n_feats 64, res_scale 1.0) from EDSR_baseline.pt",
        "- lnln_jax 1.2.3, jax 0.10.2, Python 3.11.7, NVIDIA H200 (gpu), 2026-11-23T12:00:00+00:00",
        CONVENTIONS,
        '"(paper)" is Table 1 of Wang et al., ICASSP 2021, of networks of the published sizes; '
        "of other sizes here: small.",
        # 0.5 s and 0.25 s, and the metrics 0.01 s and 0.02 s
        "- run: 0.375 s an image; PSNR and SSIM take 4.0 % of that on top",
    ):
        assert f"\n{line}\n" in f"\n{text}"
    assert text.count(" s an image;") == 3  # the networks alone
    assert "Manga109" in CONVENTIONS


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": Protocol("rgb").at(2)},
        {"protocol": Protocol(shave=3)},
        {"self_ensemble": True},
        {"scale": 3, "protocol": Protocol().at(3)},
    ],
)
def test_other_measurements_are_not_put_beside_the_paper(changes):
    results = [result("run", network="LNLN", options=LNLN, **changes)]
    about = {"sources": {}, "environment": ENVIRONMENT}
    text = to_markdown(results, **about)
    assert "paper" not in text
    assert CONVENTIONS not in text
    assert ("self-ensemble" in text) == bool(changes.get("self_ensemble"))
    report = to_json(results, **about)
    assert (report["paper"], report["results"][0]["paper"]) == ({}, None)


def test_markdown_shows_names_as_they_are():
    names = ["a | b", "_x_", "img_001_SRF_2", "<b>", "`c`", "[d](e)", "*f*", "&lt;", "~~g~~"]
    scores = tuple(Score(name, 30.0, 0.9, 1.0, 1.0, 1.0) for name in names)
    strange = result("<script>|", benchmark="a*b*c", scores=scores)
    text = to_markdown([strange], sources={}, environment=ENVIRONMENT)
    shown = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    for tag, expected in (("h2", ["Means", "a*b*c"]), ("td", ["<script>|", *names, "mean"])):
        inside = re.findall(rf"<{tag}.*?>(.*?)</{tag}>", shown)
        assert [html.unescape(cell) for cell in inside if "30.00 /" not in cell] == expected
    assert "img_001_SRF_2" in text  # which reads well as it is


# ---- JSON ----


def test_json_holds_everything():
    results = [
        result("bicubic"),
        result("run", network="LNLN", options=LNLN),
        result("small", network="EDSR", device_peak_memory_bytes=900),
    ]
    report = to_json(results, sources={"run": "runs/run"}, environment=ENVIRONMENT)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    bicubic, run, small = report.pop("results")
    notes = report.pop("notes")
    assert "not measured" in notes["peak_memory_bytes"]
    assert notes.keys() == {"peak_memory_bytes", "device_peak_memory_bytes"} <= run.keys()
    assert report == {
        "scale": 2,
        "protocol": {
            "channel": "y",
            "shave": 2,
            "rounding": True,
            "border": "symmetric",
            "degradation": {
                "kind": "bicubic",
                "blur_sigma": 1.6,
                "noise_level": 30.0,
                "jpeg_quality": 40,
            },
        },
        "self_ensemble": False,
        "environment": ENVIRONMENT,
        "models": {"run": "runs/run"},
        "paper": {
            "EDSR": {"Set5": {"psnr": 38.11, "ssim": 0.9602}},
            "LNLN": {"Set5": {"psnr": 38.32, "ssim": 0.9618}},
        },
    }
    assert run == {
        "model": "run",
        "network": "LNLN",
        "options": LNLN,
        "benchmark": "Set5",
        "lr": "files in LRx2",
        "self_ensemble": False,
        "psnr": results[1].psnr,
        "ssim": results[1].ssim,
        "paper": {"psnr": 38.32, "ssim": 0.9618},
        "peak_memory_bytes": 1000,
        "device_peak_memory_bytes": None,
        "seconds": 0.75,
        "compile_seconds": 2.125,
        "metrics_seconds": 0.03,
        "images": [
            {
                "image": "a",
                "psnr": 30.126,
                "ssim": 0.91234,
                "seconds": 0.5,
                "compile_seconds": 2.0,
                "metrics_seconds": 0.01,
            },
            {
                "image": "b",
                "psnr": 32.0,
                "ssim": 0.9,
                "seconds": 0.25,
                "compile_seconds": 0.125,
                "metrics_seconds": 0.02,
            },
        ],
    }
    assert bicubic["paper"] is None
    assert (small["paper"], small["device_peak_memory_bytes"]) == (None, 900)


def test_json_has_no_infinity():
    perfect = result("x", scores=(Score("a", math.inf, 1.0, 1.0, 1.0, 1.0),))
    report = to_json([perfect], sources={}, environment=ENVIRONMENT)
    json.dumps(report, allow_nan=False)
    assert report["results"][0]["psnr"] is None
    assert report["results"][0]["images"][0]["psnr"] is None
    assert "inf / 1.0000" in format_table([perfect])


def test_environment():
    found = environment()
    assert found.keys() == ENVIRONMENT.keys()
    assert found["lnln_jax"] == lnln_jax.__version__
    assert found["jax"] == jax.__version__
    assert found["platform"] in ("cpu", "gpu", "tpu")
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(found["date"])
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
