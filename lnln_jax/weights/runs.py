"""Reading the folder of a training run: its steps, its configuration, its network."""

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
from lnln_jax.models.variables import Variables, abstract_variables
from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.plain_paths import plain_path
from lnln_jax.weights.integrity import (
    DamagedCheckpointError,
    check_fit,
    damage_named,
    named_arrays,
    none_readable,
    read_json,
    unreadable_scores,
    verify,
    verify_json,
)

BEST_METRIC = "psnr_y"

# Orbax raises what matters, and logs it as well, from its threads, each with its traceback.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


def _score(metrics: Mapping[str, float] | None) -> float:
    """Returns what makes a checkpoint the best; a step without validation never is."""
    return (metrics or {}).get(BEST_METRIC, -math.inf)


@contextlib.contextmanager
def open_manager(
    folder: Path, *, keep: int = 1, create: bool = True
) -> Iterator[ocp.CheckpointManager]:
    """Opens Orbax's manager of a `checkpoints` folder; without `create`, nothing changes there."""
    if create:
        folder.mkdir(parents=True, exist_ok=True)
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
    with plain_path(folder) as path, ocp.CheckpointManager(path, options=options) as manager:
        yield manager


def saved_shapes(item: Path) -> Any:
    """Returns the tree of shapes that the metadata of a saved tree hold."""
    with plain_path(item) as path:
        return ocp.StandardCheckpointHandler().metadata(path).tree


def verify_step(checkpoint: Path, trees: dict[str, Any]) -> None:
    """Compares arrays with the checksums in their checkpoint; older ones have none."""
    if not (checkpoint / "checksums").is_dir():
        return
    sums = read_json(checkpoint, "checksums")
    for name, tree in trees.items():
        verify(tree, sums.get(name, {}))


def saved_steps(folder: Path) -> list[int]:
    """Returns the steps of the complete checkpoints in a `checkpoints` folder, if it exists."""
    return sorted(int(p.parent.name) for p in folder.glob("*/config") if p.parent.name.isdigit())


def saved_config(folder: Path) -> TrainConfig | None:
    """Returns the configuration in the newest checkpoint of a `checkpoints` folder, or None.

    Raises:
      ValueError: all checkpoints are damaged, or another version wrote the newest.
    """
    problems = []
    for step in reversed(saved_steps(folder)):
        checkpoint = folder / str(step)
        try:
            with damage_named(checkpoint):
                verify_json(checkpoint, ("config",))
                tree = read_json(checkpoint, "config")
        except DamagedCheckpointError as error:
            problems.append(error)
            continue
        return parse_config(tree, checkpoint)
    if problems:
        raise none_readable(folder, problems)
    return None


def saved_images(folder: Path) -> dict[str, Any]:
    """Returns the identities of images in the newest checkpoint of a `checkpoints` folder.

    They are empty where they cannot be read, which is nobody's end.
    """
    try:
        return dict(read_json(folder / str(saved_steps(folder)[-1]), "images"))
    except (OSError, ValueError, TypeError, IndexError):
        return {}


def parse_config(tree: Any, checkpoint: Path) -> TrainConfig:
    """Returns the configuration that a sound checkpoint holds."""
    try:
        return from_dict(tree)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"another version of lnln_jax wrote the checkpoint {printable(checkpoint)} "
            f"({error}); use that one"
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
        raise ValueError(
            f"{printable(path)} holds no checkpoint; give the folder of a training run"
        )
    return folder, steps, wanted


def load_run(path: Path) -> tuple[TrainConfig, Variables, int]:
    """Reads the network of a training run: its best checkpoint, or the newest without validation.

    Args:
      path: folder of the run, its `checkpoints` folder, or the folder of one step in it.

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
                config, variables = _read_network(manager, folder / str(step))
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


def _read_network(
    manager: ocp.CheckpointManager, checkpoint: Path
) -> tuple[TrainConfig, Variables]:
    """Reads the configuration and the variables to evaluate."""
    with damage_named(checkpoint):
        verify_json(checkpoint, ("config", "metrics"))
        tree = read_json(checkpoint, "config")
    config = parse_config(tree, checkpoint)
    item, expected = "ema" if config.ema_decay else "variables", _expected(config)
    with damage_named(checkpoint):
        saved = saved_shapes(checkpoint / item)
    check_fit(saved, expected, checkpoint)
    with damage_named(checkpoint):
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(expected)})
        variables = manager.restore(int(checkpoint.name), args=args)[item]
        verify_step(checkpoint, {item: variables})
    return config, variables


def _expected(config: TrainConfig) -> Any:
    """Returns the shapes of the variables, on the default device wherever they were trained."""
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        abstract_variables(build_module(config)),
    )


def read_item(item: Path, sums: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint's item to the host, whatever tree they are of.

    Args:
      item: folder of the item, such as `checkpoints/1000/optimizer`.
      sums: checksums of the arrays; those without one pass.

    Returns:
      The arrays by their paths in the tree.

    Raises:
      OSError: they cannot be read.
      ValueError: an array is not what was saved.
    """
    shapes = saved_shapes(item)
    # Orbax reads into the memory of the host where it is given NumPy's arrays.
    host = jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), shapes)
    with plain_path(item) as path, ocp.StandardCheckpointer() as reader:
        arrays = named_arrays(reader.restore(path, host))
    verify(arrays, sums)
    return arrays
