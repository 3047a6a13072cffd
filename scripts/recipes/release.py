"""Puts a trained network among those that come with the package.

    python -m scripts.recipes.release runs/lnln_light_x2 --data data \\
        --training-set data/training_set
    python -m scripts.recipes.pages

Takes the run's best checkpoint by validation, evaluates it on all validation images and on Set5,
Set14 and B100 of `--data`, and writes `lnln_jax/pretrained_weights/NAME.safetensors` in place of
what is there, NAME being that of the run's folder, and of its file in `configs/` unless `--config`
names another. `scripts/recipes/pages.py` then writes the pages about it.
"""

import argparse
import datetime
import hashlib
import json
import os
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from PIL import Image

from lnln_jax.config import TrainConfig, differences, load_config, to_dict
from lnln_jax.doctor.machine import processor
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.report import environment
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.files import find_images
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.runtime.compilation_cache import enable_compilation_cache
from lnln_jax.runtime.files import write_file
from lnln_jax.training.resuming import with_length_of
from lnln_jax.weights import pretrained
from lnln_jax.weights.base import build
from lnln_jax.weights.runs import load_run
from lnln_jax.weights.safetensors_files import save_safetensors

ROOT = Path(__file__).parents[2]
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the test sets")
    parser.add_argument("--training-set", type=Path, required=True, metavar="folder")
    parser.add_argument("--config", type=Path, help="that trained it; default: configs/NAME.py")
    parser.add_argument("--hardware", help="that trained it; default: this machine's")
    args = parser.parse_args()
    run = args.run.resolve()
    enable_compilation_cache()

    log = run / "metrics.jsonl"
    source = args.config or ROOT / "configs" / f"{run.name}.py"
    try:
        config, variables, step = load_run(run)
        metrics = [json.loads(line) for line in log.read_text().splitlines()]
        check(run, config, source, args.training_set, metrics[-1]["step"])
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    scale, module = config.model.scale, build(config.model, config.dtype)
    network = NetworkUpscaler(run.name, scale, module, variables)
    held_out = open_benchmark(args.training_set / "validation", scale)
    (validation,) = evaluate([network], held_out)
    print(f"validation: {validation.psnr:.3f} dB, {validation.ssim:.4f}")
    score, pace = "validation/psnr_y", "train/images_per_second"
    here = environment()
    training: dict[str, Any] = {
        "config": to_dict(config),
        "command": f"lnln train configs/{source.name}"
        + (f" --output runs/{run.name}" if source.stem != run.name else ""),
        "data": describe_images(args.training_set, config),
        "hardware": args.hardware or hardware(),
        "date": datetime.date.fromtimestamp(log.stat().st_mtime).isoformat(),
        "versions": {name: here[name] for name in ("lnln_jax", "jax", "python")},
        "hours": round(hours_of(metrics, config.data.batch_size), 3),
        "pace": round(statistics.median(row[pace] for row in metrics if pace in row), 1),
        "curve": [[row["step"], row[score]] for row in metrics if score in row],
        "validation": validation.psnr,
        "licence": LICENCE,
        "scores": {},
        "bicubic": {},
    }
    for name in pretrained.BENCHMARKS:
        benchmark = open_benchmark(args.data / name, scale)
        results = evaluate([BicubicUpscaler(scale), network], benchmark)
        for row, result in zip(("bicubic", "scores"), results, strict=True):
            training[row][name] = [result.psnr, result.ssim]
            print(f"{name}: {result.model} {result.psnr:.3f} dB, {result.ssim:.4f}")
    path = pretrained.FOLDER / f"{run.name}.safetensors"
    save_safetensors(
        path, config.model, variables, step=step, dtype=config.dtype, training=training
    )
    _register(path, scale, validation.psnr)
    print(f"written to {path}; scripts/recipes/pages.py writes the pages about it")


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
