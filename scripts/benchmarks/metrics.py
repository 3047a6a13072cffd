"""Measures metrics and `imresize` on one core, beside scikit-image, plain NumPy and Pillow.

    python -m scripts.benchmarks.metrics                     # 1024x1024 pair, 2040x1356 image
    python -m scripts.benchmarks.metrics --json metrics.json  # also every measurement

The process is pinned to one core before anything is imported that starts threads. Both sides take
turns, warm; the table has medians and ranges, and the ratios of the medians. scikit-image measures
with the settings of super-resolution papers; it is needed (the recipes extra). Needs Linux.
"""

import argparse
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before the imports that start threads

import jax  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from skimage.color import rgb2ycbcr  # noqa: E402
from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # noqa: E402

from lnln_jax.images.metrics import psnr, ssim  # noqa: E402
from lnln_jax.images.resize import imresize  # noqa: E402
from scripts.benchmarks.common import (  # noqa: E402
    describe_call,
    describe_machine,
    in_turns,
    in_words,
    markdown_table,
    spread,
)

FACTORS = {"1/2": 1 / 2, "1/3": 1 / 3, "1/4": 1 / 4, "2": 2, "3": 3, "4": 4}

NOTES = """
Metrics: one call of `psnr` and one of `ssim`, from NumPy uint8 arrays to Python floats. With luma,
of RGB images, both sides make the luma; without, both get one uint8 plane. scikit-image:
`gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255`. Plain NumPy gathers
all taps at once, in float64. Pillow's bicubic starts from its own image object, and rounds
otherwise. Compilation: of PSNR and SSIM as one program for a new shape, as in `lnln evaluate`.
"""


def ours(sr: np.ndarray, hr: np.ndarray) -> tuple[float, float]:
    return float(psnr(sr, hr)), float(ssim(sr, hr))


def scikit_image(sr: np.ndarray, hr: np.ndarray) -> tuple[float, float]:
    if sr.ndim == 3:
        sr, hr = rgb2ycbcr(sr)[..., 0], rgb2ycbcr(hr)[..., 0]
    similarity = structural_similarity(
        sr, hr, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return float(peak_signal_noise_ratio(hr, sr, data_range=255)), float(similarity)


def gather_resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Resizes the plain way: for each axis, all taps of all outputs, weighted and summed."""
    for axis in (0, 1):
        size = image.shape[axis]
        out_size, stretch = math.ceil(round(scale * size, 9)), min(scale, 1.0)
        centre = (np.arange(out_size) + 0.5) / scale - 0.5
        taps = np.floor(centre - 2 / stretch)[:, None] + np.arange(math.ceil(4 / stretch) + 2)
        x = np.abs(centre[:, None] - taps) * stretch
        inner, outer = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))
        weights /= weights.sum(axis=1, keepdims=True)
        used = np.any(np.abs(weights) > 1e-12, axis=0)
        columns = taps[:, used].astype(int) % (2 * size)
        columns = np.minimum(columns, 2 * size - 1 - columns)
        moved, weights = np.moveaxis(image, axis, 0), weights[:, used]
        # The gathered pixels of a large image would fill the memory: 64 outputs at a time.
        parts = [
            (moved[columns[i : i + 64]] * weights[i : i + 64, :, None, None]).sum(axis=1)
            for i in range(0, out_size, 64)
        ]
        resized = np.moveaxis(np.concatenate(parts), 0, axis)
        image = np.floor(resized.clip(0, 255) + 0.5).astype(np.uint8)
    return image


def milliseconds(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    return {name: [1000 * t for t in taken] for name, taken in in_turns(sides, rounds).items()}


def measure_metrics(size: int, rounds: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    sr = (hr + rng.normal(0, 20, hr.shape)).clip(0, 255).astype(np.uint8)
    planes = np.ascontiguousarray(sr[..., 1]), np.ascontiguousarray(hr[..., 1])
    rows = []
    for name, pair in (("with luma", (sr, hr)), ("without luma", planes)):
        sides = {
            "ours": lambda pair=pair: ours(*pair),
            "scikit-image": lambda pair=pair: scikit_image(*pair),
        }
        title = f"PSNR and SSIM, {size}x{size}, {name}"
        rows.append({"what": title, "ms": milliseconds(sides, rounds)})
    shapes = iter(range(rounds + 1))

    def compile_anew() -> None:
        image = jax.ShapeDtypeStruct((size, size - next(shapes), 3), np.uint8)
        jax.jit(lambda sr, hr: (psnr(sr, hr), ssim(sr, hr))).lower(image, image).compile()

    title = f"compilation of both, {size}x{size}"
    rows.append({"what": title, "ms": milliseconds({"ours": compile_anew}, rounds)})
    return rows


def measure_resizing(width: int, height: int, rounds: int) -> list[dict[str, Any]]:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pillow_image = Image.fromarray(image)  # not measured
    rows = []
    for name, factor in FACTORS.items():
        resized = imresize(image, factor)
        # A sum in another order may round a tie of two images otherwise; these factors have none.
        np.testing.assert_array_equal(resized, gather_resize(image, factor))
        size = resized.shape[1::-1]

        def pillow(size: tuple[int, int] = size) -> np.ndarray:
            return np.asarray(pillow_image.resize(size, Image.Resampling.BICUBIC))

        sides = {
            "ours": lambda factor=factor: imresize(image, factor),
            "plain NumPy": lambda factor=factor: gather_resize(image, factor),
            "Pillow": pillow,
        }
        title = f"imresize x{name}, {width}x{height}"
        rows.append({"what": title, "ms": milliseconds(sides, rounds)})
    return rows


def to_markdown(results: dict[str, Any]) -> str:
    text = (
        f"`{results['command']}`, {results['date']}. {in_words(results['system'])}. "
        f"Milliseconds, medians (and ranges) of {results['rounds']} rounds.\n\n"
    )
    rows = [["", "ours", "other", "", "ours is faster by"]]
    for row in results["rows"]:
        own, *others = row["ms"]
        for other in others or [None]:
            cells = [row["what"], spread(row["ms"][own], 1), "", "", ""]
            if other is not None:
                ratio = np.median(row["ms"][other]) / np.median(row["ms"][own])
                cells[2:] = [other, spread(row["ms"][other], 1), f"{ratio:.2f}x"]
            rows.append(cells)
    return f"{text}{markdown_table(rows)}\n{NOTES}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="side of the pair, at least 21")
    parser.add_argument("--image", default="2040x1356", metavar="WIDTHxHEIGHT", help="to resize")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every measurement there")
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    width, height = map(int, args.image.split("x"))
    results: dict[str, Any] = {
        **describe_call("scripts.benchmarks.metrics"),
        "system": describe_machine("jax", "numpy", "scikit-image", "pillow"),
        "rounds": args.rounds,
        "rows": measure_metrics(args.size, args.rounds)
        + measure_resizing(width, height, args.rounds),
    }
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    print(to_markdown(results))


if __name__ == "__main__":
    main()
