"""Small models and test sets for leaderboards."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lnln_jax.config import ModelConfig
from lnln_jax.evaluation.leaderboard_rows import Leaderboard, OpenSet, Row
from lnln_jax.evaluation.test_sets import Benchmark
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from lnln_jax.weights.safetensors_files import save_safetensors

OPTIONS = {"n_resblocks": 1, "n_feats": 4}


def network(path: Path, scale: int = 2, seed: int = 0) -> Path:
    """Writes a small untrained EDSR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = initialize(create_model("edsr", scale, **OPTIONS), seed)
    save_safetensors(path, ModelConfig("edsr", scale, OPTIONS), variables)
    return path


def make_set(folder: Path, seed: int = 0) -> Path:
    """Writes two small smooth images."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for name, size in (("one", (24, 20)), ("two", (20, 28))):
        image = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
        image.resize(size, Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


def board_of(
    *rows: Row, failed: Sequence[Row] = (), sets: Sequence[str] = ("Set5",)
) -> Leaderboard:
    """A leaderboard of rows that nobody measured."""
    scales = sorted({row.scale for row in rows if row.scale}) or [2]
    here = Path()
    opened = {
        scale: [OpenSet(Benchmark(name, scale, here, (), here, here), "0" * 64) for name in sets]
        for scale in scales
    }
    return Leaderboard(rows, tuple(failed), opened, self_ensemble=False)
