import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lnln_jax.cli import main
from lnln_jax.config import override
from lnln_jax.training.loop import train
from tests.support.runs import CONFIG, read_metrics

pytestmark = pytest.mark.usefixtures("standard_promotion")
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay") / "run"
    items = ["steps=12", "schedule_steps=6", "optimizer.cosine_steps=6", "optimizer.warmup_steps=2"]
    config = replace(override(CONFIG, items), log_every=1, checkpoint_every=5)
    train(config, folder)
    return folder


def listing(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if "replay" not in p.parts}


# Half a minute with the run that it replays, the one whole run of the fast tier in this process.
@pytest.mark.parametrize(
    ("step", "start"), [(3, 0), (6, 5), *(pytest.param(*p, marks=SLOW) for p in [(9, 5), (12, 10)])]
)
def test_a_step_again(run, tmp_path, capsys, step, start):
    before = listing(run)
    assert main(["replay", str(run), "--step", str(step), "--output", str(tmp_path / "o")]) == 0
    assert listing(run) == before
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert (report["step"], report["replayed_from"]) == (step, start)
    (row,) = [row for row in read_metrics(run) if row["step"] == step and "train/loss" in row]
    # The same state and batch, in another program: only the last sums round differently.
    assert report["loss"] == pytest.approx(row["train/loss"], rel=1e-6)
    assert report["grad_norm"] == pytest.approx(row["train/grad_norm"], rel=1e-5)
    assert report["loss"] == pytest.approx(
        np.mean([patch["mean_absolute_error"] for patch in report["patches"]]), rel=1e-6
    )
    errors = [patch["mean_absolute_error"] for patch in report["patches"]]
    assert errors == sorted(errors, reverse=True)
    assert {patch["source"] for patch in report["patches"]} == {"dead leaves"}
    assert all(0 <= patch["image"] < 4 for patch in report["patches"])
    assert not any(report["not_finite"].values())
    with Image.open(tmp_path / "o" / "batch.png") as sheet:
        assert sheet.size == (3 * 24, 2 * 24)
    assert f"step {step}, replayed from step {start}: loss" in capsys.readouterr().out


@pytest.mark.slow
def test_a_step_that_became_nan(tmp_path, capsys):
    config = override(CONFIG, ["optimizer.learning_rate=2e9", "steps=9", "checkpoint_every=1"])
    with pytest.raises(RuntimeError, match=rf"step 2: .*`lnln replay {tmp_path} --step 2` shows"):
        train(config, tmp_path)
    assert main(["replay", str(tmp_path), "--step", "2"]) == 0
    out = capsys.readouterr().out
    assert "gradients that are not finite: " in out
    text = (tmp_path / "replay" / "0000002" / "report.json").read_text()
    report = json.loads(text, parse_constant=pytest.fail)  # JSON knows no NaN
    assert report["not_finite"]["gradients"]
    assert not report["not_finite"]["parameters"]  # huge, but numbers


@pytest.mark.slow
def test_skipped_steps_leave_everything_as_it_was(tmp_path, capsys):
    """A weight of 1e38 makes infinite gradients from the first step on."""
    items = ["optimizer.skip_nonfinite=3", "optimizer.learning_rate=2e9", "steps=20"]
    with pytest.raises(RuntimeError, match=r"step 5: the loss is "):
        train(override(CONFIG, [*items, "checkpoint_every=1"]), tmp_path)
    skipped = [row["step"] for row in read_metrics(tmp_path) if "skipped" in row]
    assert skipped == [2, 3, 4]
    rows = [row for row in read_metrics(tmp_path) if "train/skipped" in row]
    assert [row["train/skipped"] for row in rows] == [0, 1, 1, 1]


@pytest.mark.slow
def test_a_step_that_pmap_took(tmp_path):
    config = override(CONFIG, ["parallel=pmap", "steps=3", "log_every=1"])
    train(config, tmp_path / "run")
    assert main(["replay", str(tmp_path / "run"), "--step", "3"]) == 0
    report = json.loads((tmp_path / "run" / "replay" / "0000003" / "report.json").read_text())
    row = read_metrics(tmp_path / "run")[-1]
    assert report["loss"] == pytest.approx(row["train/loss"], rel=1e-5)


@pytest.mark.slow
def test_the_settings_are_those_of_the_step(run, tmp_path, capsys):
    """Not those of today: a run may have been changed on its way."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    changed = override(CONFIG, ["steps=20", "log_every=1", "optimizer.b1=0.5"])
    # The first call ends before it has a checkpoint of its own.
    train(replace(changed, steps=12), folder, allow_config_change=True)
    train(changed, folder, allow_config_change=True)
    assert sorted(map(int, os.listdir(folder / "checkpoints"))) == [10, 12, 20]
    for step, start in ((9, 0), (12, 10), (15, 12)):
        assert main(["replay", str(folder), "--step", str(step)]) == 0
        report = json.loads((folder / "replay" / f"{step:07d}" / "report.json").read_text())
        assert report["replayed_from"] == start
        (row,) = [row for row in read_metrics(folder) if row["step"] == step]
        assert report["loss"] == pytest.approx(row["train/loss"], rel=1e-6)
    for checkpoint in ("10", "12"):
        shutil.rmtree(folder / "checkpoints" / checkpoint)
    assert main(["replay", str(folder), "--step", "15"]) == 1
    assert "no checkpoint between them and the step is left" in capsys.readouterr().err


def test_a_step_after_the_end(run, capsys):
    assert main(["replay", str(run), "--step", "13"]) == 1
    assert f"step is 13, but the run in {run} has 12 steps" in capsys.readouterr().err


def test_no_run(tmp_path, capsys):
    assert main(["replay", str(tmp_path), "--step", "2"]) == 1
    assert f"{tmp_path} is not a training run (" in capsys.readouterr().err
