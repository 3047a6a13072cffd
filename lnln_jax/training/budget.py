"""How many training steps fit into a time budget: measured before the first one, and set once.

The steps that are measured are taken from a copy of the state, so the run itself begins with the
state and the batches that it would have begun with. What is compiled for them, and for validation,
is what the run goes on with.
"""

import bisect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from lnln_jax.config import TrainConfig
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.test_sets import Benchmark
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.runtime.distributed import gather
from lnln_jax.runtime.durations import seconds_of
from lnln_jax.training.clock import process_start
from lnln_jax.training.dispatch import Pace
from lnln_jax.training.experiment import Experiment
from lnln_jax.training.runners import StepRunner
from lnln_jax.training.state import TrainState

_WINDOWS = 3  # at most, in which the pace is measured
_STEADY = 0.03  # by which two may differ for the pace to be steady
_WINDOW = (0.5, 5.0)  # seconds that one takes, at least and at most
_SHARE = 0.01  # of the budget that one takes between them, and that is kept in reserve
_SAVE = (0.3, 2e-9)  # seconds, and seconds a byte, that the steps wait for a checkpoint
_END = (2.0, 1e-8)  # those that the last checkpoint and the end of the process take


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a training run take."""

    step: float
    validation: float
    picture: float
    save: float

    def of(self, config: TrainConfig, first: int, steps: int) -> float:
        """Returns the seconds that the steps after `first`, up to `steps`, take with the rest."""

        def times(every: int) -> int:
            return math.ceil(steps / every) - first // every

        validations = times(config.validate_every)
        pictures = times(config.sample_every) if config.sample_every else 0
        return (
            (steps - first) * self.step
            + validations * self.validation
            + pictures * self.picture
            + (validations + times(config.checkpoint_every)) * self.save
        )


def fit_to_budget(
    experiment: Experiment,
    state: TrainState,
    benchmark: Benchmark | None,
    *,
    since: float | None,
    stops: Callable[[], bool],
) -> Experiment | None:
    """Measures the costs of a run, and sets its length so that it ends when its budget does.

    All processes must call it together; they come to the same number.

    Args:
      experiment: experiment with a `time_budget`; its stream of batches is afterwards where it was.
      state: state that the run begins with; it stays as it is.
      benchmark: images that the run validates on; None for none.
      since: begin of the budget, on the clock of `time.monotonic`; None: that of the process.
      stops: tells whether the run has been asked to stop meanwhile.

    Returns:
      The experiment with `steps`, `schedule_steps` and a remark on them; None if the run has been
      asked to stop.

    Raises:
      ValueError: no step fits into the budget.
    """
    config, runner, start = experiment.config, experiment.runner, int(state.step)
    since = process_start() if since is None else since
    budget = seconds_of("time_budget", config.time_budget)
    position = runner.stream.get_state()
    rate = _pace_of(runner, _copied(state), config, _SHARE * budget, stops)
    runner.stream.set_state(position)
    if rate is None:
        return None
    validation, image = (
        (0.0, 0.0) if benchmark is None else _validation(experiment, state, benchmark)
    )
    size = experiment.state_bytes
    costs = Costs(1 / rate, validation, 2 * image, _SAVE[0] + _SAVE[1] * size)
    left = budget * (1 - _SHARE) - (_END[0] + _END[1] * size) - (time.monotonic() - since)
    left = float(gather([left]).min())
    lengths = range(start + 1, start + 1 + max(1, int(left * rate)))
    fitting = bisect.bisect_right(lengths, left, key=lambda n: costs.of(config, start, n))
    if not fitting:
        needed = time.monotonic() - since + costs.of(config, start, start + 1) + _END[0]
        raise ValueError(
            f"time_budget is {config.time_budget}, in which no step fits: a start, a step, a "
            f"validation and a checkpoint take about {math.ceil(needed)} s; give more"
        )
    steps, nominal = start + fitting, config.schedule_steps or config.steps
    text = f"{config.time_budget}: {fitting:,} steps at {rate:.3g} a second"
    if benchmark is not None:
        text += f", a validation takes {validation:.2g} s"
    text += f"; the schedule of {nominal:,} steps is stretched by {steps / nominal:.3g}"
    config = replace(config, steps=steps, schedule_steps=nominal)
    return replace(experiment, config=config, remark=text)


def _copied(state: TrainState) -> TrainState:
    """Returns a copy of a state that lies where it does, for steps to take over."""
    shardings = jax.tree.map(lambda x: x.sharding, state)
    copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=shardings)
    return copy(state)


def _pace_of(
    runner: StepRunner,
    state: TrainState,
    config: TrainConfig,
    window: float,
    stops: Callable[[], bool],
) -> float | None:
    """Returns the steps a second once they are steady, or None if the run is to stop."""
    pace, rate = Pace(runner.most), 0.0
    window = min(max(window, _WINDOW[0]), _WINDOW[1])
    for number in range(1 + _WINDOWS):
        state, measured = _window(
            runner, pace, state, config.log_every, window if number else 0.0, stops
        )
        if gather([stops()]).any():
            return None
        before, rate = rate, float(gather([measured]).min())
        if number > 1 and abs(rate - before) < _STEADY * rate:
            break
    return rate


def _window(
    runner: StepRunner,
    pace: Pace,
    state: TrainState,
    log_every: int,
    seconds: float,
    stops: Callable[[], bool],
) -> tuple[TrainState, float]:
    """Trains as a run does for `seconds`, and returns the state and the steps a second."""
    begun, taken = time.monotonic(), 0
    while True:
        n = min(pace.steps, log_every - taken % log_every)
        pace.begins()
        state, metrics = runner.run(state, n)
        pace.sent(metrics, n)
        taken += n
        if taken % log_every == 0:
            pace.land()
            jax.device_get(metrics)
        if pace.stops(stops() or time.monotonic() - begun >= seconds):
            pace.land()
            return state, taken / (time.monotonic() - begun)


def _validation(
    experiment: Experiment, state: TrainState, benchmark: Benchmark
) -> tuple[float, float]:
    """Compiles the network for all images, and measures one of middle size.

    Returns:
      The seconds of a validation, and of one image.
    """
    model, variables = experiment.config.model, experiment.layout.local(state.averaged)

    def network() -> NetworkUpscaler:
        return NetworkUpscaler(model.name, model.scale, experiment.module, variables)

    images = list(benchmark)
    count, first = jax.process_count(), network()
    for image in images[jax.process_index() :: count]:
        first.compile(image.lr.shape)
    sizes = [image.lr[..., 0].size for image in images]
    middle = sorted(images, key=lambda image: image.lr.size)[len(images) // 2]
    begun = time.monotonic()
    (result,) = evaluate([network()], replace(benchmark, held=(middle,)))
    seconds = float(gather([time.monotonic() - begun]).max())
    (score,) = result.scores
    image_seconds = score.seconds + score.metrics_seconds
    share = max(sum(sizes[number::count]) for number in range(count))
    # What is left of the seconds is what each validation needs once.
    once = max(0.0, seconds - image_seconds)
    return once + image_seconds * share / middle.lr[..., 0].size, image_seconds
