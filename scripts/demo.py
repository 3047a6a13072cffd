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

from lnln_jax.benchmarks import BenchmarkImage, open_benchmark
from lnln_jax.config import load_config
from lnln_jax.evaluate import evaluate
from lnln_jax.figure_page import write_page
from lnln_jax.figures import Figure, Method, draw
from lnln_jax.loading import load_model
from lnln_jax.photos import upscale_files
from lnln_jax.tables import describe, environment, format_table, to_json
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
    report = to_json(results, sources={"quickstart": str(run)}, environment=environment())
    scores.write_text(json.dumps(report, indent=2) + "\n")
    gain = results[1].psnr - results[0].psnr

    print("\n3. Enlarging a photo beyond its own size")
    upscaled = output / "upscaled"
    upscale_files(models[1], [photos / f"{ENLARGED}.png"], upscaled, overwrite=True)

    figure = _figure(results, pictured)
    picture = output / "comparison.png"
    Image.fromarray(draw([figure])).save(picture)
    page = output / "comparison.html"
    write_page([figure], page, title="LNLN quickstart", note=describe(results[0]))

    print(f"\nThe network beats bicubic by {gain:.2f} dB of mean Y-PSNR.")
    print(f"  run         {run}  (metrics.jsonl, tensorboard/, checkpoints/)")
    print(f"  scores      {scores}")
    print(f"  comparison  {picture}, {page}")
    print(f"  enlarged    {upscaled}")
    print(f"All of it took {time.monotonic() - start:.0f} s.")
    if gain < LEAST_GAIN:
        raise SystemExit(f"The gain should have been at least {LEAST_GAIN} dB.")


def _figure(results, pictured) -> Figure:
    image = pictured["bicubic"][0]
    nearest = np.asarray(image.lr).repeat(2, axis=0).repeat(2, axis=1)
    methods = [Method("LR", nearest, None, None)]
    for result in results:
        score = next(score for score in result.scores if score.image == PICTURED)
        name = "LNLN quickstart" if result.model == "quickstart" else result.model
        sr = pictured[result.model][1]
        methods.append(Method(name, sr, score.psnr, score.ssim))
    return Figure(f"{PICTURED} x2", image.hr, tuple(methods), BOX)


if __name__ == "__main__":
    main()
