"""What the tests of checkpoints share."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.config import DataConfig, ModelConfig, TrainConfig, build_module
from lnln_jax.data import dead_leaves_pairs
from lnln_jax.training.checkpoints import RunCheckpoints
from lnln_jax.training.state import TrainState

CONFIG = TrainConfig(
    model=ModelConfig(
        "lnln", 2, {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4}
    ),
    data=DataConfig(dead_leaves=1, dead_leaves_size=16, lr_patch_size=8, batch_size=2),
    ema_decay=0.9,
    keep_checkpoints=2,
)
MODULE = build_module(CONFIG)
SOURCE = dead_leaves_pairs(1, size=16, scale=2, seed=0)
IMAGES = [SOURCE.identity]


def at(state: TrainState, step: int) -> TrainState:
    """A state in which every array tells its step, and the average from what is averaged."""

    def marked(tree, offset):
        return jax.tree.map(lambda x: x + jnp.asarray(offset, x.dtype), tree)

    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        variables=marked(state.variables, step),
        opt_state=marked(state.opt_state, step),
        ema=None if state.ema is None else marked(state.ema, -step),
    )


def save(folder: Path, state: TrainState, iterator, scores: dict[int, float | None]) -> None:
    """Writes a checkpoint for each step, with its validation score if it has one."""
    config = CONFIG if state.ema is not None else dataclasses.replace(CONFIG, ema_decay=0.0)
    with RunCheckpoints(folder / "checkpoints", config, images=IMAGES) as checkpoints:
        for step, psnr_y in scores.items():
            metrics = {} if psnr_y is None else {"psnr_y": psnr_y, "ssim_y": 0.9}
            checkpoints.save(at(state, step), iterator, metrics)


def assert_equal(actual, expected) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
