"""Puts a trained network among those that come with the package, and writes its model card.

    python scripts/release.py runs/lnln_light_x2 --data data --training-set data/training_set

Takes the run's best checkpoint by validation, evaluates it on Set5, Set14 and B100 of `--data`, and
writes `lnln_jax/pretrained_weights/NAME.safetensors` and `docs/models/NAME.md`.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from PIL import Image

from lnln_jax import pretrained
from lnln_jax.benchmarks import open_benchmark
from lnln_jax.checkpoint_reading import load_run
from lnln_jax.compilation_cache import enable_compilation_cache
from lnln_jax.config import TrainConfig, differences, load_config, to_dict
from lnln_jax.evaluate import evaluate
from lnln_jax.image_files import find_images
from lnln_jax.inference import Bicubic, SuperResolver
from lnln_jax.protocol import Protocol
from lnln_jax.safetensors_files import save_safetensors
from lnln_jax.tables import environment
from lnln_jax.weights import Weights, describe

ROOT = Path(__file__).parents[1]
LICENCE = (
    "Apache-2.0. The training images are for non-commercial research (BSDS) and research use "
    "(T91, General100)."
)
CARD = """# {name}

{title}, {parameters:,} parameters, {megabytes:.2f} MB. Written by `scripts/release.py`.

```
lnln upscale photo.png --model {name}
lnln evaluate {name} --data data/Set5 data/Set14 data/B100
```

| mean PSNR (dB) / SSIM on luma | {benchmarks} |
| --- |{rules}
| {name} | {scores} |
| bicubic, by the same protocol | {bicubic} |

- **For** enlarging sharp photos whose small version came of bicubic interpolation. **Not for**
  noise, blur or strong JPEG artefacts, which it has not seen, nor for detail that must be true: it
  guesses.
- **Trained** by `{command}`, {start}: {steps:,} steps of {batch_size} patches of {patch}x{patch} LR
  pixels with seed {seed}. The steps took {hours:.1f} hours on {hardware}, until {date}; other work
  ran there at times, and at the median pace of {pace:.0f} patches a second they take {alone:.1f}.
  Released with {versions}.
- **Data**: {data}.
- **Chosen** as the best of the run's checkpoints on the validation images: {validation:.2f} dB at
  step {step:,}.
- **Licence**: {licence}
- **SHA-256**: `{sha256}`

All settings are in the file's metadata:
`python -c "from lnln_jax.pretrained import *; print(describe('{name}').training['config'])"`.
"""


def hours_of(metrics: list[dict[str, Any]], batch_size: int) -> float:
    """Hours that the steps of a run took, by its log."""
    seconds, before = 0.0, 0
    for row in metrics:
        if "train/loss" in row:
            pace = row.get("train/images_per_second")
            seconds += (row["step"] - before) * batch_size / pace if pace else 0.0
            before = row["step"]
    return seconds / 3600


def check(run: Path, config: TrainConfig, name: str, training_set: Path, last: int) -> None:
    """Refuses what the card could not say of a run.

    Raises:
      ValueError: it is not at its end, not of `configs/NAME.py`, or of other images.
    """
    if last != config.steps:
        raise ValueError(f"{run} is at step {last} of {config.steps}; train it to its end")
    theirs = load_config(ROOT / "configs" / f"{name}.py")
    placement, devices = theirs.data.placement, theirs.devices  # what "auto" and 0 came to
    own = replace(config, data=replace(config.data, placement=placement), devices=devices)
    if changed := differences(theirs, own):
        raise ValueError(f"{run} differs from configs/{name}.py in {', '.join(changed)}")
    folders = [Path(path).resolve() for path in (*config.data.train, config.data.validation)]
    if folders != [(training_set / part).resolve() for part in ("train", "validation")]:
        raise ValueError(f"{run} was not trained on {training_set}, but on {folders}")


def processor() -> str:
    """What this machine computes on."""
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    kind = names[0].partition(": ")[2].strip() if names else platform.processor()
    return f"{os.cpu_count()} CPU cores ({kind})"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def describe_images(training_set: Path, least: int) -> str:
    """What scripts/training_set.py wrote in its report, in a sentence; `least` is an HR patch."""
    report = json.loads((training_set / "report.json").read_text())
    sizes = [Image.open(path).size for path in find_images(training_set / "train")]
    small = sum(min(size) < least for size in sizes)
    left_out = ", ".join(f"{item['image']} (is {item['is']})" for item in report["left_out"])
    return (
        f"{report['train'] - small} images of BSDS400, T91 and General100, and "
        f"{report['validation']} others for validation, by `scripts/training_set.py`. Left out "
        "after comparing perceptual hashes with Set5, Set14 and B100, and with each other: "
        f"{left_out or 'none'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("--name", help="default: that of the folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the test sets")
    parser.add_argument("--training-set", type=Path, required=True, metavar="folder")
    parser.add_argument("--hardware", help="that trained it; default: this machine's")
    args = parser.parse_args()
    name = args.name or args.run.resolve().name
    enable_compilation_cache()

    config, variables, step = load_run(args.run)
    log = args.run / "metrics.jsonl"
    metrics = [json.loads(line) for line in log.read_text().splitlines()]
    paces = [row["train/images_per_second"] for row in metrics if "train/images_per_second" in row]
    pace = statistics.median(paces)
    curve = [
        [row["step"], row["validation/psnr_y"]] for row in metrics if "validation/psnr_y" in row
    ]
    check(args.run, config, name, args.training_set, metrics[-1]["step"])
    validation = dict(curve)[step]
    weights = Weights(config.model, variables, step, config.dtype)
    scale = config.model.scale
    network = SuperResolver(name, scale, weights.module(), variables)
    results = {}
    for benchmark in pretrained.BENCHMARKS:
        results[benchmark] = evaluate(
            [Bicubic(scale), network],
            open_benchmark(args.data / benchmark, scale),
            protocol=Protocol(),
        )
        print(benchmark, *(f"{r.model} {r.psnr:.3f} dB {r.ssim:.4f}" for r in results[benchmark]))
    training = {
        "config": to_dict(config),
        "command": f"lnln train configs/{name}.py",
        "data": describe_images(args.training_set, config.data.lr_patch_size * scale),
        "hardware": args.hardware or processor(),
        "hours": round(hours_of(metrics, config.data.batch_size), 3),
        "pace": round(pace, 1),
        "validation": validation,
        "versions": {
            **{key: environment()[key] for key in ("lnln_jax", "jax", "python")},
            "machine": platform.machine(),
        },
        "date": datetime.date.fromtimestamp(log.stat().st_mtime).isoformat(),
        "scores": {key: [own.psnr, own.ssim] for key, (_, own) in results.items()},
        "bicubic": {key: [one.psnr, one.ssim] for key, (one, _) in results.items()},
        "curve": curve,
        "licence": LICENCE,
    }
    path = pretrained.FOLDER / f"{name}.safetensors"
    save_safetensors(
        path, config.model, variables, step=step, dtype=config.dtype, training=training
    )
    digest = pretrained.register(name)
    card = ROOT / "docs" / "models" / f"{name}.md"
    card.parent.mkdir(exist_ok=True)
    card.write_text(
        CARD.format(
            name=name,
            title=describe(config.model),
            parameters=sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
            megabytes=path.stat().st_size / 1e6,
            benchmarks=" | ".join(results),
            rules=" --- |" * len(results),
            scores=" | ".join(f"{own.psnr:.2f} / {own.ssim:.4f}" for _, own in results.values()),
            bicubic=" | ".join(f"{one.psnr:.2f} / {one.ssim:.4f}" for one, _ in results.values()),
            command=training["command"],
            steps=config.steps,
            step=step,
            batch_size=config.data.batch_size,
            patch=config.data.lr_patch_size,
            hours=training["hours"],
            hardware=training["hardware"],
            date=training["date"],
            pace=pace,
            alone=config.steps * config.data.batch_size / pace / 3600,
            start=f"from {config.init_from}, all but its tail"
            if config.init_from
            else "from scratch",
            seed=config.seed,
            versions=", ".join(f"{key} {value}" for key, value in training["versions"].items()),
            data=training["data"],
            validation=validation,
            licence=LICENCE,
            sha256=digest,
        )
    )
    print(f"written to {path} and {card}")


if __name__ == "__main__":
    main()
