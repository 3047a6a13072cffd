"""Trains a small LNLN on generated images and shows what it does to photos it has not seen.

    python scripts/demo.py

Needs no data: the photos are those that scikit-image carries. Takes minutes on two CPU cores.
"""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from lnln_jax.config import load_config
from lnln_jax.evaluate import BenchmarkImage, evaluate, format_table, open_benchmark
from lnln_jax.figures import Panel, compare_crops
from lnln_jax.loading import load_model
from lnln_jax.photos import upscale_files
from lnln_jax.train import train

ROOT = Path(__file__).parents[1]
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
PICTURED, BOX = "astronaut", (20, 170, 64, 96)
ENLARGED = "chelsea"
LEAST_GAIN = 0.7  # dB


def main() -> None:
    start = time.monotonic()
    output = Path(os.path.relpath(ROOT / "out" / "demo"))
    config_path = ROOT / "configs" / "quickstart.py"
    config = load_config(config_path)

    print(f"1. Training {os.path.relpath(config_path)}: {config.steps} steps on dead leaves")
    run = output / "quickstart"
    shutil.rmtree(run, ignore_errors=True)
    train(config, run)

    print(f"\n2. Evaluating on {len(PHOTOS)} photos against bicubic")
    photos = output / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        Image.fromarray(getattr(data, name)()).save(photos / f"{name}.png")
    models = [load_model("bicubic", scale=2), load_model(run)]
    benchmark = open_benchmark(photos, scale=2)
    pictured: dict[str, tuple[BenchmarkImage, np.ndarray]] = {}

    def keep(model: str, image: BenchmarkImage, sr: np.ndarray) -> None:
        if image.name == PICTURED:
            pictured[model] = image, sr

    results = evaluate(models, benchmark, done=keep)
    print(format_table(results))
    scores = output / "scores.json"
    scores.write_text(json.dumps([result.to_json() for result in results], indent=2) + "\n")
    gain = results[1].psnr_y - results[0].psnr_y

    print("\n3. Enlarging a photo beyond its own size")
    upscaled = output / "upscaled"
    upscale_files(models[1], [photos / f"{ENLARGED}.png"], upscaled, overwrite=True)

    picture = output / "comparison.png"
    _write_picture(results, pictured, picture)

    print(f"\nThe network beats bicubic by {gain:.2f} dB of mean Y-PSNR.")
    print(f"  run         {run}  (metrics.jsonl, tensorboard/, checkpoints/)")
    print(f"  scores      {scores}")
    print(f"  comparison  {picture}")
    print(f"  enlarged    {upscaled}")
    print(f"All of it took {time.monotonic() - start:.0f} s.")
    if gain < LEAST_GAIN:
        raise SystemExit(f"The gain should have been at least {LEAST_GAIN} dB.")


def _write_picture(results, pictured, path: Path) -> None:
    image = pictured["bicubic"][0]
    nearest = np.asarray(image.lr).repeat(2, axis=0).repeat(2, axis=1)
    panels = [Panel(nearest, ["LR", f"{image.lr.shape[1]}x{image.lr.shape[0]}"])]
    for result in results:
        score = next(score for score in result.scores if score.image == PICTURED)
        name = "LNLN quickstart" if result.model == "quickstart" else result.model
        caption = [name, f"{score.psnr_y:.2f} dB / {score.ssim_y:.4f}"]
        panels.append(Panel(pictured[result.model][1], caption))
    panels.append(Panel(image.hr, ["original", "PSNR / SSIM on Y"]))
    Image.fromarray(compare_crops(panels, BOX)).save(path)


if __name__ == "__main__":
    main()
