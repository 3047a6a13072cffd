"""Training: one experiment from its configuration to its last checkpoint.

A run lives in a folder: `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and
`checkpoints/`. Started again with the same configuration it goes on from the newest checkpoint
and arrives, bit for bit, where it would have arrived without the interruption.
"""

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from lnln_jax.benchmarks import Benchmark
from lnln_jax.checkpoint import RunCheckpoints
from lnln_jax.checkpoint_reading import saved_config
from lnln_jax.config import TrainConfig, to_dict
from lnln_jax.distributed import check_same, is_primary, say
from lnln_jax.evaluate import evaluate
from lnln_jax.experiment import Experiment, open_experiment, settled
from lnln_jax.files import check_folder, write_file, writing
from lnln_jax.inference import Bicubic, SuperResolver
from lnln_jax.monitor import Monitor
from lnln_jax.pace import Pace
from lnln_jax.parallel import choose_layout
from lnln_jax.process import Stop, exclusive, stop_signals
from lnln_jax.profiling import Profile, memory_in_use
from lnln_jax.reporting import RunReport
from lnln_jax.resize import imresize
from lnln_jax.resuming import check_changes
from lnln_jax.state import Metrics, TrainState
from lnln_jax.training_data import check_packages, open_validation


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended: at which step, and whether a signal ended it early."""

    step: int
    stopped: bool


def train(
    config: TrainConfig,
    folder: Path,
    *,
    allow_config_change: bool = False,
    profile_steps: int = 0,
) -> Outcome:
    """Trains, or goes on training, in `folder`.

    SIGTERM and SIGINT end the run after the current step, with a checkpoint. Under
    `lnln_jax.distributed` all processes call this together, with a folder that all of them see.

    Args:
      config: what to train.
      folder: of the run.
      allow_config_change: go on with settings under which it is another run.
      profile_steps: how many steps to trace, at least, into `profile/`; 0: none.

    Raises:
      ValueError: data, configuration or a folder that can't be used, or processes that differ;
        nothing has been written then.
      NonFiniteLossError: the loss diverged; the last good checkpoint stays.
    """
    check_same("the configurations", repr((config, allow_config_change)))
    check_folder(folder)
    saved, becomes_another = saved_config(folder / "checkpoints"), False
    if saved is not None:
        placement = config.data.placement
        if placement == "auto" and config.parallel != "pmap":  # decided when the run began
            placement = saved.data.placement
        config = settled(config, placement, choose_layout(config))
        becomes_another = check_changes(saved, config, folder, allow=allow_config_change)
    check_packages(config)
    benchmark = open_validation(config)
    if benchmark is not None:
        evaluate([Bicubic(config.model.scale)], benchmark)  # an unusable image stops the run here
    experiment = open_experiment(config)
    state = experiment.start() if saved is None else None
    primary = is_primary()
    with (
        exclusive(folder, "training") if primary else nullcontext(),
        stop_signals("stopping after this step") as stop,
        RunCheckpoints(
            folder / "checkpoints",
            experiment.config,
            images=experiment.identity,
            other_images=allow_config_change,
        ) as checkpoints,
        experiment.feed as feed,
    ):
        if saved_config(folder / "checkpoints") != saved:
            raise ValueError(f"another process has trained in {folder} meanwhile; start again")
        if state is None:
            state = checkpoints.restore(experiment.shapes, feed.stream)
        if primary:
            if saved is not None and becomes_another:  # for `lnln replay` of the steps until here
                _write_config(saved, folder, f"config_until_{int(state.step):07d}.json")
            _write_config(experiment.config, folder, "config.json")
        return _loop(experiment, state, benchmark, checkpoints, stop, profile_steps)


def _write_config(config: TrainConfig, folder: Path, name: str) -> None:
    with writing(name, folder):
        write_file(folder / name, (json.dumps(to_dict(config), indent=2) + "\n").encode())


def _loop(
    experiment: Experiment,
    state: TrainState,
    benchmark: Benchmark | None,
    checkpoints: RunCheckpoints,
    stop: Stop,
    profile_steps: int,
) -> Outcome:
    """Takes the steps from a state to the last, or until a signal."""
    config, feed, folder = experiment.config, experiment.feed, checkpoints.folder.parent
    step = start = int(state.step)
    _announce(experiment, state, start)
    pending: list[tuple[Metrics, int]] = []
    pace = Pace(feed.most)
    profile = Profile(folder / "profile", profile_steps if is_primary() else 0)
    monitor = Monitor(
        folder,
        spike_factor=config.spike_factor,
        skip_nonfinite=config.optimizer.skip_nonfinite,
        skipped=int(getattr(state.opt_state, "notfinite_count", 0)),
    )
    with RunReport(folder, step=start, total_steps=config.steps) as report, profile:
        while step < config.steps:
            n = min(pace.steps, _to_next_event(step, config))
            with profile.call(step):
                state, metrics = feed.run(state, n)
            profile.after_call(metrics, n)
            pending.append((metrics, n))
            pace.sent(metrics, n)
            if step == start:  # it was compiled before it ran
                jax.block_until_ready(metrics)
                clock, timed_from = time.perf_counter(), step + n
            step += n
            report.advance(n)
            last = pace.stops(stop.requested) or step == config.steps
            validates = step % config.validate_every == 0 or step == config.steps
            pictures = config.sample_every > 0 and step % config.sample_every == 0
            saves = step % config.checkpoint_every == 0 or validates or last
            if step % config.log_every == 0 or saves or pictures:
                pace.land()
                summary = monitor.summarize(pending, step, report)
                elapsed = time.perf_counter() - clock
                if step > timed_from:
                    patches = (step - timed_from) * config.data.batch_size
                    summary["images_per_second"] = patches / elapsed
                report.write(step, summary | memory_in_use(), prefix="train")
                pending = []
            scores: dict[str, float] = {}
            if benchmark is not None and (validates or pictures):
                network = SuperResolver(
                    config.model.name,
                    config.model.scale,
                    experiment.module,
                    experiment.layout.local(state.averaged),
                )
                try:
                    if validates:
                        scores = _validate(network, benchmark, report, step)
                    if pictures and is_primary():
                        _picture(network, benchmark, report, step, folder / "samples")
                except ValueError as error:  # the images are sound, so it is the weights
                    raise monitor.divergence(step, str(error)) from error
            if saves:
                checkpoints.save(state, feed.stream, scores)
            if not pending:
                clock, timed_from = time.perf_counter(), step
            if last:
                break
    return Outcome(step, stopped=step < config.steps)


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
        f"{sum(n for _, n in experiment.sources)} images on the {experiment.feed.placement}; "
        f"{several}{devices[0].device_kind}{processes}; "
        + (f"going on from step {start}" if start else f"{config.steps} steps")
    )


def _validate(
    network: SuperResolver, benchmark: Benchmark, report: RunReport, step: int
) -> dict[str, float]:
    """Mean Y-PSNR and SSIM on the benchmark."""
    (result,) = evaluate([network], benchmark)
    scores = {"psnr_y": result.psnr, "ssim_y": result.ssim}
    report.write(step, scores, prefix="validation")
    return scores


def _picture(
    network: SuperResolver, benchmark: Benchmark, report: RunReport, step: int, folder: Path
) -> None:
    """Writes the benchmark's first image: by bicubic, by the network, and the original."""
    image = next(iter(benchmark))
    bicubic, sr = imresize(image.lr, benchmark.scale), network.upscale(image.lr)
    row = np.concatenate([bicubic, sr, image.hr], axis=1)
    report.picture(step, "bicubic_network_original", row)
    with writing("a sample", folder):
        folder.mkdir(exist_ok=True)
        Image.fromarray(row).save(folder / f"{step:07d}_{image.name}.png")
