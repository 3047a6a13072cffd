"""Measures what `lnln upscale` does at the edges of photos, and of what is transparent in them.

    python -m scripts.benchmarks.edges data/Set14/HR
    python -m scripts.benchmarks.edges data/Set14/HR --model bicubic

Of each image the upper left 256x256 pixels are taken. The first table has the PSNR over RGB of the
outer 8 pixels, and inside them, of results from LR images that are mirrored beyond their edges or,
as in published tables, are not. For the second, a disc of the LR image is cut out, with another
colour beneath what is transparent. Its result is compared with that of the whole LR image, in the
pixels that are partly transparent, weighted by alpha; of several colours the worst counts.
"""

import argparse
from pathlib import Path

import numpy as np

from lnln_jax import imresize, load_model
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import read_rgb
from lnln_jax.images.listing import find_images
from lnln_jax.images.transparency import fill_transparent
from lnln_jax.inference.photo_pixels import BORDER
from lnln_jax.inference.upscaler import Upscaler
from scripts.benchmarks.common import describe_machine, in_words, markdown_table

SIDE, RING = 256, 8  # HR pixels
COLOURS = ((0, 0, 0), (255, 255, 255), (0, 255, 0))


def psnr(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Returns the PSNR in dB over all channels, pixels weighted: `H W 3`, `H W 3` and `H W`."""
    error = ((a.astype(float) - b) ** 2).mean(axis=2)
    return 10 * np.log10(255**2 * weights.sum() / (error * weights).sum())


def of_photo(model: Upscaler, hr: np.ndarray) -> list[float]:
    """Returns outer and inner PSNR without a border, then with one."""
    lr = imresize(hr, 1 / model.scale)
    inner = np.zeros(hr.shape[:2])
    inner[RING:-RING, RING:-RING] = 1
    results = [model.upscale(lr, border=border) for border in (0, BORDER)]
    return [psnr(sr, hr, part) for sr in results for part in (1 - inner, inner)]


def of_disc(model: Upscaler, lr: np.ndarray) -> list[float]:
    """Returns the PSNR of colours as they are stored, premultiplied and filled."""
    alpha = disc(lr.shape[:2])
    shown = imresize(alpha.astype(np.float32), model.scale).clip(0, 255) / 255
    weights = shown * (shown < 1)
    whole = model.upscale(lr)
    worst = [np.inf] * 3
    for colour in COLOURS:
        stored = np.where(alpha[..., None] > 0, lr, np.uint8(colour))
        multiplied = np.rint(stored * (alpha[..., None] / 255)).astype(np.uint8)
        divided = model.upscale(multiplied) / np.maximum(shown, 1 / 255)[..., None]
        filled = fill_transparent(stored, alpha[..., None])
        results = (model.upscale(stored), divided.clip(0, 255), model.upscale(filled))
        worst = [min(w, psnr(sr, whole, weights)) for w, sr in zip(worst, results, strict=True)]
    return worst


def disc(shape: tuple[int, int], finer: int = 8) -> np.ndarray:
    """Returns alpha, uint8, of a disc whose edge is as soft as a pixel is wide."""
    rows, columns = (np.arange(side * finer) + 0.5 - side * finer / 2 for side in shape)
    inside = np.hypot(rows[:, None], columns) < 0.35 * finer * min(shape)
    parts = inside.reshape(shape[0], finer, shape[1], finer)
    return np.rint(255 * parts.mean(axis=(1, 3))).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="HR images")
    parser.add_argument("--model", default="lnln_light_x2")
    args = parser.parse_args()
    model = load_model(args.model)
    crops = [read_rgb(path)[:SIDE, :SIDE] for path in find_images(args.folder)]
    images = [np.ascontiguousarray(modcrop(crop, model.scale)) for crop in crops]
    photos = np.array([of_photo(model, hr) for hr in images])
    discs = np.array([of_disc(model, imresize(hr, 1 / model.scale)) for hr in images])
    gains = photos[:, 2] - photos[:, 0]
    print(f"{in_words(describe_machine('numpy'))}; {model.name}, {len(images)} images\n")
    mean = [f"{value:.2f}" for value in photos.mean(axis=0)]
    rows = [["dB", "outer pixels", "inside"], ["zeros", *mean[:2]], ["mirrored", *mean[2:]]]
    print(markdown_table(rows))
    print(f"\n{(gains > 0).sum()} gain, {gains.min():+.2f} to {gains.max():+.2f} dB\n")
    stored, multiplied, filled = (f"{value:.1f}" for value in discs.mean(axis=0))
    rows = [["dB", "as stored", "premultiplied", "filled"], ["disc", stored, multiplied, filled]]
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
