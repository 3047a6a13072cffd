"""Deadlines, and real processes of `lnln train --time-limit`.

The processes take as long as it takes to import and compile, and some seconds of training.
"""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from lnln_jax.config import ModelConfig, TrainConfig, override
from lnln_jax.training.clock import Clock, ending_by
from lnln_jax.training.experiment import open_experiment
from lnln_jax.training.inputs import open_validation
from lnln_jax.training.log import RunReport
from lnln_jax.training.look import Look
from lnln_jax.weights.runs import saved_steps
from tests.support.runs import (
    CONFIG,
    Training,
    assert_equal,
    read_metrics,
    restore_everything,
    save_pictures,
    sharing,
    write_config,
)

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_a_deadline_beyond_all_clocks(tmp_path):
    years = time.monotonic() + 1e16
    with ending_by(years, tmp_path, 75):  # its thread waits for as long as threads can
        time.sleep(0.2)  # what fails in a thread fails the test


def test_a_budget_is_checked_before_anything_is_read():
    with pytest.raises(ValueError, match=r"^time_budget is 'soon'; write a time"):
        TrainConfig(time_budget="soon")


# Sleeps, starts itself anew, sleeps, and says how old it is.
AGED = """
import os, sys, time
time.sleep(0.5)
if "again" not in sys.argv:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], "again"])
from lnln_jax.training.clock import process_start
time.sleep(0.25)
print(time.monotonic() - process_start())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell it to Python")
def test_a_process_knows_when_it_began():
    begun = time.monotonic()
    age = float(
        subprocess.run([sys.executable, "-c", AGED], capture_output=True, check=True).stdout
    )
    # The system counts in hundredths of a second.
    assert 1.25 - 0.02 <= age <= time.monotonic() - begun + 0.02


def test_what_is_kept_in_reserve(tmp_path):
    """The margin of 2 s and 2 % of the time, a checkpoint, and what else is still to come."""
    clock = Clock(time.monotonic() + 100, state_bytes=200_000_000)
    # 100 - 4 - 3 of a first checkpoint of this size are 93; the rest is what this test may take.
    assert not clock.over(92)
    assert clock.over(93)
    clock.saves(tmp_path / "1")
    assert clock.over(90)  # a checkpoint is being written, and another has to be
    (tmp_path / "1").mkdir()
    assert not clock.over(95)  # they take next to nothing, as is known now
    assert clock.over(96)
    assert Clock(time.monotonic() + 1, 0).over()
    assert not Clock(None, 0).over(1e9)


@pytest.mark.slow
def test_a_process_that_hangs_is_ended(tmp_path):
    program = """
import sys, time
from pathlib import Path
from lnln_jax.training.clock import ending_by
with ending_by(time.monotonic() + 60, Path(sys.argv[1]), 75):
    pass
print("out")
with ending_by(time.monotonic() + 1, Path(sys.argv[1]), 75):
    time.sleep(100)
"""
    (tmp_path / "checkpoints" / "12").mkdir(parents=True)
    (tmp_path / "checkpoints" / "7").mkdir()
    (tmp_path / "checkpoints" / "15.orbax-checkpoint-tmp").mkdir()
    command = [sys.executable, "-c", program, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert (result.returncode, result.stdout) == (75, "out\n")
    assert result.stderr == (
        "lnln: the time limit is over, and what came after step 12 is lost; the same command goes "
        "on from there\n"
    )


# ---- validation that does not fit ----


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """An experiment with a validation of seconds, and a state."""
    folder = save_pictures(tmp_path_factory.mktemp("pictures") / "many", 40, 128)
    config = override(CONFIG, [f"data.validation={folder}", "ema_decay=0", "model.n_feats=32"])
    experiment = open_experiment(config)
    with experiment.runner:
        yield experiment, experiment.start(), open_validation(config)


@pytest.mark.slow
def test_a_validation_is_given_up_or_not_begun(validated, tmp_path):
    experiment, state, benchmark = validated

    def look(seconds, expected):
        clock = Clock(None if seconds is None else time.monotonic() + seconds, 0)
        with RunReport(tmp_path, step=1, total_steps=1) as report:
            looking = Look(experiment, benchmark, clock, tmp_path)
            looking.expects(expected)
            scores = looking.at(state, 1, {"validation", "picture"}, 0.0, report)
            return scores, clock.took["validation"]

    look(None, 0.0)  # compiles
    scores, took = look(None, 0.0)
    assert scores.keys() == {"psnr_y", "ssim_y"}
    (tmp_path / "samples" / "0000001_0.png").unlink()
    reserve = 3.0  # of the margin and the first checkpoint
    scores, given_up = look(reserve + 0.02 * took + took / 2, 0.0)
    assert scores == {}
    assert took / 4 < given_up < took
    scores, never = look(reserve + 20.0, 20.0)
    assert (scores, never) == ({}, 20.0)
    rows = [row for row in read_metrics(tmp_path) if "not_validated" in row]
    assert rows == [{"step": 1, "not_validated": "the time limit is near"}] * 2
    assert not list((tmp_path / "samples").glob("*_0.png"))


# ---- runs ----


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A config, what its processes share, and the seconds of one that compiles."""
    folder = tmp_path_factory.mktemp("started")
    pictures = save_pictures(folder / "pictures", 2, 40)
    items = ["steps=1000000", "log_every=10", "checkpoint_every=50", "validate_every=100"]
    items += [f"data.validation={pictures}", "data.batch_size=8", "keep_checkpoints=2"]
    small = ModelConfig("edsr", 2, {"n_resblocks": 1, "n_feats": 8})  # compiled in a second
    config = write_config(folder, override(replace(CONFIG, model=small), items))
    environment = sharing(folder / "compiled")
    begun = time.monotonic()
    status, _, err = Training(config, folder / "run", environment, "steps=2").end()
    assert status == 0, err
    return config, environment, time.monotonic() - begun


@pytest.mark.slow
def test_a_run_ends_before_its_limit_and_goes_on_bit_for_bit(started, tmp_path):
    config, environment, seconds = started
    run, limit = tmp_path / "run", round(seconds + 8)
    begun = time.monotonic()
    status, out, err = Training(config, run, environment, "--time-limit", f"{limit}s").end()
    took = time.monotonic() - begun
    assert status == 75, err
    assert took < limit
    step = saved_steps(run / "checkpoints")[-1]
    assert step > 2
    assert out == f"stopped at step {step}; the same command goes on from there\n"
    assert read_metrics(run)[-1]["step"] == step

    more = ["--time-limit", "1h", f"steps={step + 5}"]
    status, out, err = Training(config, run, environment, *more).end()
    assert (status, out) == (0, f"trained {step + 5} steps; the run is in {run}\n"), err
    undisturbed = tmp_path / "undisturbed"
    status, _, err = Training(config, undisturbed, environment, f"steps={step + 5}").end()
    assert status == 0, err
    actual, expected = (restore_everything(path, step + 5) for path in (run, undisturbed))
    assert_equal(actual, expected)


@pytest.mark.slow
def test_a_compilation_that_is_longer_than_the_limit(started, tmp_path):
    _, environment, seconds = started
    items = ["data.batch_size=64", "data.lr_patch_size=24", "model.n_resgroups=10"]
    items += ["model.n_resblocks=18", "model.n_feats=64", "model.reduction=16"]
    config, limit = write_config(tmp_path, override(CONFIG, items)), max(1, round(seconds / 2))
    begun = time.monotonic()
    run = tmp_path / "run"
    status, out, err = Training(config, run, environment, "--time-limit", str(limit)).end()
    assert (status, out) == (75, ""), err
    assert time.monotonic() - begun < limit
    assert err.splitlines()[-1] == (
        "lnln: the time limit is over, and nothing is saved yet; the same command begins again, "
        "and needs more time"
    )
    assert not saved_steps(run / "checkpoints")


def test_a_wrong_limit(capsys, tmp_path):
    from lnln_jax.cli import main

    config = write_config(tmp_path, CONFIG)
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(config), "--time-limit", "soon"])
    assert "argument --time-limit: the time is 'soon'; write a time" in capsys.readouterr().err
