"""Training runs whose length comes from a time: what is measured, and that it leaves no trace."""

import json
import time
from collections import Counter
from dataclasses import replace

import jax
import pytest

from lnln_jax.config import ModelConfig, OptimizerConfig, TrainConfig, override
from lnln_jax.training.budget import Costs
from lnln_jax.training.loop import Outcome, train
from lnln_jax.training.optimizer import make_schedule
from lnln_jax.weights.runs import saved_config, saved_steps
from tests.support.runs import CONFIG, assert_equal, read_metrics, restore_everything, save_pictures

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_costs_by_hand():
    config = replace(CONFIG, validate_every=100, checkpoint_every=30, sample_every=50)
    costs = Costs(step=1.0, validation=1e3, picture=1e6, save=1e-3)
    # The last step validates too, and each validation and each 30th step saves.
    assert costs.of(config, 0, 100) == pytest.approx(100 + 1e3 + 2e6 + 5e-3)
    assert costs.of(config, 0, 101) == pytest.approx(101 + 2e3 + 3e6 + 6e-3)
    assert costs.of(config, 99, 101) == pytest.approx(2 + 2e3 + 2e6 + 3e-3)
    assert costs.of(replace(config, sample_every=0), 0, 1) == pytest.approx(1 + 1e3 + 2e-3)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    """An experiment, with a budget of what its first step takes here and some seconds more."""
    folder = tmp_path_factory.mktemp("budget")
    pictures = save_pictures(folder / "pictures", 3, 40)
    config = replace(
        CONFIG,
        model=ModelConfig("edsr", 2, {"n_resblocks": 1, "n_feats": 8}),  # compiled in a second
        data=replace(CONFIG.data, validation=str(pictures), batch_size=8, lr_patch_size=24),
        optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=40, cosine_steps=400),
        steps=400,
        log_every=20,
    )
    begun = time.monotonic()
    train(override(config, ["steps=1", "schedule_steps=400"]), folder / "run")
    return replace(config, time_budget=f"{time.monotonic() - begun + 6:.0f}s")


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, train(config, folder, since=time.monotonic())


@pytest.mark.slow
def test_the_number_of_steps_is_written_down(run, config):
    folder, outcome = run
    saved = saved_config(folder / "checkpoints")
    assert outcome == Outcome(saved.steps, stopped=False)
    assert saved.steps > 1
    assert (saved.schedule_steps, saved.time_budget) == (400, config.time_budget)
    assert replace(saved, steps=400, schedule_steps=0, data=config.data, devices=0) == config
    assert json.loads((folder / "config.json").read_text())["steps"] == saved.steps
    events = [row for row in read_metrics(folder) if "time_budget" in row]
    assert [row["step"] for row in events] == [0]
    assert events[0]["time_budget"].startswith(f"{config.time_budget}: {saved.steps:,} steps at ")


@pytest.mark.slow
def test_the_whole_schedule_is_gone_through(run, config):
    folder, outcome = run
    schedule = make_schedule(config.optimizer)
    rates = {
        row["step"]: row["train/learning_rate"]
        for row in read_metrics(folder)
        if "train/learning_rate" in row
    }
    expected = {step: float(schedule((step - 1) * 400 / outcome.step)) for step in rates}
    # A position is known to 1e-7 of 400, and so is the cosine of a float32 near pi.
    assert rates == {
        step: pytest.approx(rate, rel=1e-5, abs=1e-9) for step, rate in expected.items()
    }
    assert max(rates) == outcome.step
    assert rates[outcome.step] < 1e-3 * config.optimizer.learning_rate


@pytest.mark.slow
def test_no_step_fits(config, tmp_path):
    """Nothing is trained, and the error says what it takes."""
    problem = r"^time_budget is 1s, in which no step fits: .* take about \d+ s; give more"
    with pytest.raises(ValueError, match=problem):
        train(replace(config, time_budget="1s"), tmp_path / "run", since=time.monotonic())
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.slow
def test_the_same_command_finds_nothing_to_do(run, config, capsys):
    folder, outcome = run
    before = read_metrics(folder)
    assert train(config, folder) == outcome
    assert read_metrics(folder) == before
    assert " was " not in capsys.readouterr().err


@pytest.mark.slow
def test_what_was_measured_leaves_no_trace(run, config, tmp_path):
    """The same numbers by hand, and stopped on the way, make the same run bit for bit."""
    folder, outcome = run
    fixed = replace(config, steps=outcome.step, schedule_steps=400, time_budget="")
    first = replace(config, steps=outcome.step, schedule_steps=400, checkpoint_every=7)
    stopped = train(first, tmp_path, deadline=time.monotonic(), since=time.monotonic())
    assert stopped == Outcome(0, stopped=True)  # nothing was measured in no time
    assert not saved_steps(tmp_path / "checkpoints")
    assert train(fixed, tmp_path, deadline=time.monotonic()) == Outcome(1, stopped=True)
    assert train(fixed, tmp_path) == outcome
    actual, expected = (restore_everything(path, outcome.step) for path in (tmp_path, folder))
    assert_equal(actual, expected)


@pytest.mark.slow
def test_another_length_compiles_nothing(run, config, tmp_path):
    """The compiled training step is one for all lengths."""
    events = Counter()

    def count(event: str, **_: object) -> None:
        events.update([event.split("/")[-1]])

    jax.monitoring.register_event_listener(count)
    items = ["steps=3", "schedule_steps=400", "time_budget="]
    train(override(config, items), tmp_path)
    jax.monitoring.unregister_event_listener(count)
    assert "cache_misses" not in events
    assert events["cache_hits"] == events["compile_requests_use_cache"] >= 1
