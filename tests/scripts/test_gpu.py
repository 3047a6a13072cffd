"""scripts/gpu.py in miniature, on whatever device there is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu.py"


def run(output, *arguments, timeout=900):
    command = [sys.executable, str(SCRIPT), *arguments, "--rehearse", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    path = output / "results.json"
    return done, json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """All parts; the limits are those of a machine that has other things to do."""
    output = tmp_path_factory.mktemp("gpu")
    return output, *run(output, "--limits", "check=400", "speed=300", "train=80")


def test_all_parts_end_well(rehearsal):
    _, done, parts = rehearsal
    assert done.returncode == 0, done.stderr + done.stdout
    processes = [row for tables in parts.values() for row in tables["processes"]]
    ended = {row["process"]: row["ended"] for row in processes}
    assert ended == dict.fromkeys(("check", "speed", "speed-torch", "train"), "with status 0")
    rows = [row for tables in parts.values() for rows in tables.values() for row in rows]
    assert not [row for row in rows if "failed" in row]
    assert {row["left_out"] for row in rows if "left_out" in row} <= {
        "needs a CUDA GPU",
        "not installed here",
        "PyTorch is not installed",
    }


def test_everything_is_checked(rehearsal):
    _, _, parts = rehearsal
    tables = parts["check"]
    assert all(row["sound"] for row in tables["deviations from float64"])
    kernels = {row["kernel"] for row in tables["deviations from float64"]}
    assert {"conv", "depthwise_conv3x3", "moments", "attention", "lnln"} <= kernels
    networks = tables["networks beside PyTorch"]
    if "left_out" not in networks[0]:
        assert {row["network"] for row in networks} == {"lnln", "drca", "rcan", "edsr", "vdsr"}
        assert all(row["sound"] for row in networks)
    assert tables["resuming"][0]["arrays"] > 100
    assert tables["resuming"][0]["bit_for_bit"]
    assert len(tables["evaluation"]) >= 2
    assert all(row["sound"] for row in tables["evaluation"])


def test_every_form_is_measured(rehearsal):
    _, _, parts = rehearsal
    tables = parts["speed"]
    rows = next(rows for name, rows in tables.items() if name.startswith("LNLN x2"))
    assert {row["form"] for row in rows} == {"plain", "tuned"}
    assert {row["depthwise"] for row in rows} == {"shifted", "grouped"}
    assert {row["precision"] for row in rows} == {"float32", "bfloat16"}
    assert {row["attention"] for row in rows} >= {"dense", "chunked"}
    assert len({row["batch"] for row in rows}) == 2
    assert all(row["step_ms"] > 0 for row in rows)


def test_what_comes_back_is_small_and_goes_on(rehearsal, tmp_path):
    output, _, parts = rehearsal
    files = [path for path in output.iterdir() if path.is_file()]
    assert len(files) <= 8
    assert all(path.stat().st_size <= 15 * 2**20 for path in files)
    state = min(output.glob("state*.safetensors"))
    step = parts["train"]["learning curve"][-1]["step"]
    goes_on = ("train", "--start", str(state), "--go-on")
    done, parts = run(tmp_path, *goes_on, "--limits", "train=80")
    assert done.returncode == 0, done.stderr
    assert parts["train"]["learning curve"][-1]["step"] > step


def test_a_limit_loses_nothing_that_was_known(tmp_path):
    done, parts = run(tmp_path, "check", "--limits", "check=15")  # it takes longer
    assert done.returncode == 0  # a limit is no failure
    assert parts["check"]["machine"][0]["what"] == "date"
    assert "at its limit" in parts["check"]["processes"][0]["ended"]
    assert "## machine" in (tmp_path / "results.md").read_text()


def test_what_has_no_time_left_is_left_out(tmp_path):
    done, parts = run(tmp_path, "speed", "--limits", "speed=12")
    assert done.returncode == 0, done.stderr
    rows = [row for rows in parts["speed"].values() for row in rows]
    assert any("limit" in row.get("left_out", row.get("ended", "")) for row in rows)


def test_a_part_that_fails(tmp_path):
    """With 1; and what other parts have found stays."""
    run(tmp_path, "speed", "--limits", "speed=8")
    done, parts = run(tmp_path, "train", "--set", "model.n_feats=no", "--limits", "train=60")
    assert done.returncode == 1
    assert "train: training" in done.stderr
    assert "n_feats" in parts["train"]["training"][0]["failed"]
    assert "machine" in parts["speed"]


def test_wrong_calls(tmp_path):
    for arguments, problem in (
        (["sing"], "there is no part sing"),
        (["--limits", "check"], "=120"),
    ):
        done, _ = run(tmp_path, *arguments)
        assert done.returncode == 2
        assert problem in done.stderr
