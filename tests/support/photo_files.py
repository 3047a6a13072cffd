"""Small photos in files, and what became of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from lnln_jax.inference import photos
from lnln_jax.inference.bicubic import BicubicUpscaler

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
BICUBIC = BicubicUpscaler(2)


class Lines(list):
    """A `report` that remembers."""

    def __call__(self, line: str) -> None:
        self.append(line)


def save(path: Path, image: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def errors(results: list[photos.UpscaledFile]) -> dict[str, str]:
    return {result.source.name: result.error for result in results if result.error}
