"""Real processes that are killed, and real disks that are full or cannot be written to."""

import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lnln_jax.config import override
from lnln_jax.weights.runs import load_run, saved_steps
from tests.support.runs import (
    CONFIG,
    VARIABLE,
    Training,
    assert_equal,
    read_metrics,
    restore_everything,
    sharing,
    write_config,
)

SLOW = pytest.mark.slow

# Imports once and forks for each start, which saves the seconds that importing JAX takes.
NURSERY = """
import os, sys
from pathlib import Path
import lnln_jax.training.loop, lnln_jax.cli, orbax.checkpoint, optax, grain, tensorboardX

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.close(0)
        output = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.exit(lnln_jax.cli.main(line.split()))
    os.write(1, f"{pid}\\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(1, f"{os.waitstatus_to_exitcode(status)}\\n".encode())
"""


class Nursery:
    """A process that starts others."""

    def __init__(self, log, environment):
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, log],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def start(self, command):
        self._process.stdin.write((" ".join(map(str, command)) + "\n").encode())
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def ends_within(self, seconds):
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def status(self):
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return sharing(tmp_path_factory.mktemp("compiled"))


def being_saved(checkpoints):
    """The steps of checkpoints that are half-written."""
    return [int(path.name.split(".")[0]) for path in checkpoints.glob("[0-9]*.*tmp*")]


# Half a minute even with three kills: whole runs, in processes of their own, are what it is about.
@pytest.mark.parametrize(
    ("kills", "steps", "seconds"), [(3, 100, 2), pytest.param(20, 400, 4, marks=SLOW)]
)
def test_killed_many_times_a_run_ends_bit_for_bit_where_another_does(
    tmp_path, environment, kills, steps, seconds
):
    items = [f"steps={steps}", "log_every=5", "checkpoint_every=10", "keep_checkpoints=2"]
    config = write_config(tmp_path, override(CONFIG, items))
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    checkpoints, log = disturbed / "checkpoints", tmp_path / "log"
    nursery = Nursery(str(log), environment)
    nursery.start(["train", config, "--output", undisturbed])
    assert nursery.status() == 0, log.read_text()

    command = ["train", config, "--output", disturbed]
    rng = random.Random(0)
    reached, while_saving = [], 0
    for kill in range(kills):
        before = max(saved_steps(checkpoints), default=0)
        pid = nursery.start(command)
        # Every other one is killed while it saves, the others at any moment of their first seconds,
        # or soon after their first checkpoint: on a fast machine the run would end otherwise.
        if kill % 2:
            later = before + 10 * rng.randint(1, 2)
            while not any(step >= later for step in being_saved(checkpoints)):
                assert not nursery.ends_within(0.0005), log.read_text()
            while_saving += 1
        else:
            moment = time.monotonic() + rng.uniform(0, seconds)
            while time.monotonic() < moment and before + 10 not in saved_steps(checkpoints):
                assert not nursery.ends_within(0.01), log.read_text()
        os.kill(pid, signal.SIGKILL)
        assert nursery.status() == -signal.SIGKILL, log.read_text()
        reached.append(max(saved_steps(checkpoints), default=0) - before)
    nursery.start(command)
    assert nursery.status() == 0, log.read_text()
    nursery.close()
    assert while_saving == kills // 2
    assert 0 < sum(reached) < steps

    assert_equal(restore_everything(disturbed, steps), restore_everything(undisturbed, steps))
    courses = [
        [{k: v for k, v in row.items() if k not in VARIABLE} for row in read_metrics(run)]
        for run in (disturbed, undisturbed)
    ]
    assert courses[0] == courses[1]


@pytest.mark.slow
def test_the_second_run_in_a_folder_is_refused(tmp_path, environment):
    items = ["steps=1000000", "log_every=1", "validate_every=1000000"]
    config = write_config(tmp_path, override(CONFIG, items))
    first = Training(config, tmp_path / "run", environment).at(2)
    status, out, err = Training(config, tmp_path / "run", environment).end()
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("lnln: error: another process is training in ")
    status, out, err = first.send(signal.SIGTERM).end()
    assert status == 75, err
    (step,) = saved_steps(tmp_path / "run" / "checkpoints")
    assert out == f"stopped at step {step}; the same command goes on from there\n"


def limit_files(training, size):
    """No file of a process may grow beyond `size`, which it is told as of a full disk."""
    resource.prlimit(training._process.pid, resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
def test_metrics_that_cannot_be_written_end_the_run(tmp_path, environment):
    items = ["steps=1000000", "log_every=1", "checkpoint_every=1000000", "validate_every=1000000"]
    config, run = write_config(tmp_path, override(CONFIG, items)), tmp_path / "run"
    training = Training(config, run, environment).at(3)
    limit_files(training, (run / "metrics.jsonl").stat().st_size + 1000)
    status, out, err = training.end()
    *steps, last = err.splitlines()
    assert (status, out) == (1, "")
    assert last.startswith(f"lnln: error: metrics cannot be written to {run} (File too large); ")
    assert all(line.startswith("step ") for line in steps), err


def long_run(folder: Path, *items: str) -> tuple[Path, Path]:
    """Returns a configuration that does not end by itself, and the folder of its run."""
    return write_config(folder, override(CONFIG, [*items, "steps=1000000"])), folder / "r"


@pytest.mark.slow
def test_a_checkpoint_that_fails_half_way_leaves_those_before(tmp_path, environment):
    items = ["log_every=5", "checkpoint_every=5", "keep_checkpoints=100", "validate_every=1000000"]
    config, run = long_run(tmp_path, *items)
    training = Training(config, run, environment).at(20)
    limit_files(training, 30_000)  # more than metrics have, and less than a checkpoint's metadata
    status, out, err = training.end()
    *steps, line = err.splitlines()
    assert (status, out) == (1, "")
    message = f"lnln: error: a checkpoint cannot be written to {run / 'checkpoints'} (File too"
    assert line.startswith(message)
    assert all(step.startswith("step ") for step in steps), err
    last = saved_steps(run / "checkpoints")[-1]
    assert being_saved(run / "checkpoints")
    assert load_run(run)[2] == last

    goes_on = Training(config, run, environment).at(last + 10).send(signal.SIGTERM)
    assert goes_on.end()[0] == 75
    assert saved_steps(run / "checkpoints")[-1] >= last + 10
    assert not being_saved(run / "checkpoints")


@pytest.mark.slow
def test_a_run_that_cannot_save_ends_at_once(tmp_path, environment):
    """Orbax waits for 5 minutes, in a thread, for a folder that it could not make."""
    items = ["model.n_feats=64", "log_every=1", "checkpoint_every=5", "validate_every=1000000"]
    config, run = long_run(tmp_path, *items)
    training = Training(config, run, environment).at(7)
    (run / "checkpoints").rename(run / "aside")
    (run / "checkpoints").touch()
    status, out, err = training.end(within=60)
    *steps, line = err.splitlines()
    assert (status, out) == (1, "")
    assert line.startswith(
        f"lnln: error: a checkpoint cannot be written to {run / 'checkpoints'} ("
    )
    assert all(step.startswith("step ") for step in steps), err


class Disk:
    """A small disk."""

    def __init__(self, folder):
        self.folder = folder
        self._run("mount", "-t", "tmpfs", "-o", "size=1m", "none", folder)

    def remount(self, options):
        self._run("mount", "-o", f"remount,{options}", self.folder)

    def close(self):
        self._run("umount", self.folder)

    def _run(self, *command):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"mounting a small disk is not permitted here: {result.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    yield disk
    disk.close()


@pytest.mark.slow
def test_full_and_read_only_disks(tmp_path, disk, environment):
    items = ["log_every=1", "checkpoint_every=5", "keep_checkpoints=100", "validate_every=1000000"]
    config = write_config(tmp_path, override(CONFIG, [*items, "steps=10000"]))
    run = disk.folder / "run"

    status, _, err = Training(config, run, environment).end()  # no room for the first
    assert status == 1
    message = f"lnln: error: a checkpoint cannot be written to {run / 'checkpoints'} (No space left"
    assert err.splitlines()[-1].startswith(message)
    assert not saved_steps(run / "checkpoints")

    disk.remount("size=4m")
    status, _, err = Training(config, run, environment).end()
    assert status == 1
    assert err.splitlines()[-1].startswith(message)
    last = saved_steps(run / "checkpoints")[-1]
    assert read_metrics(run)[-1]["step"] == last + 5
    assert load_run(run)[2] == last

    disk.remount("size=40m")
    goes_on = Training(config, run, environment).at(last + 10).send(signal.SIGTERM)
    assert goes_on.end()[0] == 75
    assert saved_steps(run / "checkpoints")[-1] >= last + 10

    disk.remount("ro")
    before = {p: p.stat().st_mtime_ns for p in disk.folder.rglob("*")}
    for output in (run, disk.folder / "new"):
        status, _, err = Training(config, output, environment).end()
        text = f"{output} cannot be written to (Read-only file system); choose another --output"
        assert (status, err.splitlines()[-1]) == (1, f"lnln: error: {text}")
    assert {p: p.stat().st_mtime_ns for p in disk.folder.rglob("*")} == before
    assert load_run(run)[2] >= last + 10
