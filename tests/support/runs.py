"""What the tests of training share: a small run, in this process or another, and what it left."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from lnln_jax.data import dead_leaves_pairs

CONFIG = TrainConfig(
    model=ModelConfig(
        "drca", 2, {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "reduction": 4}
    ),
    data=DataConfig(dead_leaves=4, dead_leaves_size=48, lr_patch_size=12, batch_size=2),
    optimizer=OptimizerConfig(learning_rate=2e-3),
    ema_decay=0.9,
)


def sharing(folder: Path) -> dict[str, str]:
    """An environment for processes that are killed: a copy of the compilation cache, and haste."""
    if Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).is_dir():
        shutil.copytree(os.environ["JAX_COMPILATION_CACHE_DIR"], folder, dirs_exist_ok=True)
    hasty = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder)} | hasty


def save_pictures(folder: Path, count: int, size: int) -> Path:
    folder.mkdir(parents=True)
    for i, (_, hr) in enumerate(dead_leaves_pairs(count, size=size, scale=2, seed=9)):
        Image.fromarray(hr).save(folder / f"{i}.png")
    return folder


def read_metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_equal(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


VARIABLE = ("train/images_per_second", "train/host_memory_gib")  # metrics of no step


def write_config(folder: Path, config: TrainConfig) -> Path:
    path = folder / "experiment.py"
    path.write_text(f"from lnln_jax.config import *\n\nconfig = {config!r}\n")
    return path


class Training:
    """A process of `lnln train`, and its progress."""

    def __init__(
        self, config: Path, output: Path, environment: dict[str, str] | None = None, *arguments: str
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lnln_jax", "train", config, "--output", output, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def at(self, step: int) -> "Training":
        """Waits until the step is reported."""
        for line in self._process.stderr:
            words = line.split()
            if words[0] == "step" and int(words[1]) >= step:
                return self
        raise AssertionError(f"the process ended before step {step}")

    def send(self, number: signal.Signals) -> "Training":
        self._process.send_signal(number)
        return self

    def end(self, within: float = 300) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=within)
        return self._process.returncode, out, err


def restore_everything(run: Path, step: int) -> dict[str, Any]:
    """Every item of a checkpoint, read with Orbax alone."""
    items = {
        item: ocp.StandardCheckpointer().restore(run / "checkpoints" / str(step) / item)
        for item in ("variables", "ema", "optimizer")
    }
    data = run / "checkpoints" / str(step) / "data" / "metadata"  # as Orbax calls a JSON item
    return items | {"data": json.loads(data.read_text())}
