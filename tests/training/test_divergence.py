import json

import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.training.divergence import Monitor, NonFiniteLossError
from lnln_jax.training.log import RunReport


def rows(losses, skipped=None):
    losses = jnp.asarray(losses, jnp.float32)
    metrics = {
        "loss": losses,
        "grad_norm": losses * 2,
        "learning_rate": jnp.full(len(losses), 1e-3),
        "skipped": jnp.zeros(len(losses)) if skipped is None else jnp.asarray(skipped, jnp.float32),
    }
    return [(metrics, len(losses))]


@pytest.fixture
def report(tmp_path):
    with RunReport(tmp_path, step=0, total_steps=100) as report:
        yield report


def events(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_spike_is_told_with_its_step(tmp_path, report):
    monitor = Monitor(tmp_path, spike_factor=5.0, skip_nonfinite=0)
    losses = np.linspace(10, 9, 30)
    losses[[3, 25]] = 60, 60  # the first comes before there is a median to measure it by
    summary = monitor.summarize(rows(losses), 30, report)
    assert summary["loss"] == pytest.approx(losses.mean())
    assert summary["grad_norm"] == 18
    ((event,),) = [events(tmp_path)]
    assert event["step"] == 26
    assert event["spike"].startswith("the loss is 60, 6.3 times the median of the 25 before.")
    assert f"`lnln replay {tmp_path} --step 26`" in event["spike"]
    monitor.summarize(rows([60.0]), 31, report)  # the past goes on over calls
    assert [event["step"] for event in events(tmp_path)] == [26, 31]


def test_no_factor_no_spikes(tmp_path, report):
    monitor = Monitor(tmp_path, spike_factor=0, skip_nonfinite=0)
    monitor.summarize(rows([1.0] * 30 + [1e6]), 31, report)
    assert events(tmp_path) == []


def test_skipped_steps_are_counted_and_named(tmp_path, report):
    monitor = Monitor(tmp_path, spike_factor=0, skip_nonfinite=2)
    summary = monitor.summarize(
        rows([1, np.nan, 3, np.inf, np.nan, 5], [0, 1, 0, 1, 1, 0]), 16, report
    )
    assert summary["skipped"] == 3
    assert summary["loss"] == pytest.approx(3)
    assert [event["step"] for event in events(tmp_path)] == [12, 14, 15]
    assert "nan and the norm of its gradient nan; skipped" in events(tmp_path)[0]["skipped"]
    monitor.summarize(rows([np.nan, np.nan], [1, 1]), 18, report)
    with pytest.raises(NonFiniteLossError, match=r"^step 19: the loss is nan"):
        monitor.summarize(rows([np.nan], [1]), 19, report)  # the third in a row


def test_what_is_not_skipped_ends_the_run(tmp_path, report):
    monitor = Monitor(tmp_path, spike_factor=0, skip_nonfinite=2)
    with pytest.raises(NonFiniteLossError, match=rf"step 2: .*replay {tmp_path} --step 2`"):
        monitor.summarize(rows([1, np.inf], [0, 0]), 2, report)
