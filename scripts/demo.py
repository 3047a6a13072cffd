"""Upscales photos with a trained network of the package, then trains a small one.

    python scripts/demo.py

Needs no data: the photos are those that scikit-image carries, and the small network learns from
generated images. It says at its start what takes how long.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from lnln_jax.config import load_config
from lnln_jax.evaluation.figure_page import write_page
from lnln_jax.evaluation.figure_picture import draw
from lnln_jax.evaluation.figures import Figure, Method
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.report import describe, environment, format_table, to_json
from lnln_jax.evaluation.results import Result
from lnln_jax.evaluation.test_sets import BenchmarkImage, open_benchmark
from lnln_jax.inference.loading import load_model
from lnln_jax.inference.photos import upscale_files
from lnln_jax.training.loop import train
from lnln_jax.weights.pretrained import path_of

ROOT = Path(__file__).parents[1]
TRAINED = "lnln_light_x2"
PHOTOS = ("astronaut", "chelsea")
PICTURED, BOX = "astronaut", (20, 170, 64, 96)
UPSCALED = "chelsea"
LEAST_GAINS = {TRAINED: 1.5, "quickstart": 0.7}  # dB


# Measured on 2 cores of an AMD EPYC with JAX 0.10.2, 2026-11-28.
DURATIONS = """On two CPU cores this takes about 3.5 minutes:
  1. a trained network on two photos, 20 seconds, most of it compilation
  2. training a small network and the same photos again, 3 minutes
Ctrl-C after the first part leaves its pictures; all of it goes to {output}.
"""


def main() -> None:
    start = time.monotonic()
    output = Path(os.path.relpath(ROOT / "out" / "demo"))
    print(DURATIONS.format(output=output), flush=True)
    photos = output / "photos"
    shutil.rmtree(photos, ignore_errors=True)  # an earlier version may have had others
    photos.mkdir(parents=True, exist_ok=True)
    for name in PHOTOS:
        Image.fromarray(getattr(data, name)()).save(photos / f"{name}.png")

    trained = load_model(path_of(TRAINED))
    print(f"1. {trained.name}, which is in the package, on {len(PHOTOS)} photos beside bicubic")
    benchmark = open_benchmark(photos, scale=2)
    pictured: dict[str, tuple[BenchmarkImage, np.ndarray]] = {}

    def keep(model: str, image: BenchmarkImage, sr: np.ndarray) -> None:
        if image.name == PICTURED:
            pictured[model] = image, sr

    bicubic, ours = evaluate([load_model("bicubic", scale=2), trained], benchmark, done=keep)
    sources = {trained.name: trained.name}
    _show([bicubic, ours], pictured, sources, output)
    print("\nUpscaling a photo beyond its own size")
    upscaled = output / "upscaled"
    upscale_files(trained, [photos / f"{UPSCALED}.png"], upscaled, overwrite=True)
    print(f"\n{trained.name} beats bicubic by {ours.psnr - bicubic.psnr:.2f} dB of mean Y-PSNR.")
    print(f"  comparison  {output / 'comparison.png'}, {output / 'comparison.html'}")
    print(f"  upscaled    {upscaled}")
    print(f"This took {time.monotonic() - start:.0f} s.")

    config_path = ROOT / "configs" / "quickstart.py"
    config = load_config(config_path)
    print(f"\n2. Training {os.path.relpath(config_path)}: {config.steps} steps on dead leaves")
    run = output / "quickstart"
    shutil.rmtree(run, ignore_errors=True)
    train(config, run)
    print("\nThe same photos")
    (quick,) = evaluate([load_model(run)], benchmark, done=keep)
    _show([bicubic, ours, quick], pictured, sources | {quick.model: str(run)}, output)
    gain = quick.psnr - bicubic.psnr
    print(f"\nAfter these minutes it beats bicubic by {gain:.2f} dB.")
    print(f"  run         {run}  (metrics.jsonl, tensorboard/, checkpoints/)")
    print(f"  scores      {output / 'scores.json'}")
    print(f"  comparison  now with it: {output / 'comparison.png'}, {output / 'comparison.html'}")
    print(f"All of it took {time.monotonic() - start:.0f} s.")
    for result in (ours, quick):
        least = LEAST_GAINS[result.model]
        if result.psnr < bicubic.psnr + least:
            raise SystemExit(f"{result.model} should beat bicubic by at least {least} dB.")


def _show(
    results: Sequence[Result],
    pictured: Mapping[str, tuple[BenchmarkImage, np.ndarray]],
    sources: Mapping[str, str],
    output: Path,
) -> None:
    """Shows scores on the photos: as a table, in a file, as a picture and on a page."""
    print(format_table(results))
    report = to_json(results, sources=sources, environment=environment())
    (output / "scores.json").write_text(json.dumps(report, indent=2) + "\n")
    figure = _figure(results, pictured)
    Image.fromarray(draw([figure])).save(output / "comparison.png")
    write_page([figure], output / "comparison.html", title="lnln_jax", note=describe(results[0]))


def _figure(
    results: Sequence[Result], pictured: Mapping[str, tuple[BenchmarkImage, np.ndarray]]
) -> Figure:
    image = pictured["bicubic"][0]
    nearest = np.asarray(image.lr).repeat(2, axis=0).repeat(2, axis=1)
    methods = [Method("LR", nearest, None, None)]
    for result in results:
        score = next(score for score in result.scores if score.image == PICTURED)
        methods.append(Method(result.model, pictured[result.model][1], score.psnr, score.ssim))
    return Figure(f"{PICTURED} x2", image.hr, tuple(methods), BOX)


if __name__ == "__main__":
    main()
