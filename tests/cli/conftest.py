"""Files that commands get."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pixels() -> np.ndarray:
    """Those of `photo`."""
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


@pytest.fixture
def photo(tmp_path: Path, pixels: np.ndarray) -> Path:
    """A picture of 8x6 pixels."""
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def broken(tmp_path: Path, photo: Path) -> Path:
    """The beginning of a picture."""
    path = tmp_path / "broken.png"
    path.write_bytes(photo.read_bytes()[:80])
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file with the default configuration, which names no images."""
    path = tmp_path / "experiment.py"
    path.write_text("from lnln_jax.config import TrainConfig\n\nconfig = TrainConfig()\n")
    return path
