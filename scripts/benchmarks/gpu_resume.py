"""Trains a small LNLN three times, once with an interruption, and counts arrays that differ.

    python -m scripts.benchmarks.gpu_resume FOLDER

Eight steps in one go, eight with an interruption after the fourth, and eight in one go again, which
shows whether the device computes the same twice. Prints a line of JSON.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from lnln_jax.runtime.compilation_cache import enable_compilation_cache
from lnln_jax.training.loop import train

STEPS = 8
CONFIG = TrainConfig(
    model=ModelConfig(
        "lnln", 2, {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "reduction": 4}
    ),
    data=DataConfig(
        dead_leaves=4, dead_leaves_size=48, lr_patch_size=12, batch_size=4, placement="device"
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3),
    ema_decay=0.9,
    steps=STEPS,
)


def checksums(run: Path) -> dict[str, int]:
    """Returns the CRC-32 of all arrays in the last checkpoint, by their places in it."""
    items = json.loads((run / "checkpoints" / str(STEPS) / "checksums" / "metadata").read_text())
    return {
        f"{item}/{name}": value
        for item, arrays in items.items()
        if item != "json"
        for name, value in arrays.items()
    }


def differing(one: dict[str, int], other: dict[str, int]) -> int:
    """Counts the arrays that differ."""
    return sum(one[name] != other[name] for name in one.keys() | other.keys())


def main() -> None:
    folder = Path(sys.argv[1])
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "xla")
    enable_compilation_cache()  # as `lnln train` does; the step is compiled once
    train(CONFIG, folder / "whole")
    train(replace(CONFIG, steps=STEPS // 2), folder / "interrupted")
    train(CONFIG, folder / "interrupted")
    train(CONFIG, folder / "again")
    whole, interrupted, again = (
        checksums(folder / name) for name in ("whole", "interrupted", "again")
    )
    found = {
        "arrays": len(whole),
        "differ": differing(whole, interrupted),
        "again_differ": differing(whole, again),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
