"""Puts a trained network among those that come with the package.

    python -m scripts.recipes.release runs/lnln_light_x2 --data data \\
        --training-set data/training_set
    python -m scripts.recipes.pages

Takes the run's best checkpoint by validation, evaluates it on all validation images and on Set5,
Set14 and B100 of `--data`, and writes `lnln_jax/pretrained_weights/NAME.safetensors` in place of
what is there, NAME being that of the run's folder, and of its file in `configs/` unless `--config`
names another. `scripts/recipes/pages.py` then writes the pages about it.

What `scripts/gpu.py` has trained is released from its output folder, as it was at its last step:

    python -m scripts.recipes.release out/gpu --name lnln_grown_x2 \\
        --config configs/lnln_gpu_x2.py --hardware "1 x NVIDIA H200" \\
        --images "505 images of ..." --data data --training-set data/training_set

If it started from the network of the same name, the file says of that one, too, how it was trained.
"""

import argparse
import datetime
import hashlib
import json
import os
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from PIL import Image

from lnln_jax.config import TrainConfig, differences, load_config, to_dict
from lnln_jax.config.listing import list_fields
from lnln_jax.doctor.machine import processor
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.report import environment
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.listing import find_images
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.models.variables import Variables
from lnln_jax.runtime.compilation_cache import enable_compilation_cache
from lnln_jax.runtime.files import write_file
from lnln_jax.training.resuming import with_length_of
from lnln_jax.weights import pretrained
from lnln_jax.weights.base import build
from lnln_jax.weights.handed_state import read_state
from lnln_jax.weights.runs import load_run
from lnln_jax.weights.safetensors_files import load_safetensors, save_safetensors
from scripts.benchmarks.gpu_train import STATE, WEIGHTS

ROOT = Path(__file__).parents[2]
# Fields that a run sets by itself, or that change no step.
NO_OPTIONS = {"steps", "schedule_steps", "devices", "data.placement", "log_every"}
LICENCE = (
    "Apache-2.0. The training images are for non-commercial research (BSDS) and research use "
    "(T91, General100)."
)


def hours_of(metrics: list[dict[str, Any]], batch_size: int) -> float:
    """Returns the hours that the steps in a run's log took.

    Not in it are steps that a killed run took again, and the first call, which compiles.
    """
    seconds, before = 0.0, 0
    for row in metrics:
        if "train/loss" in row:
            pace = row.get("train/images_per_second")
            seconds += (row["step"] - before) * batch_size / pace if pace else 0.0
            before = row["step"]
    return seconds / 3600


def check(run: Path, config: TrainConfig, path: Path, training_set: Path, last: int) -> None:
    """Refuses a run of which its card would say what is not true.

    Raises:
      ValueError: it is not at its end, not of the config in `path` from its beginning, or of other
        images.
    """
    if last != config.steps:
        raise ValueError(f"{run} is at step {last} of {config.steps}; train it to its end")
    theirs = with_length_of(config, load_config(path))
    placement, devices = theirs.data.placement, theirs.devices  # what "auto" and 0 came to
    own = replace(config, data=replace(config.data, placement=placement), devices=devices)
    if changed := differences(theirs, own):
        raise ValueError(f"{run} differs from {path} in {', '.join(changed)}")
    if former := sorted(run.glob("config_until_*.json")):
        raise ValueError(f"{run} had other settings before ({former[0].name}); train it anew")
    used = (*config.data.train, config.data.validation)
    folders = [Path(folder).resolve() for folder in used]
    if folders != [(training_set / part).resolve() for part in ("train", "validation")]:
        raise ValueError(f"{run} was not trained on {training_set}, but on {folders}")


def describe_images(training_set: Path, config: TrainConfig) -> str:
    """Puts what scripts/recipes/training_set.py wrote in its report into a sentence."""
    data, least = config.data, config.data.lr_patch_size * config.model.scale
    report = json.loads((training_set / "report.json").read_text())
    small = 0
    for path in find_images(training_set / "train"):
        with Image.open(path) as image:
            small += min(image.size) < least
    too_small = f" ({small} more are smaller than a patch)" if small else ""
    generated = f", {data.dead_leaves} generated ones (dead leaves)" if data.dead_leaves else ""
    left_out = ", ".join(f"{item['image']} (is {item['is']})" for item in report["left_out"])
    return (
        f"{report['train'] - small} images of BSDS400, T91 and General100{too_small}{generated}, "
        f"and {report['validation']} others for validation, by `scripts/recipes/training_set.py`. "
        "Left out after comparing perceptual hashes with Set5, Set14 and B100, and with each "
        f"other: {left_out or 'none'}"
    )


def hardware() -> str:
    """Names what this machine computes on."""
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    return f"{os.cpu_count()} CPU cores ({processor()})"


class Trained(NamedTuple):
    """A network as its training left it.

    Attributes:
      config: of the run.
      variables: of the network.
      step: at which the network was taken.
      metrics: rows of the run's log.
      command: that trained it.
      images: sentence about its training images.
    """

    config: TrainConfig
    variables: Variables
    step: int
    metrics: list[dict[str, Any]]
    command: str
    images: str


def read_run(run: Path, source: Path, training_set: Path) -> Trained:
    """Reads a run that has come to its end, at its best checkpoint.

    Raises:
      ValueError: `check` refuses it, or there is no run.
    """
    config, variables, step = load_run(run)
    metrics = _read_log(run)
    check(run, config, source, training_set, metrics[-1]["step"])
    command = f"lnln train configs/{source.name}"
    if source.stem != run.name:
        command += f" --output runs/{run.name}"
    return Trained(config, variables, step, metrics, command, describe_images(training_set, config))


def read_handed_on(folder: Path, source: Path, images: str) -> Trained:
    """Reads what scripts/gpu.py has left in its output folder.

    Raises:
      ValueError: the state and the weights in it are of different steps, or there are none.
    """
    state, weights = read_state(folder / STATE), load_safetensors(folder / WEIGHTS)
    if state.step != weights.step:
        raise ValueError(f"{folder} has a state of step {state.step}, weights of {weights.step}")
    changed = differences(load_config(source), state.config).keys() - NO_OPTIONS
    options = [f"{f.key}={f.value}" for f in list_fields(state.config) if f.key in changed]
    return Trained(
        replace(state.config, dtype="float32"),  # what it computes in from now on
        weights.variables,
        state.step,
        _read_log(folder),
        " ".join([f"lnln train configs/{source.name}", *options]),
        images,
    )


def _read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a training run, or of scripts/gpu.py")
    parser.add_argument("--data", type=Path, required=True, help="folder of the test sets")
    parser.add_argument("--training-set", type=Path, required=True, metavar="folder")
    parser.add_argument("--name", help="of the network; default: that of the folder")
    parser.add_argument("--config", type=Path, help="that trained it; default: configs/NAME.py")
    parser.add_argument("--hardware", help="that trained it; default: this machine's")
    parser.add_argument("--images", help="what scripts/gpu.py trained on, in words")
    parser.add_argument("--licence", default=LICENCE, help="of the weights")
    args = parser.parse_args()
    run = args.run.resolve()
    name = args.name or run.name
    enable_compilation_cache()

    source = args.config or ROOT / "configs" / f"{name}.py"
    try:
        trained = (
            read_run(run, source, args.training_set)
            if args.images is None
            else read_handed_on(run, source, args.images)
        )
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    scale, module = trained.config.model.scale, build(trained.config.model, trained.config.dtype)
    network = NetworkUpscaler(name, scale, module, trained.variables)
    log = run / "metrics.jsonl"
    training = {
        **about_training(trained),
        "hardware": args.hardware or hardware(),
        "date": datetime.date.fromtimestamp(log.stat().st_mtime).isoformat(),
        "licence": args.licence,
        **measure(network, args.training_set, args.data),
    }
    if trained.config.init_from == name:
        training["before"] = dict(pretrained.load(name).training)
    path = pretrained.FOLDER / f"{name}.safetensors"
    save_safetensors(
        path,
        trained.config.model,
        trained.variables,
        step=trained.step,
        dtype=trained.config.dtype,
        training=training,
    )
    _register(path, scale, training["validation"])
    print(f"written to {path}; scripts/recipes/pages.py writes the pages about it")


def about_training(trained: Trained) -> dict[str, Any]:
    """Returns what a network's file says of its training, as far as the run itself knows."""
    config, metrics = trained.config, trained.metrics
    score, pace = "validation/psnr_y", "train/images_per_second"
    here = environment()
    return {
        "config": to_dict(config),
        "command": trained.command,
        "data": trained.images,
        "versions": {package: here[package] for package in ("lnln_jax", "jax", "python")},
        "steps": metrics[-1]["step"],
        "hours": round(hours_of(metrics, config.data.batch_size), 3),
        "pace": round(statistics.median(row[pace] for row in metrics if pace in row), 1),
        "curve": [[row["step"], row[score]] for row in metrics if score in row],
    }


def measure(network: NetworkUpscaler, training_set: Path, data: Path) -> dict[str, Any]:
    """Measures a network on all validation images and, with bicubic, on the test sets."""
    (validation,) = evaluate([network], open_benchmark(training_set / "validation", network.scale))
    print(f"validation: {validation.psnr:.3f} dB, {validation.ssim:.4f}")
    measured: dict[str, Any] = {"validation": validation.psnr, "scores": {}, "bicubic": {}}
    for name in pretrained.BENCHMARKS:
        benchmark = open_benchmark(data / name, network.scale)
        results = evaluate([BicubicUpscaler(network.scale), network], benchmark)
        for row, result in zip(("bicubic", "scores"), results, strict=True):
            measured[row][name] = [result.psnr, result.ssim]
            print(f"{name}: {result.model} {result.psnr:.3f} dB, {result.ssim:.4f}")
    return measured


def _register(path: Path, scale: int, validation: float) -> None:
    """Takes a file of the package's networks into their index."""
    about = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "scale": scale,
        "validation": validation,
    }
    text = json.dumps(pretrained.index() | {path.stem: about}, indent=2, sort_keys=True) + "\n"
    write_file(path.with_name("index.json"), text.encode())


if __name__ == "__main__":
    main()
