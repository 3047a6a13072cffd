"""Training: one experiment from its configuration to its last checkpoint.

A run lives in a folder: `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and
`checkpoints/`. Started again with the same configuration it goes on from the newest checkpoint
and arrives, bit for bit, where it would have arrived without the interruption.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import jax

from lnln_jax.config import TrainConfig, to_dict
from lnln_jax.config.paths import with_homes
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.runtime.distributed import check_same, gather, is_primary, say
from lnln_jax.runtime.files import check_folder, printable, write_file, writing
from lnln_jax.runtime.processes import Stop, exclusive, stop_signals
from lnln_jax.training.budget import fit_to_budget
from lnln_jax.training.checkpoints import RunCheckpoints
from lnln_jax.training.clock import Clock
from lnln_jax.training.dispatch import Pace
from lnln_jax.training.divergence import Monitor
from lnln_jax.training.experiment import Experiment, open_experiment, settled
from lnln_jax.training.inputs import check_packages, open_validation
from lnln_jax.training.log import RunReport
from lnln_jax.training.look import Look
from lnln_jax.training.parallel import choose_layout
from lnln_jax.training.places import as_called_now, identity_of, with_absolute_paths
from lnln_jax.training.profiling import Profile, memory_in_use
from lnln_jax.training.resuming import check_changes, with_length_of
from lnln_jax.training.state import Metrics, TrainState
from lnln_jax.weights.runs import saved_config


@dataclass(frozen=True)
class Outcome:
    """The end of a call of `train`: at which step, and whether before the last one."""

    step: int
    stopped: bool


def train(
    config: TrainConfig,
    folder: Path,
    *,
    allow_config_change: bool = False,
    profile_steps: int = 0,
    deadline: float | None = None,
    since: float | None = None,
) -> Outcome:
    """Trains, or goes on training, in `folder`.

    SIGTERM and SIGINT end the run after the current step, with a checkpoint; a deadline ends it so
    early that the checkpoint is written by then, unless a compilation takes longer. Under
    `runtime.distributed` all processes call this together, with a folder that all of them see.

    Args:
      config: experiment to run.
      folder: folder of the run, made where there is none.
      allow_config_change: go on with settings under which it is another run.
      profile_steps: number of steps to trace, at least, into `profile/`; 0: none.
      deadline: time on the clock of `time.monotonic`; None: none.
      since: begin of `config.time_budget`, on that clock; None: when the process began.

    Raises:
      ValueError: data, configuration or a folder that cannot be used, or processes that differ;
        nothing has been written then.
      NonFiniteLossError: the loss diverged; the last good checkpoint stays.
    """
    config = with_homes(config)
    check_same("the configurations", repr((config, allow_config_change, deadline is None)))
    check_folder(folder)
    config = with_absolute_paths(config)
    check_packages(config)
    benchmark = open_validation(config)
    saved, replaced = saved_config(folder / "checkpoints"), None
    if saved is not None:
        config = _as_it_began(saved, config)
        before = as_called_now(saved, config, folder, identity_of(benchmark))
        if check_changes(before, config, folder, allow=allow_config_change):
            replaced = saved
    if benchmark is not None:  # images that cannot be measured stop the run here
        evaluate([BicubicUpscaler(config.model.scale)], benchmark)
    experiment = open_experiment(config)
    state = experiment.start() if saved is None else None
    clock = Clock(deadline, experiment.state_bytes)

    with _alone_in(folder, saved) as stop, experiment.runner:
        if state is not None and config.time_budget:
            fitted = fit_to_budget(
                experiment,
                state,
                benchmark,
                since=since,
                stops=lambda: stop.requested or clock.over(),
            )
            if fitted is None:  # it was asked to stop meanwhile
                return Outcome(int(state.step), stopped=True)
            experiment = fitted
        look = Look(experiment, benchmark, clock, folder)
        return _run(look, state, stop, replaced, allow_config_change, profile_steps)


def _as_it_began(saved: TrainConfig, config: TrainConfig) -> TrainConfig:
    """Returns a configuration with what was decided when the run began."""
    placement = config.data.placement
    if placement == "auto" and config.parallel != "pmap":
        placement = saved.data.placement
    return with_length_of(saved, settled(config, placement, choose_layout(config)))


@contextmanager
def _alone_in(folder: Path, saved: TrainConfig | None) -> Iterator[Stop]:
    """Holds the folder of a run, in which nobody has trained since `saved` was read."""
    with (
        exclusive(folder, "training") if is_primary() else nullcontext(),
        stop_signals("stopping after this step") as stop,
    ):
        if saved_config(folder / "checkpoints") != saved:
            raise ValueError(
                f"another process has trained in {printable(folder)} meanwhile; start again"
            )
        yield stop


def _run(
    look: Look,
    state: TrainState | None,
    stop: Stop,
    replaced: TrainConfig | None,
    other_images: bool,
    profile_steps: int,
) -> Outcome:
    """Opens the files of a run and trains.

    Args:
      look: the experiment and what looks at it.
      state: state before the first step; None: that of the newest checkpoint.
      stop: request to end.
      replaced: configuration of the steps so far, if they were those of another run.
      other_images: whether checkpoints may be from other training images.
      profile_steps: number of steps to trace.
    """
    experiment, folder = look.experiment, look.folder
    config = experiment.config
    with RunCheckpoints(
        folder / "checkpoints",
        config,
        images=experiment.identity,
        validation=identity_of(look.benchmark),
        other_images=other_images,
    ) as checkpoints:
        if state is None:
            state = checkpoints.restore(experiment.shapes, experiment.runner.stream)
        state, step = experiment.scheduled(state), int(state.step)
        if is_primary():
            if replaced is not None:  # for `lnln replay` of the steps so far
                _write_config(replaced, folder, f"config_until_{step:07d}.json")
            _write_config(config, folder, "config.json")
        with (
            RunReport(folder, step=step, total_steps=config.steps) as report,
            Profile(folder / "profile", profile_steps if is_primary() else 0) as profile,
        ):
            if experiment.remark:
                report.event(step, "time_budget", experiment.remark)
            return _loop(look, state, checkpoints, report, profile, stop)


def _write_config(config: TrainConfig, folder: Path, name: str) -> None:
    with writing(name, folder):
        write_file(folder / name, (json.dumps(to_dict(config), indent=2) + "\n").encode())


def _loop(
    look: Look,
    state: TrainState,
    checkpoints: RunCheckpoints,
    report: RunReport,
    profile: Profile,
    stop: Stop,
) -> Outcome:
    """Takes the steps from a state to the last, or until a signal or the deadline."""
    config, runner, clock = look.experiment.config, look.experiment.runner, look.clock
    step = start = int(state.step)
    _announce(look.experiment, state, start)
    pending: list[tuple[Metrics, int]] = []
    pace, last = Pace(runner.most), False
    monitor = Monitor(
        look.folder,
        spike_factor=config.spike_factor,
        skip_nonfinite=config.optimizer.skip_nonfinite,
        skipped=int(getattr(state.opt_state, "notfinite_count", 0)),
    )
    timed_since, timed_from = time.perf_counter(), start
    while step < config.steps and not last:
        # One call of several steps.
        n = min(pace.steps, _to_next_event(step, config))
        pace.begins()
        with profile.call(step):
            state, metrics = runner.run(state, n)
        profile.after_call(metrics, n)
        pending.append((metrics, n))
        pace.sent(metrics, n)
        if step == start:  # it was compiled before it ran, as validation will be
            now = time.perf_counter()
            look.expects(now - timed_since)
            timed_since, timed_from = now, step + n
        step += n
        report.advance(n)
        ahead = pace.ahead() + look.at_the_end(config.steps - step <= pace.steps)
        last = pace.stops(stop.requested or clock.over(ahead)) or step == config.steps
        if not (due := _due(step, config, last)):
            continue

        # What is due after it.
        pace.land()
        summary = monitor.summarize(pending, step, report)
        if step > timed_from:
            patches = (step - timed_from) * config.data.batch_size
            summary["images_per_second"] = patches / (time.perf_counter() - timed_since)
        report.write(step, summary | memory_in_use(), prefix="train")
        try:
            scores = look.at(state, step, due, pace.ahead(), report)
        except ValueError as error:  # the images are sound, so it is the weights
            raise monitor.divergence(step, str(error)) from error
        if clock.runs and "checkpoint" in due:  # and if there is no time for another
            late = clock.over(pace.ahead() + clock.save_seconds())
            last = bool(gather([late]).any()) or last
        if last or "checkpoint" in due:
            clock.saves(checkpoints.folder / str(step))
            checkpoints.save(state, runner.stream, scores)
        pending, timed_since, timed_from = [], time.perf_counter(), step
    return Outcome(step, stopped=step < config.steps)


def _due(step: int, config: TrainConfig, last: bool) -> set[str]:
    """Returns what is to be done after a step, of "log", "checkpoint", "validation", "picture"."""
    intervals = {
        "log": config.log_every,
        "checkpoint": config.checkpoint_every,
        "validation": config.validate_every,
        "picture": config.sample_every,
    }
    due = {what for what, interval in intervals.items() if interval and step % interval == 0}
    if step == config.steps:
        due.add("validation")
    if last or "validation" in due:
        due.add("checkpoint")
    return due


def _to_next_event(step: int, config: TrainConfig) -> int:
    """Steps from here to the next at which something is logged, measured or saved."""
    intervals = [config.log_every, config.checkpoint_every, config.validate_every]
    intervals += [config.sample_every] if config.sample_every else []
    return min(config.steps - step, *(interval - step % interval for interval in intervals))


def _announce(experiment: Experiment, state: TrainState, start: int) -> None:
    """Says what is going to be trained, before the first step is compiled."""
    config, devices = experiment.config, experiment.layout.devices
    size = sum(leaf.size for leaf in jax.tree.leaves(state.variables["params"])) / 1e6
    several = f"{len(devices)} x " if len(devices) > 1 else ""
    processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    say(
        f"{config.model.name} x{config.model.scale}, {size:.2f} M parameters; "
        f"{sum(n for _, n in experiment.sources)} images on the {experiment.runner.placement}; "
        f"{several}{devices[0].device_kind}{processes}; "
        + (f"going on from step {start}" if start else f"{config.steps} steps")
    )
