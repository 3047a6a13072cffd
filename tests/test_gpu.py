"""scripts/gpu.py in miniature, on whatever device there is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu.py"


def run(output, *arguments, timeout=900):
    command = [sys.executable, str(SCRIPT), *arguments, "--rehearse", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    path = output / "results.json"
    return done, json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """All parts; the limits are those of a machine that has other things to do."""
    output = tmp_path_factory.mktemp("gpu")
    return output, *run(output, "--limits", "check=400", "speed=300", "train=200")


def test_all_parts_end_well(rehearsal):
    _, done, tables = rehearsal
    assert done.returncode == 0, done.stderr + done.stdout
    assert {row["part"]: row["status"] for row in tables["parts"]} == {
        "check": 0,
        "speed": 0,
        "speed-torch": 0,
        "train": 0,
    }


def test_everything_is_checked(rehearsal):
    _, _, tables = rehearsal
    assert all(row["sound"] for name in ("deviations from float64",) for row in tables[name])
    kernels = {row["kernel"] for row in tables["deviations from float64"]}
    assert {"conv", "depthwise_conv3x3", "moments", "attention", "lnln"} <= kernels
    networks = tables["networks beside PyTorch"]
    problems = [row["problem"] for row in networks if "problem" in row]
    assert problems in ([], ["PyTorch is not installed"])
    if not problems:
        assert {row["network"] for row in networks} == {"lnln", "drca", "rcan", "edsr", "vdsr"}
        assert all(row["sound"] for row in networks)
    assert tables["resuming"][0]["arrays"] > 100
    assert tables["resuming"][0]["bit_for_bit"]
    assert len(tables["evaluation"]) >= 2
    assert all(row["sound"] for row in tables["evaluation"])


def test_one_factor_at_a_time(rehearsal):
    _, _, tables = rehearsal
    rows = next(rows for name, rows in tables.items() if name.startswith("LNLN x2"))
    assert not [row for row in rows if "problem" in row]
    assert {row["form"] for row in rows} == {"plain", "tuned"}
    assert {row["depthwise"] for row in rows} == {"shifted", "grouped"}
    assert {row["precision"] for row in rows} == {"float32", "bfloat16"}
    assert {row["attention"] for row in rows} >= {"dense", "chunked"}
    assert len({row["batch"] for row in rows}) == 2
    assert all(row["step_ms"] > 0 for row in rows)


def test_what_comes_back_is_small_and_goes_on(rehearsal, tmp_path):
    output, _, tables = rehearsal
    files = [path for path in output.iterdir() if path.is_file()]
    assert len(files) <= 8
    assert all(path.stat().st_size <= 15 * 2**20 for path in files)
    state = min(output.glob("state*.safetensors"))
    steps = tables["learning curve"][-1]["step"]
    goes_on = ("train", "--start", str(state), "--go-on", "--set", f"steps={steps + 5}")
    done, tables = run(tmp_path, *goes_on, "--limits", "train=200")
    assert done.returncode == 0, done.stderr
    assert tables["learning curve"][-1]["step"] == steps + 5


def test_a_limit_loses_nothing_that_was_known(tmp_path):
    done, tables = run(tmp_path, "speed", "--limits", "speed=12")
    assert done.returncode == 0  # a limit is no failure
    assert tables["machine"][0]["what"] == "device"
    assert "at its limit" in tables["parts"][0]["ended"]
    assert "## machine" in (tmp_path / "results.md").read_text()


def test_wrong_calls(tmp_path):
    for arguments, problem in (
        (["sing"], "there is no part sing"),
        (["--limits", "check"], "=120"),
    ):
        done, _ = run(tmp_path, *arguments)
        assert done.returncode == 2
        assert problem in done.stderr
