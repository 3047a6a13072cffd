"""Checkpoints of a training run, with Orbax. A step's checkpoint has these items:

variables   parameters and batch statistics
ema         their moving average, where the run keeps one
optimizer   the optimizer's state
data        the position of the data stream, as JSON
config      the configuration, as JSON
images      what identifies the training images, as JSON
metrics     the validation's scores, as JSON; empty for a step without validation
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from lnln_jax.config import TrainConfig, build_module, from_dict, to_dict
from lnln_jax.data.pipeline import Stream
from lnln_jax.state import TrainState, Variables, initialize

BEST_METRIC = "psnr_y"


def _score(metrics: Mapping[str, float] | None) -> float:
    """What makes a checkpoint the best; a step without validation never is."""
    return (metrics or {}).get(BEST_METRIC, -math.inf)


def _manager(folder: Path, *, keep: int = 1, create: bool = True) -> ocp.CheckpointManager:
    policy = checkpoint_managers.AnyPreservationPolicy(
        [
            checkpoint_managers.LatestN(keep),
            checkpoint_managers.BestN(
                get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        best_fn=_score,  # or Orbax does not write the metrics down
        create=create,
        cleanup_tmp_directories=create,
    )
    return ocp.CheckpointManager(folder.resolve(), options=options)


def _abstract(tree: Any) -> Any:
    """Shapes, dtypes and shardings of a tree: what Orbax restores into."""
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)


class RunCheckpoints:
    """The checkpoints that a training run writes: the latest few, and the best by validation.

    Saving is asynchronous and atomic: a step's folder has its name only when it is complete.

    Attributes:
      folder: where they lie.
    """

    def __init__(self, folder: Path, config: TrainConfig, *, images: list[str]) -> None:
        """Opens (and makes) the folder of a run on training images with the identities `images`."""
        self.folder = folder
        self._images = images
        self._config = config
        self._manager = _manager(folder, keep=config.keep_checkpoints)

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, stream: Stream, metrics: dict[str, float]) -> None:
        """Starts to write a checkpoint; `metrics` is empty or has `psnr_y`, its rank."""
        step = int(state.step)
        items: dict[str, Any] = {
            "variables": ocp.args.StandardSave(state.variables),
            "optimizer": ocp.args.StandardSave(state.opt_state),
            "data": ocp.args.JsonSave(stream.get_state()),
            "config": ocp.args.JsonSave(to_dict(self._config)),
            "images": ocp.args.JsonSave({"identities": self._images}),
        }
        if state.ema is not None:
            items["ema"] = ocp.args.StandardSave(state.ema)
        self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def restore(self, state: TrainState, stream: Stream) -> TrainState:
        """Reads the newest checkpoint into a state like `state`, and moves the stream there.

        Raises:
          ValueError: it is damaged, or its run saw other images.
        """
        step = self._manager.latest_step()
        items: dict[str, Any] = {
            "images": ocp.args.JsonRestore(),
            "variables": ocp.args.StandardRestore(_abstract(state.variables)),
            "optimizer": ocp.args.StandardRestore(_abstract(state.opt_state)),
            "data": ocp.args.JsonRestore(),
        }
        if state.ema is not None:
            items["ema"] = ocp.args.StandardRestore(_abstract(state.ema))
        with _damage_named(self.folder / str(step)):
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        if restored["images"] != {"identities": self._images}:
            raise ValueError(
                f"the training images are not those that the run in {self.folder.parent} was "
                "started with; put them back, or train in another folder"
            )
        stream.set_state(restored["data"])
        return TrainState(
            step=jax.device_put(np.int32(step), state.step.sharding),
            variables=restored["variables"],
            opt_state=restored["optimizer"],
            ema=restored["ema"] if state.ema is not None else None,
        )

    def __enter__(self) -> "RunCheckpoints":
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _read_config(manager: ocp.CheckpointManager, step: int | None) -> TrainConfig:
    args = ocp.args.Composite(config=ocp.args.JsonRestore())
    return from_dict(manager.restore(step, args=args)["config"])


def saved_steps(folder: Path) -> list[int]:
    """The steps of the complete checkpoints in a `checkpoints` folder, which need not exist."""
    return sorted(int(p.parent.name) for p in folder.glob("*/config") if p.parent.name.isdigit())


def saved_config(folder: Path) -> TrainConfig | None:
    """The configuration in the newest checkpoint of a `checkpoints` folder, or None.

    Raises:
      ValueError: the checkpoint is damaged.
    """
    steps = saved_steps(folder)
    if not steps:
        return None
    with _damage_named(folder / str(steps[-1])), _manager(folder, create=False) as manager:
        return _read_config(manager, steps[-1])


def load_run(path: Path) -> tuple[TrainConfig, Variables, int]:
    """Reads the network of a training run: its best checkpoint, or the newest without validation.

    Args:
      path: the run's folder, its `checkpoints` folder, or the folder of one step in it.

    Returns:
      The configuration, the variables to evaluate (the moving average where there is one) on the
      default device, and the step.

    Raises:
      ValueError: there is no complete checkpoint, or it is damaged.
    """
    folder, wanted = path, None
    if (path / "checkpoints").is_dir():
        folder = path / "checkpoints"
    elif path.name.isdigit():
        folder, wanted = path.parent, int(path.name)
    steps = saved_steps(folder)
    if not steps or wanted not in (None, *steps):
        raise ValueError(f"{path} holds no checkpoint; give the folder of a training run")
    with _damage_named(folder), _manager(folder, create=False) as manager:
        step = wanted
        if step is None:
            step = max(steps, key=lambda step: (_score(manager.metrics(step)), step))
        with _damage_named(folder / str(step)):
            config = _read_config(manager, step)
            item = "ema" if config.ema_decay else "variables"
            args = ocp.args.Composite(**{item: ocp.args.StandardRestore(_expected(config))})
            return config, manager.restore(step, args=args)[item], step


@contextlib.contextmanager
def _damage_named(checkpoint: Path) -> Iterator[None]:
    """Turns the errors of a checkpoint that cannot be read into one that says which and why."""
    try:
        yield
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"the checkpoint {checkpoint} is damaged, or another version wrote it "
            f"({str(error)[:200]}); remove it to use the one before it"
        ) from error


def _expected(config: TrainConfig) -> Any:
    """Shapes and dtypes of the variables, on the default device wherever they were trained."""
    module = build_module(config)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        jax.eval_shape(lambda: initialize(module, config.seed)),
    )
