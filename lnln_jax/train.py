"""Training: one experiment from its configuration to its last checkpoint.

A run lives in a folder: `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and
`checkpoints/`. Started again with the same configuration it goes on from the newest checkpoint
and arrives, bit for bit, where it would have arrived without the interruption.
"""

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from lnln_jax.benchmarks import Benchmark
from lnln_jax.checkpoint import RunCheckpoints, saved_config
from lnln_jax.config import Placement, TrainConfig, build_module, differences, to_dict
from lnln_jax.evaluate import evaluate
from lnln_jax.inference import Bicubic, SuperResolver
from lnln_jax.loading import load_weights
from lnln_jax.optim import halving_schedule, make_optimizer
from lnln_jax.pace import Pace
from lnln_jax.process import exclusive, stop_signals
from lnln_jax.reporting import RunReport
from lnln_jax.resize import imresize
from lnln_jax.state import Metrics, Variables, create_state, initialize, make_update
from lnln_jax.training_data import Feed, open_feed, open_sources, open_validation

# Fields that a resumed run may change, since no step depends on them.
FREE_FIELDS = frozenset(
    {
        "steps",
        "log_every",
        "checkpoint_every",
        "keep_checkpoints",
        "validate_every",
        "sample_every",
        "steps_per_call",
        "data.num_threads",
        "data.num_workers",
        "data.cache_share",
        "data.data_dir",
    }
)


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient became NaN or infinite."""


@dataclass(frozen=True)
class Outcome:
    """How a call of `train` ended: at which step, and whether a signal ended it early."""

    step: int
    stopped: bool


def train(config: TrainConfig, folder: Path) -> Outcome:
    """Trains, or goes on training, in `folder`.

    SIGTERM and SIGINT end the run after the current step, with a checkpoint.

    Raises:
      ValueError: data or configuration that can't be used; nothing has been written then.
      NonFiniteLossError: the loss diverged; the last good checkpoint stays.
    """
    if jax.process_count() > 1:
        raise ValueError(
            f"jax.distributed has {jax.process_count()} processes, but training runs in one; start "
            "it without jax.distributed"
        )
    saved = saved_config(folder / "checkpoints")
    if saved is not None:
        if config.data.placement == "auto":  # decided when the run began
            config = _placed(config, saved.data.placement)
        _check_same(saved, config, folder)

    # Model, optimizer
    module = build_module(config)
    optimizer = make_optimizer(config.optimizer)
    variables = initialize(module, config.seed)
    if config.init_from and saved is None:
        variables = _transfer(variables, Path(config.init_from), config)
    update = make_update(
        module,
        optimizer,
        schedule=halving_schedule(config.optimizer),
        ema_decay=config.ema_decay,
        loss=config.loss,
    )

    # Data
    benchmark = open_validation(config)
    if benchmark is not None:
        evaluate([Bicubic(config.model.scale)], benchmark)  # an unusable image stops the run here
    sources = open_sources(config)
    images, identity = sum(map(len, sources)), [source.identity for source in sources]
    feed = open_feed(config, sources, update)
    del sources  # on the device there may be a copy
    config = _placed(config, feed.placement)

    # State
    state = create_state(variables, optimizer, ema=config.ema_decay > 0)
    # Bound to its devices, as a restored state is: the step is then compiled to the same program.
    state = jax.device_put(state, feed.sharding)

    # Restore
    with (
        exclusive(folder, "training"),
        stop_signals("stopping after this step") as stop,
        RunCheckpoints(folder / "checkpoints", config, images=identity) as checkpoints,
        feed,
    ):
        if checkpoints.latest_step() is not None:
            state = checkpoints.restore(state, feed.stream)
        (folder / "config.json").write_text(json.dumps(to_dict(config), indent=2) + "\n")

        # Loop
        step = start = int(state.step)
        _announce(config, state.variables["params"], images, feed, start)
        pending: list[tuple[Metrics, int]] = []
        pace = Pace(feed.most)
        with RunReport(folder, step=start, total_steps=config.steps) as report:
            while step < config.steps:
                n = min(pace.steps, _to_next_event(step, config))
                state, metrics = feed.run(state, n)
                pending.append((metrics, n))
                pace.sent(metrics, n)
                if step == start:  # it was compiled before it ran
                    jax.block_until_ready(metrics)
                    clock, timed_from = time.perf_counter(), step + n
                step += n
                report.advance(n)
                last = step == config.steps or stop.requested
                validates = step % config.validate_every == 0 or step == config.steps
                pictures = config.sample_every > 0 and step % config.sample_every == 0
                saves = step % config.checkpoint_every == 0 or validates or last
                if step % config.log_every == 0 or saves or pictures:
                    pace.land()
                    summary = _summarize(pending, step, checkpoints)
                    elapsed = time.perf_counter() - clock
                    if step > timed_from:
                        patches = (step - timed_from) * config.data.batch_size
                        summary["images_per_second"] = patches / elapsed
                    report.write(step, summary, prefix="train")
                    pending = []
                scores: dict[str, float] = {}
                if benchmark is not None and (validates or pictures):
                    network = SuperResolver(
                        config.model.name, config.model.scale, module, state.averaged
                    )
                    try:
                        if validates:
                            scores = _validate(network, benchmark, report, step)
                        if pictures:
                            _picture(network, benchmark, report, step, folder / "samples")
                    except ValueError as error:  # the images are sound, so it is the weights
                        raise _divergence(f"step {step}: {error}", checkpoints) from error
                if saves:
                    checkpoints.save(state, feed.stream, scores)
                if not pending:
                    clock, timed_from = time.perf_counter(), step
                if last:
                    break
    return Outcome(int(state.step), stopped=int(state.step) < config.steps)


def _placed(config: TrainConfig, placement: Placement) -> TrainConfig:
    """The configuration with the placement that "auto" stands for."""
    return replace(config, data=replace(config.data, placement=placement))


def _to_next_event(step: int, config: TrainConfig) -> int:
    """Steps from here to the next at which something is logged, measured or saved."""
    intervals = [config.log_every, config.checkpoint_every, config.validate_every]
    intervals += [config.sample_every] if config.sample_every else []
    return min(config.steps - step, *(interval - step % interval for interval in intervals))


def _announce(config: TrainConfig, params: Variables, images: int, feed: Feed, start: int) -> None:
    """Says what is going to be trained, before the first step is compiled."""
    size = sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6
    print(
        f"{config.model.name} x{config.model.scale}, {size:.2f} M parameters; {images} images on "
        f"the {feed.placement}; {jax.local_devices()[0].device_kind}; "
        + (f"going on from step {start}" if start else f"{config.steps} steps"),
        file=sys.stderr,
    )


def _transfer(variables: Variables, source: Path, config: TrainConfig) -> Variables:
    """Fresh variables with those of a run or a file; of another scale, all but its tail."""
    try:
        other, trained, *_ = load_weights(source, default_scale=config.model.scale)
    except ValueError as error:
        raise ValueError(f"init_from: {error}; init_from= starts from random weights") from error
    fresh = ("upsampler", "tail") if other.scale != config.model.scale else ()
    merged = {
        collection: {
            name: new if name in fresh else trained.get(collection, {}).get(name)
            for name, new in tree.items()
        }
        for collection, tree in variables.items()
    }
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (variables, merged)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"init_from is {source}, a {other.name} with {other.options}; its "
            f"parameters do not fit {config.model.name} with {dict(config.model.options)}"
        )
    return jax.tree.map(jnp.asarray, merged)


def _check_same(saved: TrainConfig, config: TrainConfig, folder: Path) -> None:
    """Refuses to go on with settings under which the run would not be the same run."""
    changed = {k: v for k, v in differences(saved, config).items() if k not in FREE_FIELDS}
    if changed:
        listing = "; ".join(f"{key} was {old} and is {new}" for key, (old, new) in changed.items())
        raise ValueError(
            f"{folder} holds a run with another configuration: {listing}. Train in another folder, "
            "or give the settings that it was started with"
        )


def _summarize(
    pending: list[tuple[Metrics, int]], step: int, checkpoints: RunCheckpoints
) -> dict[str, float]:
    """The metrics since the last report: the mean loss, the rest of the last step.

    Raises:
      NonFiniteLossError: a loss or gradient is NaN or infinite.
    """
    calls = jax.device_get(pending)
    rows = {key: np.concatenate([row[key][:n] for row, n in calls]) for key in calls[0][0]}
    bad = ~(np.isfinite(rows["loss"]) & np.isfinite(rows["grad_norm"]))
    if bad.any():
        first = int(bad.argmax())
        raise _divergence(
            f"step {step - len(bad) + 1 + first}: the loss is {rows['loss'][first]} and the norm "
            f"of its gradient {rows['grad_norm'][first]}",
            checkpoints,
        )
    summary = {key: float(values[-1]) for key, values in rows.items()}
    summary["loss"] = float(np.mean(rows["loss"]))
    return summary


def _divergence(problem: str, checkpoints: RunCheckpoints) -> NonFiniteLossError:
    """What is wrong, and what to do about it."""
    remedy = (
        "Lower optimizer.learning_rate, set optimizer.clip_norm, or look for damaged training "
        "images, and start again in another folder"
    )
    if checkpoints.latest_step() is not None:
        remedy += f", from the best checkpoint of this one: init_from={checkpoints.folder}"
    return NonFiniteLossError(f"{problem}. {remedy}")


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
    folder.mkdir(exist_ok=True)
    Image.fromarray(row).save(folder / f"{step:07d}_{image.name}.png")
