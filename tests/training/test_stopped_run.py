"""A real process that is stopped and started again."""

import signal

import pytest

from lnln_jax.config import load_config, override
from lnln_jax.training.loop import Outcome, train
from lnln_jax.weights.runs import saved_steps
from tests.support.runs import (
    CONFIG,
    VARIABLE,
    Training,
    assert_equal,
    read_metrics,
    restore_everything,
    write_config,
)

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.mark.slow
def test_a_run_that_is_stopped_ends_bit_for_bit_where_another_does(tmp_path):
    steps = 100
    items = [f"steps={steps}", "log_every=1", "checkpoint_every=20", "keep_checkpoints=2"]
    config = write_config(tmp_path, override(CONFIG, items))
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert train(load_config(config), undisturbed) == Outcome(steps, stopped=False)

    stopped = Training(config, disturbed).at(10).send(signal.SIGTERM)
    status, out, err = stopped.end()
    assert status == 75, err
    (step,) = saved_steps(disturbed / "checkpoints")[-1:]
    assert 10 < step < steps
    assert out == f"stopped at step {step}; the same command goes on from there\n"
    assert read_metrics(disturbed)[-1]["step"] == step

    status, out, err = Training(config, disturbed).end()
    assert (status, out) == (0, f"trained {steps} steps; the run is in {disturbed}\n"), err

    assert_equal(restore_everything(disturbed, steps), restore_everything(undisturbed, steps))
    courses = [
        [{k: v for k, v in row.items() if k not in VARIABLE} for row in read_metrics(run)]
        for run in (disturbed, undisturbed)
    ]
    assert courses[0] == courses[1]  # each step once, and every digit of its loss
    assert [row["step"] for row in courses[0]] == list(range(1, steps + 1))
