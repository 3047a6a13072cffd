"""Checkpoints of a training run, with Orbax. A step's checkpoint has these items:

variables   parameters and batch statistics
ema         their moving average, where the run keeps one
optimizer   the optimizer's state
data        the position of the data stream, as JSON
config      the configuration, as JSON
images      what identifies the training images, as JSON
checksums   of all others, as JSON
metrics     the validation's scores, as JSON; empty for a step without validation
"""

import itertools
import json
import logging
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from lnln_jax.checkpoint_checks import (
    DamagedCheckpointError,
    check_fit,
    check_space,
    checksums,
    damage_named,
    json_checksum,
    verify,
    verify_json,
)
from lnln_jax.config import TrainConfig, build_module, from_dict, to_dict
from lnln_jax.data.pipeline import Stream
from lnln_jax.distributed import gather, is_primary
from lnln_jax.files import writing
from lnln_jax.state import TrainState, Variables, initialize

BEST_METRIC = "psnr_y"
_ARRAYS = ("variables", "ema", "optimizer")

# Orbax's threads log the errors that Orbax raises as well, each with its traceback.
logging.getLogger("absl").addFilter(
    lambda record: record.levelno < logging.ERROR or "orbax" not in record.pathname
)


def _score(metrics: Mapping[str, float] | None) -> float:
    """What makes a checkpoint the best; a step without validation never is."""
    return (metrics or {}).get(BEST_METRIC, -math.inf)


def _unreadable_scores(folder: Path) -> list[int]:
    """The steps whose metrics are damaged, which Orbax reads all together and stumbles over."""
    steps = []
    for path in folder.glob("*/metrics/metrics"):
        try:
            json.loads(path.read_text())
        except ValueError:
            steps.append(int(path.parents[1].name))
    return sorted(steps)


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
        lightweight_initialize=not create,  # leave the metrics of all steps unread
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

    def __init__(
        self, folder: Path, config: TrainConfig, *, images: list[str], other_images: bool = False
    ) -> None:
        """Opens (and makes) the folder of a run.

        Args:
          folder: see the class.
          config: of the run.
          images: the identities of its training images.
          other_images: whether a checkpoint may come from other images.
        """
        self._other_images = other_images
        self.folder = folder
        self._images = images
        self._config = config
        for step in _unreadable_scores(folder):
            print(
                f"warning: the metrics of the checkpoint {folder / str(step)} are damaged; it has "
                f"been moved to {self._aside}",
                file=sys.stderr,
            )
            self._move(step)
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
        arrays = [name for name in _ARRAYS if name in items]
        sums = {name: checksums(items[name].item) for name in arrays}
        texts = {name: items[name].item for name in ("data", "config", "images")}
        texts["metrics"] = metrics
        sums["json"] = {name: json_checksum(text) for name, text in texts.items()}
        items["checksums"] = ocp.args.JsonSave(sums)
        with writing("a checkpoint", self.folder):
            check_space(self.folder, [items[name].item for name in arrays])
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def restore(self, state: TrainState, stream: Stream) -> TrainState:
        """Reads the newest checkpoint into a state like `state`, and moves the stream there.

        One that is damaged is moved to `damaged_checkpoints/`, with a warning, and the one before
        it is taken.

        Raises:
          ValueError: all are damaged, or the newest is of another network or of other images.
        """
        damaged: dict[int, DamagedCheckpointError] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = restore_step(
                    self._manager, step, state, stream, self._images, self._other_images
                )
            except DamagedCheckpointError as error:
                damaged[step] = error
                continue
            for number, problem in damaged.items():
                print(
                    f"warning: {problem}. It has been moved to {self._aside}, and the run goes on "
                    f"from step {step}",
                    file=sys.stderr,
                )
                self._move(number)
            if damaged:
                self._manager.reload()
            return restored
        if damaged:
            raise DamagedCheckpointError(
                f"none of the checkpoints in {self.folder} can be read: "
                f"{'; '.join(map(str, damaged.values()))}. Nothing has been moved; put a copy of "
                "one back, or train in another folder"
            )
        raise ValueError(f"{self.folder} holds no checkpoint")

    @property
    def _aside(self) -> Path:
        return self.folder.parent / "damaged_checkpoints"

    def _move(self, step: int) -> None:
        """Puts a checkpoint out of Orbax's sight."""
        if is_primary():
            aside = self._aside
            aside.mkdir(exist_ok=True)
            names = itertools.chain([str(step)], (f"{step}_{n}" for n in itertools.count(2)))
            free = next(name for name in names if not (aside / name).exists())
            (self.folder / str(step)).rename(aside / free)
        gather([step])  # all processes wait for it

    def __enter__(self) -> "RunCheckpoints":
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until everything is written."""
        try:
            with writing("a checkpoint", self.folder):
                self._manager.wait_until_finished()
        finally:
            self._manager.close()


def restore_step(
    manager: ocp.CheckpointManager,
    step: int,
    state: TrainState,
    stream: Stream,
    images: list[str],
    other_images: bool = False,
) -> TrainState:
    """Reads one checkpoint; arguments and errors are those of `RunCheckpoints`."""
    expected = {"variables": state.variables, "optimizer": state.opt_state}
    if state.ema is not None:
        expected["ema"] = state.ema
    checkpoint = Path(manager.directory) / str(step)
    for name in ("variables", "ema"):
        if name in expected:
            with damage_named(checkpoint):
                saved = _shapes(checkpoint / name)
            check_fit(saved, expected[name], checkpoint)
    items: dict[str, Any] = {
        name: ocp.args.StandardRestore(_abstract(tree)) for name, tree in expected.items()
    }
    items |= {"images": ocp.args.JsonRestore(), "data": ocp.args.JsonRestore()}
    with damage_named(checkpoint):
        verify_json(checkpoint, ("data", "config", "images", "metrics"))
        _read_config(manager, step)  # what is not whole in one part is not to be trusted
        restored = manager.restore(step, args=ocp.args.Composite(**items))
        _verify(manager, step, {name: restored[name] for name in expected})
        if restored["images"] == {"identities": images}:
            stream.set_state(restored["data"])
    if restored["images"] != {"identities": images}:
        problem = f"the training images are not those that the run in {checkpoint.parents[1]} was "
        if not other_images:
            raise ValueError(
                f"{problem}started with; put them back, train in another folder, or go on as "
                "another run from here (--allow-config-change)"
            )
        print(f"warning: {problem}started with", file=sys.stderr)
        stream.set_state(restored["data"])
    return TrainState(
        step=jax.device_put(np.int32(step), state.step.sharding),
        variables=restored["variables"],
        opt_state=restored["optimizer"],
        ema=restored["ema"] if state.ema is not None else None,
    )


def restore_before(
    folder: Path, limit: int, state: TrainState, stream: Stream, images: list[str]
) -> TrainState:
    """Reads the newest checkpoint of a step below `limit`; nothing in the folder changes.

    Where there is none, the state is returned as it is. Errors are those of `RunCheckpoints`.
    """
    steps = [step for step in saved_steps(folder) if step < limit]
    if not steps:
        return state
    with _manager(folder, create=False) as manager:
        return restore_step(manager, steps[-1], state, stream, images)


def _shapes(item: Path) -> Any:
    """The tree of shapes that the metadata of a saved tree have."""
    return ocp.StandardCheckpointHandler().metadata(item.resolve()).tree


def _verify(manager: ocp.CheckpointManager, step: int, trees: dict[str, Any]) -> None:
    """Compares arrays with the checksums in their checkpoint; older ones have none."""
    if not (Path(manager.directory) / str(step) / "checksums").is_dir():
        return
    args = ocp.args.Composite(checksums=ocp.args.JsonRestore())
    sums = manager.restore(step, args=args)["checksums"]
    for name, tree in trees.items():
        verify(tree, sums.get(name, {}))


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
    reader = ocp.Checkpointer(ocp.JsonCheckpointHandler())
    for step in reversed(steps):
        try:
            with damage_named(folder / str(step)):
                verify_json(folder / str(step), ("config",))
                return from_dict(reader.restore((folder / str(step) / "config").resolve()))
        except DamagedCheckpointError:
            if step == steps[0]:
                raise
    raise AssertionError("unreachable")


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
    with _manager(folder, create=False) as manager:
        if wanted is None:
            damaged = _unreadable_scores(folder)
            steps = [step for step in steps if step not in damaged] or steps
            for step in damaged:
                print(f"warning: the metrics of {folder / str(step)} are damaged", file=sys.stderr)
            order = sorted(steps, key=lambda step: (_score(_metrics(manager, step)), step))
        else:
            order = [wanted]
        while order:
            step = order.pop()
            try:
                return *_read_network(manager, step), step
            except DamagedCheckpointError as error:
                if not order:
                    raise
                print(f"warning: {error}. Step {order[-1]} is used", file=sys.stderr)
    raise AssertionError("unreachable")


def _metrics(manager: ocp.CheckpointManager, step: int) -> Mapping[str, float] | None:
    try:
        return manager.metrics(step)
    except (OSError, ValueError, KeyError):  # damaged: never the best
        return None


def _read_network(manager: ocp.CheckpointManager, step: int) -> tuple[TrainConfig, Variables]:
    """The configuration and the variables to evaluate."""
    checkpoint = Path(manager.directory) / str(step)
    with damage_named(checkpoint):
        verify_json(checkpoint, ("config", "metrics"))
        config = _read_config(manager, step)
        item = "ema" if config.ema_decay else "variables"
        expected, saved = _expected(config), _shapes(checkpoint / item)
    check_fit(saved, expected, checkpoint)
    with damage_named(checkpoint):
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(expected)})
        variables = manager.restore(step, args=args)[item]
        _verify(manager, step, {item: variables})
    return config, variables


def _expected(config: TrainConfig) -> Any:
    """Shapes and dtypes of the variables, on the default device wherever they were trained."""
    module = build_module(config)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        jax.eval_shape(lambda: initialize(module, config.seed)),
    )
