"""Reading what `training.checkpoints` writes: a state to go on with, a configuration, a network."""

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from lnln_jax.config import TrainConfig, build_module, from_dict
from lnln_jax.data.batches import Stream
from lnln_jax.models.variables import Variables, abstract_variables
from lnln_jax.runtime.distributed import gather, say
from lnln_jax.runtime.placement import place
from lnln_jax.training.state import TrainState
from lnln_jax.weights.integrity import (
    DamagedCheckpointError,
    check_fit,
    damage_named,
    none_readable,
    unreadable_scores,
    verify,
    verify_json,
)

BEST_METRIC = "psnr_y"

# Orbax's threads log the errors that Orbax raises as well, each with its traceback.
logging.getLogger("absl").addFilter(
    lambda record: record.levelno < logging.ERROR or "orbax" not in record.pathname
)


def _score(metrics: Mapping[str, float] | None) -> float:
    """What makes a checkpoint the best; a step without validation never is."""
    return (metrics or {}).get(BEST_METRIC, -math.inf)


def open_manager(folder: Path, *, keep: int = 1, create: bool = True) -> ocp.CheckpointManager:
    """Orbax's manager of a `checkpoints` folder; without `create` it changes nothing there."""
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


def restore_step(
    manager: ocp.CheckpointManager,
    step: int,
    shapes: TrainState,
    stream: Stream,
    images: list[str],
    other_images: bool = False,
) -> TrainState:
    """Reads one checkpoint; arguments and errors are those of `RunCheckpoints`."""
    expected = {"variables": shapes.variables, "optimizer": shapes.opt_state}
    if shapes.ema is not None:
        expected["ema"] = shapes.ema
    checkpoint = Path(manager.directory) / str(step)
    items: dict[str, Any] = {
        name: ocp.args.StandardRestore(_abstract(tree)) for name, tree in expected.items()
    }
    items |= {"images": ocp.args.JsonRestore(), "data": ocp.args.JsonRestore()}
    with _agreed_damage(checkpoint):
        verify_json(checkpoint, ("data", "config", "images", "metrics"))
        saved = {name: _shapes(checkpoint / name) for name in expected}
    for name in expected.keys() - {"optimizer"}:  # which has the parameters' shapes
        check_fit(saved[name], expected[name], checkpoint)
    with _agreed_damage(checkpoint):
        restored = manager.restore(step, args=ocp.args.Composite(**items))
        _verify(manager, step, {name: restored[name] for name in expected})
        position, identities = restored["data"]["next_step"], restored["images"]["identities"]
    if identities != images:
        problem = (
            f"the training images are not those that the run in {checkpoint.parents[1]} was "
            "started with"
        )
        if not other_images:
            raise ValueError(
                f"{problem}; put them back, train in another folder, or go on as another run from "
                "here (--allow-config-change)"
            )
        say(f"warning: {problem}")
    stream.set_state({"next_step": position})
    return TrainState(
        step=place(np.int32(step), shapes.step.sharding),
        variables=restored["variables"],
        opt_state=restored["optimizer"],
        ema=restored["ema"] if shapes.ema is not None else None,
    )


@contextlib.contextmanager
def _agreed_damage(checkpoint: Path) -> Iterator[None]:
    """`damage_named`, where the damage that one process finds is damage for all."""
    problem: DamagedCheckpointError | None = None
    try:
        with damage_named(checkpoint):
            yield
    except DamagedCheckpointError as error:
        problem = error
    if gather([problem is not None]).any():
        raise problem or DamagedCheckpointError(
            f"the checkpoint {checkpoint} is damaged: another process cannot read it"
        )


def restore_before(
    folder: Path, limit: int, shapes: TrainState, stream: Stream, images: list[str]
) -> TrainState:
    """Reads the newest checkpoint of a step below `limit`; nothing in the folder changes.

    Raises:
      ValueError: there is none; or as `RunCheckpoints.restore`.
    """
    steps = [step for step in saved_steps(folder) if step < limit]
    if not steps:
        raise ValueError(f"{folder} holds no checkpoint of a step before {limit}")
    with open_manager(folder, create=False) as manager:
        return restore_step(manager, steps[-1], shapes, stream, images)


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


def saved_steps(folder: Path) -> list[int]:
    """The steps of the complete checkpoints in a `checkpoints` folder, which need not exist."""
    return sorted(int(p.parent.name) for p in folder.glob("*/config") if p.parent.name.isdigit())


def saved_config(folder: Path) -> TrainConfig | None:
    """The configuration in the newest checkpoint of a `checkpoints` folder, or None.

    Raises:
      ValueError: all checkpoints are damaged, or another version wrote the newest.
    """
    reader = ocp.Checkpointer(ocp.JsonCheckpointHandler())
    problems = []
    for step in reversed(saved_steps(folder)):
        checkpoint = folder / str(step)
        try:
            with damage_named(checkpoint):
                verify_json(checkpoint, ("config",))
                tree = reader.restore((checkpoint / "config").resolve())
        except DamagedCheckpointError as error:
            problems.append(error)
            continue
        return parse_config(tree, checkpoint)
    if problems:
        raise none_readable(folder, problems)
    return None


def parse_config(tree: Any, checkpoint: Path) -> TrainConfig:
    """The configuration that a sound checkpoint holds."""
    try:
        return from_dict(tree)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"another version of lnln_jax wrote the checkpoint {checkpoint} ({error}); use that one"
        ) from error


def find_checkpoints(path: Path) -> tuple[Path, list[int], int | None]:
    """Finds what `load_run` takes.

    Returns:
      The `checkpoints` folder, the steps in it, and the step that is wanted, or None.

    Raises:
      ValueError: there is no such checkpoint.
    """
    folder, wanted = path, None
    if (path / "checkpoints").is_dir():
        folder = path / "checkpoints"
    elif path.name.isdigit():
        folder, wanted = path.parent, int(path.name)
    steps = saved_steps(folder)
    if not steps or wanted not in (None, *steps):
        raise ValueError(f"{path} holds no checkpoint; give the folder of a training run")
    return folder, steps, wanted


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
    folder, steps, wanted = find_checkpoints(path)
    with open_manager(folder, create=False) as manager:
        if wanted is None:
            damaged = unreadable_scores(folder)
            steps = [step for step in steps if step not in damaged] or steps
            for step in damaged:
                say(f"warning: the metrics of {folder / str(step)} are damaged")
            order = sorted(steps, key=lambda step: (_score(_metrics(manager, step)), step))
        else:
            order = [wanted]
        problems = []
        for step in reversed(order):
            try:
                config, variables = _read_network(manager, step)
            except DamagedCheckpointError as error:
                problems.append(error)
                continue
            for problem in problems:
                say(f"warning: {problem}. Step {step} is used")
            return config, variables, step
    if wanted is not None:
        raise DamagedCheckpointError(f"{problems[0]}; give the run's folder for another")
    raise none_readable(folder, problems)


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
        args = ocp.args.Composite(config=ocp.args.JsonRestore())
        tree = manager.restore(step, args=args)["config"]
    config = parse_config(tree, checkpoint)
    item, expected = "ema" if config.ema_decay else "variables", _expected(config)
    with damage_named(checkpoint):
        saved = _shapes(checkpoint / item)
    check_fit(saved, expected, checkpoint)
    with damage_named(checkpoint):
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(expected)})
        variables = manager.restore(step, args=args)[item]
        _verify(manager, step, {item: variables})
    return config, variables


def _expected(config: TrainConfig) -> Any:
    """Shapes and dtypes of the variables, on the default device wherever they were trained."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        abstract_variables(build_module(config)),
    )
