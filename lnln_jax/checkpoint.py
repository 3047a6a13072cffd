"""Checkpoints of a training run, with Orbax. A step's checkpoint has these items:

variables   parameters and batch statistics
ema         their moving average, where the run keeps one
optimizer   the optimizer's state
data        the position of the data iterator
config      the configuration, as JSON
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import grain
import grain.checkpoint
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from lnln_jax.config import TrainConfig, from_dict, to_dict
from lnln_jax.state import TrainState, Variables

BEST_METRIC = "psnr_y"


def _manager(folder: Path, *, keep: int = 1, read_only: bool = False) -> ocp.CheckpointManager:
    policy = checkpoint_managers.AnyPreservationPolicy(
        [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics[BEST_METRIC],
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        read_only=read_only,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
    )
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _abstract(tree: Any) -> Any:
    """Shapes, dtypes and shardings of a tree: what Orbax restores into."""
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


class RunCheckpoints:
    """The checkpoints that a training run writes: the latest few, and the best by validation.

    Saving is asynchronous and atomic: a step's folder has its name only when it is complete.
    """

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        """Opens (and makes) the folder."""
        self._config = config
        self._manager = _manager(folder, keep=config.keep_checkpoints)

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return self._manager.latest_step()

    def save(
        self, state: TrainState, iterator: grain.DatasetIterator, metrics: dict[str, float]
    ) -> None:
        """Starts to write a checkpoint; `metrics` is empty or has `psnr_y`.

        A step that is saved already is left alone.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        items: dict[str, Any] = {
            "variables": ocp.args.StandardSave(state.variables),
            "optimizer": ocp.args.StandardSave(state.opt_state),
            "data": grain.checkpoint.CheckpointSave(iterator),
            "config": ocp.args.JsonSave(to_dict(self._config)),
        }
        if state.ema is not None:
            items["ema"] = ocp.args.StandardSave(state.ema)
        self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics or None)

    def restore(self, state: TrainState, iterator: grain.DatasetIterator) -> TrainState:
        """Reads the newest checkpoint into a state like `state`, and moves the iterator there."""
        step = self._manager.latest_step()
        items: dict[str, Any] = {
            "variables": ocp.args.StandardRestore(_abstract(state.variables)),
            "optimizer": ocp.args.StandardRestore(_abstract(state.opt_state)),
            "data": grain.checkpoint.CheckpointRestore(iterator),
        }
        if state.ema is not None:
            items["ema"] = ocp.args.StandardRestore(_abstract(state.ema))
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        return TrainState(
            step=jax.numpy.asarray(step, jax.numpy.int32),
            variables=restored["variables"],
            opt_state=restored["optimizer"],
            ema=restored["ema"] if state.ema is not None else None,
        )

    def saved_config(self) -> TrainConfig:
        """The configuration in the newest checkpoint."""
        return _read_config(self._manager, self._manager.latest_step())

    def __enter__(self) -> "RunCheckpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _read_config(manager: ocp.CheckpointManager, step: int | None) -> TrainConfig:
    args = ocp.args.Composite(config=ocp.args.JsonRestore())
    return from_dict(manager.restore(step, args=args)["config"])


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[ocp.CheckpointManager]:
    manager = _manager(folder, read_only=True)
    try:
        yield manager
    finally:
        manager.close()


def load_run(path: Path) -> tuple[TrainConfig, Variables, int]:
    """Reads the network of a training run: its best checkpoint, or the newest without validation.

    Args:
      path: the run's folder, its `checkpoints` folder, or the folder of one step in it.

    Returns:
      The configuration, the variables to evaluate (the moving average where there is one), and
      the step.

    Raises:
      ValueError: there is no complete checkpoint.
    """
    folder, wanted = path, None
    if (path / "checkpoints").is_dir():
        folder = path / "checkpoints"
    elif path.name.isdigit() and path.is_dir():
        folder, wanted = path.parent, int(path.name)
    steps = [int(p.name) for p in folder.glob("*") if p.is_dir() and p.name.isdigit()]
    if not steps:
        raise ValueError(f"{path} holds no checkpoint; give the folder of a training run")
    with _opened(folder) as manager:
        step = wanted
        if step is None:
            scores = {s: m[BEST_METRIC] for s in steps if (m := manager.metrics(s))}
            step = max(scores, key=scores.__getitem__) if scores else max(steps)
        config = _read_config(manager, step)
        item = "ema" if config.ema_decay else "variables"
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore()})
        return config, manager.restore(step, args=args)[item], step
