"""Two processes of two devices each, as scripts/launch/local.py starts them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import psutil
import pytest

from lnln_jax.cli import main
from lnln_jax.config import OptimizerConfig
from lnln_jax.weights.runs import load_run, saved_config, saved_steps
from tests.support.checkout import ROOT
from tests.support.runs import CONFIG, read_metrics, save_pictures, write_config

LOCAL = ROOT / "scripts" / "launch" / "local.py"


class Job:
    """Two processes of one command, and what they print."""

    def __init__(self, *command, environment=None):
        self._process = subprocess.Popen(
            [sys.executable, LOCAL, "--processes", "2", "--cpu-devices", "2", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (environment or {}),
        )
        self.lines = []

    def until(self, pattern):
        for line in self._process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return self
        raise AssertionError("".join(self.lines))

    def worker(self, number):
        for process in psutil.Process(self._process.pid).children():
            if process.environ()["JAX_PROCESS_ID"] == str(number):
                return process
        raise AssertionError(f"there is no process {number}")

    def end(self):
        out, _ = self._process.communicate(timeout=300)
        return self._process.returncode, "".join(self.lines) + out


pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A config file of a short training with validation, and what processes share of XLA."""
    folder = tmp_path_factory.mktemp("experiment")
    config = replace(
        CONFIG,
        data=replace(
            CONFIG.data, batch_size=8, validation=str(save_pictures(folder / "validation", 3, 40))
        ),
        # See test_parallel.py for both.
        optimizer=OptimizerConfig(learning_rate=1e-3, eps=1e-2),
        loss="l2",
        steps=10,
        log_every=1,
        validate_every=10,
    )
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiles faster
    }
    return write_config(folder, config), cache


@pytest.fixture(scope="module")
def run(experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "run"
    config, cache = experiment
    begun = time.monotonic()
    status, output = Job("train", config, "--output", folder, environment=cache).end()
    assert status == 0, output
    return folder, output, time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_compiler")
def test_two_processes_train_as_one_does(experiment, run, tmp_path):
    config, _ = experiment
    assert main(["train", str(config), "--output", str(tmp_path / "run")]) == 0
    one, two = (read_metrics(folder) for folder in (tmp_path / "run", run[0]))
    assert [row["step"] for row in two] == [row["step"] for row in one]
    for a, b in zip(two, one, strict=True):
        assert a.keys() == b.keys()
        for key in a.keys() & {"train/loss", "train/grad_norm"}:
            assert a[key] == pytest.approx(b[key], rel=1e-6), (key, a["step"])
        # Of results in 8 bits: a half but for rounding may go either way, which makes 5e-5 dB.
        scores = [row.get("validation/psnr_y", 0.0) for row in (a, b)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    networks = [load_run(folder)[1] for folder in (run[0], tmp_path / "run")]
    flat = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(net)]) for net in networks]
    assert np.linalg.norm(flat[0] - flat[1]) <= 1e-6 * np.linalg.norm(flat[1])


@pytest.mark.slow
def test_the_first_process_alone_writes_and_speaks(run):
    folder, output, _ = run
    assert f"0: trained 10 steps; the run is in {folder}\n" in output
    assert "4 x cpu of 2 processes" in output
    # Gloo says so whenever it connects, and its two threads may cut each other's line in two; the
    # runtime warns, with a date first, where a machine is slow. Neither is of the program.
    runtime = re.compile(r"1: ([IWEF]\d{4}\b.*|.*\[Gloo\].*|.*\bpeer ranks\b.*)?")
    spoken = [line for line in output.splitlines() if line.startswith("1: ")]
    assert [line for line in spoken if not runtime.fullmatch(line)] == []
    assert len(list((folder / "tensorboard").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_compiler")
def test_going_on_with_another_number_of_devices(experiment, run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    config, cache = experiment
    assert main(["train", str(config), "steps=11", "--output", str(folder)]) == 0
    assert "steps was 10 and is 11, which changes no step\n" in capsys.readouterr().err
    status, output = Job("train", config, "steps=12", "--output", folder, environment=cache).end()
    assert status == 0, output
    steps = [row["step"] for row in read_metrics(folder) if "train/loss" in row]
    assert steps == list(range(1, 13))


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_one_step(experiment, tmp_path):
    config, cache = experiment
    items = ["steps=1000000", "validate_every=1000000", "data.validation=", "data.placement=host"]
    job = Job("train", config, *items, "--output", tmp_path / "run", environment=cache)
    job.until(r"step +20 ").worker(1).send_signal(signal.SIGTERM)
    status, output = job.end()
    assert status == 75, output
    (step,) = saved_steps(tmp_path / "run" / "checkpoints")
    assert f"0: stopped at step {step}; the same command goes on from there\n" in output
    assert read_metrics(tmp_path / "run")[-1]["step"] == step


@pytest.mark.slow
def test_two_processes_agree_on_what_a_budget_holds_and_on_when_to_end(experiment, run, tmp_path):
    """Steps of a budget of hours, and 20 s more than the run before took, which compiled."""
    config, cache = experiment
    folder, limit = tmp_path / "run", round(run[2] + 20)
    items = ["time_budget=5h", "steps=1000", "log_every=20", "parallel=fsdp"]
    command = ["train", config, *items, "--output", folder, "--time-limit", f"{limit}s"]
    begun = time.monotonic()
    status, output = Job(*command, environment=cache).end()
    assert status == 75, output
    assert time.monotonic() - begun < limit + 5  # local.py begins before its processes
    saved = saved_config(folder / "checkpoints")
    assert (saved.schedule_steps, saved.time_budget) == (1000, "5h")
    assert saved.steps > 1000
    step = saved_steps(folder / "checkpoints")[-1]
    assert f"0: stopped at step {step}; the same command goes on from there\n" in output
    assert read_metrics(folder)[0]["time_budget"].startswith(f"5h: {saved.steps:,} steps at ")


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_when_one_dies_the_other_ends(experiment, tmp_path, number):
    config, cache = experiment
    items = ["steps=1000000", "validate_every=1000000", "data.validation=", "checkpoint_every=10"]
    job = Job("train", config, *items, "--output", tmp_path / "run", environment=cache)
    job.until(r"step +30 ").worker(number).kill()
    status, output = job.end()
    assert status != 0
    assert "local.py: killed" not in output  # it ended by itself
    if number == 1:
        assert "lnln: error: this process lost the others (" in output
    else:  # the one that coordinates: JAX itself ends the other
        assert "another task died" in output
    assert saved_steps(tmp_path / "run" / "checkpoints")


@pytest.mark.slow
def test_evaluation_is_shared_and_the_same(run, experiment, data_dir, tmp_path, capsys):
    command = ["evaluate", str(run[0]), "--data", str(data_dir / "Set5"), "--save-images"]
    # As many threads on both sides: how XLA divides a sum among them is seen in the last bit.
    environment = experiment[1] | {"NPROC": "2", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    alone = [sys.executable, "-m", "lnln_jax", *command, "--output", str(tmp_path / "one")]
    subprocess.run(alone, env=os.environ | environment, cwd=ROOT, check=True, capture_output=True)
    status, output = Job(*command, "--output", tmp_path / "two", environment=environment).end()
    assert status == 0, output
    one, two = (
        [
            (result["model"], [(s["image"], s["psnr"], s["ssim"]) for s in result["images"]])
            for result in json.loads((tmp_path / name / "results.json").read_text())["results"]
        ]
        for name in ("one", "two")
    )
    assert two == one
    pictures = [sorted(p.name for p in (tmp_path / n).rglob("*.png")) for n in ("one", "two")]
    assert pictures[0] == pictures[1]
    assert "0: written to " in output
    assert "1: |" not in output


@pytest.mark.slow
def test_processes_that_differ_are_refused(experiment, tmp_path):
    """A config file is a program, and may come to something else on each machine."""
    config, cache = experiment
    number = 'int(__import__("os").environ["JAX_PROCESS_ID"])'
    path = tmp_path / "changed.py"
    path.write_text(f"{config.read_text()}config = override(config, [f'seed={{{number}}}'])\n")
    status, output = Job("train", path, "--output", tmp_path / "run", environment=cache).end()
    assert status == 1, output
    assert "the configurations of process 1 differ from those of process 0; start all" in output
    assert not (tmp_path / "run").exists()


def test_wrong_calls(tmp_path, capsys):
    config = write_config(tmp_path, CONFIG)
    assert main(["train", str(config), "--process-id", "1"]) == 1
    assert "belong to --distributed; add it" in capsys.readouterr().err
    assert main(["train", str(config), "--distributed", "--coordinator", "10.0.0.1"]) == 1
    assert "'10.0.0.1', without a port; write it as host:port" in capsys.readouterr().err
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COOR", "SLURM_"))}
    result = subprocess.run(
        [sys.executable, "-m", "lnln_jax", "train", str(config), "--distributed"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("lnln: error: --distributed finds no other processes (")
    assert "Traceback" not in result.stderr
