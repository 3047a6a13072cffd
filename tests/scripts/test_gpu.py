"""scripts/gpu.py in miniature, on whatever device there is."""

import json
import os
import subprocess
import sys

import pytest

from scripts.benchmarks.gpu_networks import REHEARSED
from tests.support.checkout import ROOT

pytestmark = pytest.mark.slow

PARTS = {"check": ("check",), "speed": ("speed", "speed-torch"), "train": ("train",)}
LIMIT = 600  # seconds, of a machine that has other things to do


def length(steps):
    """So many steps instead of as many as fit into the limit."""
    return ("--set", "time_budget=", f"steps={steps}")


def start(output, *arguments):
    script = ROOT / "scripts" / "gpu.py"
    command = [sys.executable, str(script), *arguments, "--rehearse", "--output", str(output)]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # compiles faster
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process, output):
    """Waits; returns exit status, stderr and the tables of all parts."""
    try:
        _, stderr = process.communicate(timeout=900)
    finally:
        process.terminate()  # it ends what it has started
    path = output / "results.json"
    return process.returncode, stderr, json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """Each part's folder and tables: all parts at once."""
    folders = {part: tmp_path_factory.mktemp(part) for part in PARTS}
    processes = {
        part: start(folder, part, "--limits", f"{part}={LIMIT}", *length(20))
        for part, folder in folders.items()
    }
    tables = {}
    for part, process in processes.items():
        status, stderr, found = end(process, folders[part])
        assert status == 0, stderr[-2000:]
        tables[part] = found[part]
    return folders, tables


@pytest.mark.parametrize("part", PARTS)
def test_a_part_ends_well(rehearsal, part):
    tables = rehearsal[1][part]
    ended = {row["process"]: row["ended"] for row in tables["processes"]}
    assert ended == dict.fromkeys(PARTS[part], "with status 0")
    rows = [row for rows in tables.values() for row in rows]
    assert not [row for row in rows if "failed" in row]
    assert {row["left_out"] for row in rows if "left_out" in row} <= {
        "needs a CUDA GPU",
        "not installed here",
        "PyTorch is not installed",
    }


def test_everything_is_checked(rehearsal):
    tables = rehearsal[1]["check"]
    assert all(row["sound"] for row in tables["deviations from float64"])
    kernels = {row["kernel"] for row in tables["deviations from float64"]}
    assert {"conv", "depthwise_conv3x3", "moments", "attention", "lnln"} <= kernels
    networks = tables["networks beside PyTorch"]
    if "left_out" not in networks[0]:
        assert {row["network"] for row in networks} == {*REHEARSED}
        assert all(row["sound"] for row in networks)
    assert tables["resuming"][0]["arrays"] > 100
    assert tables["resuming"][0]["bit_for_bit"]
    assert len(tables["evaluation"]) >= 2
    assert all(row["sound"] for row in tables["evaluation"])


def test_every_form_is_measured(rehearsal):
    tables = rehearsal[1]["speed"]
    rows = next(rows for name, rows in tables.items() if name.startswith("LNLN x2"))
    assert {row["form"] for row in rows} == {"plain", "tuned"}
    assert {row["depthwise"] for row in rows} == {"shifted", "grouped"}
    assert {row["precision"] for row in rows} == {"float32", "bfloat16"}
    assert {row["attention"] for row in rows} >= {"dense", "chunked"}
    assert len({row["batch"] for row in rows}) == 2
    assert all(row["step_ms"] > 0 for row in rows)


def test_training_would_fill_its_limit(rehearsal):
    (run,) = rehearsal[1]["train"]["training"]
    assert LIMIT - 90 < run["budget_s"] < LIMIT - 25  # what comes after it has 25


def test_what_comes_back_is_small_and_goes_on(rehearsal, tmp_path):
    folders, tables = rehearsal
    files = [path for path in folders["train"].iterdir() if path.is_file()]
    assert len(files) <= 8
    assert all(path.stat().st_size <= 15 * 2**20 for path in files)
    state = min(folders["train"].glob("state*.safetensors"))
    step = tables["train"]["learning curve"][-1]["step"]
    goes_on = ("train", "--start", str(state), "--go-on", "--limits", f"train={LIMIT}")
    status, stderr, parts = end(start(tmp_path, *goes_on, *length(step + 20)), tmp_path)
    assert status == 0, stderr[-2000:]
    assert parts["train"]["learning curve"][-1]["step"] == step + 20


def test_a_limit_is_not_a_failure_and_a_failure_is(tmp_path):
    """What earlier parts have found stays, and what had no time left is left out."""
    wrong = ("--set", "model.n_feats=no")
    limits = ("--limits", "speed=15", "train=60")
    status, stderr, parts = end(start(tmp_path, "speed", "train", *wrong, *limits), tmp_path)
    assert status == 1
    failed = [line for line in stderr.splitlines() if line.startswith("failed, or not sound: ")]
    assert failed == ["failed, or not sound: train: training"]
    assert "n_feats" in parts["train"]["training"][0]["failed"]
    assert parts["speed"]["machine"][0]["what"] == "date"
    rows = [row for rows in parts["speed"].values() for row in rows]
    assert any("limit" in row.get("left_out", row.get("ended", "")) for row in rows)
    assert "## machine" in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["sing"], "there is no part sing"), (["--limits", "check"], "=120")],
)
def test_wrong_calls(tmp_path, arguments, problem):
    status, stderr, _ = end(start(tmp_path, *arguments), tmp_path)
    assert status == 2
    assert problem in stderr
