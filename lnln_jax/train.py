"""Training: one experiment from its configuration to its last checkpoint.

A run lives in a folder: `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and
`checkpoints/`. Started again with the same configuration it goes on from the newest checkpoint
and arrives, bit for bit, where it would have arrived without the interruption.
"""

import json
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from lnln_jax.benchmarks import Benchmark, open_benchmark
from lnln_jax.checkpoint import RunCheckpoints, saved_config
from lnln_jax.config import TrainConfig, build_module, differences, to_dict
from lnln_jax.data import (
    PairSource,
    checksum,
    dead_leaves_pairs,
    load_folder,
    make_train_iterator,
)
from lnln_jax.evaluate import evaluate
from lnln_jax.inference import Bicubic, SuperResolver
from lnln_jax.loading import load_weights
from lnln_jax.optim import halving_schedule, make_optimizer
from lnln_jax.process import exclusive, stop_signals
from lnln_jax.reporting import RunReport, progress_of
from lnln_jax.resize import imresize
from lnln_jax.state import Variables, create_state, initialize, make_train_step

# Fields that a resumed run may change, since no step depends on them.
FREE_FIELDS = frozenset(
    {
        "steps",
        "log_every",
        "checkpoint_every",
        "keep_checkpoints",
        "validate_every",
        "sample_every",
        "data.num_threads",
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
    saved = saved_config(folder / "checkpoints")
    if saved is not None:
        _check_same(saved, config, folder)

    # Model, optimizer, state
    module = build_module(config)
    optimizer = make_optimizer(config.optimizer)
    variables = initialize(module, config.seed)
    if config.init_from and saved is None:
        variables = _transfer(variables, Path(config.init_from), config)
    state = create_state(variables, optimizer, ema=config.ema_decay > 0)
    # Bound to the device, as a restored state is: the step is then compiled to the same program.
    state = jax.device_put(state, jax.local_devices()[0])

    # Data
    benchmark = None
    if config.data.validation:
        benchmark = open_benchmark(config.data.validation, config.model.scale).in_memory()
        evaluate([Bicubic(config.model.scale)], benchmark)  # an unusable image stops the run here
    sources = _open_sources(config)
    iterator = make_train_iterator(
        sources,
        lr_patch_size=config.data.lr_patch_size,
        batch_size=config.data.batch_size,
        seed=config.seed,
        num_threads=config.data.num_threads,
    )

    # Step
    train_step = make_train_step(
        module,
        optimizer,
        schedule=halving_schedule(config.optimizer),
        ema_decay=config.ema_decay,
        loss=config.loss,
    )

    # Restore
    with (
        exclusive(folder, "training"),
        stop_signals() as stop,
        RunCheckpoints(folder / "checkpoints", config, images=checksum(sources)) as checkpoints,
        closing(iterator),
    ):
        if checkpoints.latest_step() is not None:
            state = checkpoints.restore(state, iterator)
        (folder / "config.json").write_text(json.dumps(to_dict(config), indent=2) + "\n")

        # Loop
        start = int(state.step)
        _announce(config, state.variables["params"], sum(map(len, sources)), start)
        pending: list[dict[str, jax.Array]] = []
        with RunReport(folder, step=start, total_steps=config.steps) as report:
            for step in range(start + 1, config.steps + 1):
                state, metrics = train_step(state, next(iterator))
                if step == start + 1:  # it was compiled before it ran
                    jax.block_until_ready(metrics)
                    clock, timed_from = time.perf_counter(), step
                pending.append(metrics)
                report.advance()
                last = step == config.steps or stop.requested
                validates = step % config.validate_every == 0 or step == config.steps
                pictures = config.sample_every > 0 and step % config.sample_every == 0
                saves = step % config.checkpoint_every == 0 or validates or last
                if step % config.log_every == 0 or saves or pictures:
                    summary = _summarize(pending, step, checkpoints)
                    elapsed = time.perf_counter() - clock
                    if step > timed_from:
                        images = (step - timed_from) * config.data.batch_size
                        summary["images_per_second"] = images / elapsed
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
                    checkpoints.save(state, iterator, scores)
                if not pending:
                    clock, timed_from = time.perf_counter(), step
                if last:
                    break
    return Outcome(int(state.step), stopped=int(state.step) < config.steps)


def _announce(config: TrainConfig, params: Variables, images: int, start: int) -> None:
    """Says what is going to be trained, before the first step is compiled."""
    size = sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6
    print(
        f"{config.model.name} x{config.model.scale}, {size:.2f} M parameters; {images} images; "
        f"{jax.local_devices()[0].device_kind}; "
        + (f"going on from step {start}" if start else f"{config.steps} steps"),
        file=sys.stderr,
    )


def _open_sources(config: TrainConfig) -> list[PairSource]:
    """Reads all training images into memory."""
    data, scale = config.data, config.model.scale
    lr_folders = data.train_lr or (None,) * len(data.train)
    sources = [
        load_folder(
            hr,
            scale=scale,
            min_lr_size=data.lr_patch_size,
            lr_root=lr,
            on_bad_image=data.on_bad_image,
            progress=progress_of(f"reading {hr}"),
        )
        for hr, lr in zip(data.train, lr_folders, strict=True)
    ]
    if data.dead_leaves:
        size = data.dead_leaves_size
        sources.append(
            dead_leaves_pairs(
                data.dead_leaves,
                size=size,
                scale=scale,
                seed=config.seed,
                progress=progress_of("generating dead leaves"),
            )
        )
    if not sources:
        raise ValueError(
            "data.train names no folder and data.dead_leaves is 0; give training images, for "
            "example data.train=path/to/DIV2K_train_HR"
        )
    return sources


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
    pending: list[dict[str, jax.Array]], step: int, checkpoints: RunCheckpoints
) -> dict[str, float]:
    """The metrics since the last report: the mean loss, the rest of the last step.

    Raises:
      NonFiniteLossError: a loss or gradient is NaN or infinite.
    """
    rows = jax.device_get(pending)
    for number, row in enumerate(rows, start=step - len(rows) + 1):
        if not (np.isfinite(row["loss"]) and np.isfinite(row["grad_norm"])):
            raise _divergence(
                f"step {number}: the loss is {row['loss']} and the norm of its gradient "
                f"{row['grad_norm']}",
                checkpoints,
            )
    summary = {key: float(value) for key, value in rows[-1].items()}
    summary["loss"] = float(np.mean([row["loss"] for row in rows]))
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
