"""Checkpoints of a training run, with Orbax. A step's checkpoint has these items:

variables   parameters and batch statistics
ema         their moving average, where the run keeps one
optimizer   state of the Optax optimizer
data        position of the data stream, as JSON
config      configuration, as JSON
images      identities of the images, for training and validation, as JSON
checksums   checksums of all others, as JSON
metrics     scores of validation, as JSON; empty for a step without it
"""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from lnln_jax.config import TrainConfig, to_dict
from lnln_jax.data.batches import Stream
from lnln_jax.runtime.distributed import gather, is_primary, say
from lnln_jax.runtime.files import printable, writing
from lnln_jax.runtime.placement import place
from lnln_jax.training.state import TrainState
from lnln_jax.weights.integrity import (
    DamagedCheckpointError,
    check_fit,
    check_space,
    checksums,
    damage_named,
    json_checksum,
    none_readable,
    unreadable_scores,
    verify_json,
)
from lnln_jax.weights.runs import open_manager, saved_shapes, saved_steps, verify_step

_ARRAYS = ("variables", "ema", "optimizer")


class RunCheckpoints:
    """The checkpoints that a training run writes: the latest few, and the best by validation.

    Saving is asynchronous and atomic: a step's folder has its name only when it is complete.

    Attributes:
      folder: the `checkpoints` folder of the run.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        *,
        images: list[str],
        validation: str = "",
        other_images: bool = False,
    ) -> None:
        """Opens (and makes) the folder of a run.

        Args:
          folder: see the class.
          config: configuration of the run.
          images: identities of its training images.
          validation: identity of its validation images; "" where there are none.
          other_images: whether a checkpoint may come from other images.
        """
        self._other_images = other_images
        self.folder = folder
        self._images = images
        self._validation = validation
        self._config = config
        for step in unreadable_scores(folder):
            say(
                f"warning: the metrics of the checkpoint {folder / str(step)} are damaged; it has "
                f"been moved to {printable(self._aside)}"
            )
            self._move(step)
        self._opened = contextlib.ExitStack()
        self._manager = self._opened.enter_context(
            open_manager(folder, keep=config.keep_checkpoints)
        )

    def save(self, state: TrainState, stream: Stream, metrics: dict[str, float]) -> None:
        """Starts to write a checkpoint; `metrics` is empty or has `psnr_y`, its rank."""
        step = int(state.step)
        items: dict[str, Any] = {
            "variables": ocp.args.StandardSave(state.variables),
            "optimizer": ocp.args.StandardSave(state.opt_state),
            "data": ocp.args.JsonSave(stream.get_state()),
            "config": ocp.args.JsonSave(to_dict(self._config)),
            "images": ocp.args.JsonSave(
                {"identities": self._images, "validation": self._validation}
            ),
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

    def restore(self, shapes: TrainState, stream: Stream) -> TrainState:
        """Reads the newest checkpoint, and moves the stream there.

        One that is damaged is moved to `damaged_checkpoints/`, with a warning, and the one before
        it is taken.

        Args:
          shapes: state of which shapes, dtypes and shardings count.
          stream: stream of the run's data, which is moved.

        Raises:
          ValueError: all are damaged, or the newest is of another network or of other images.
        """
        damaged: dict[int, DamagedCheckpointError] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = _restore_step(
                    self._manager,
                    self.folder / str(step),
                    shapes,
                    stream,
                    self._images,
                    self._other_images,
                )
            except DamagedCheckpointError as error:
                damaged[step] = error
                continue
            for number, problem in damaged.items():
                say(
                    f"warning: {problem}. It has been moved to {printable(self._aside)}, and the "
                    f"run goes on from step {step}"
                )
                self._move(number)
            if damaged:
                self._manager.reload()
            return restored
        raise none_readable(self.folder, list(damaged.values()))

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
            self._opened.close()


def restore_before(
    folder: Path, limit: int, shapes: TrainState, stream: Stream, images: list[str]
) -> TrainState:
    """Reads the newest checkpoint of a step below `limit`; nothing in the folder changes.

    Raises:
      ValueError: there is none; or as `RunCheckpoints.restore`.
    """
    steps = [step for step in saved_steps(folder) if step < limit]
    if not steps:
        raise ValueError(f"{printable(folder)} holds no checkpoint of a step before {limit}")
    with open_manager(folder, create=False) as manager:
        return _restore_step(manager, folder / str(steps[-1]), shapes, stream, images)


def _restore_step(
    manager: ocp.CheckpointManager,
    checkpoint: Path,
    shapes: TrainState,
    stream: Stream,
    images: list[str],
    other_images: bool = False,
) -> TrainState:
    """Reads one checkpoint; arguments and errors are those of `RunCheckpoints`."""
    expected = {"variables": shapes.variables, "optimizer": shapes.opt_state}
    if shapes.ema is not None:
        expected["ema"] = shapes.ema
    step = int(checkpoint.name)
    items: dict[str, Any] = {
        name: ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, tree))
        for name, tree in expected.items()
    }
    items |= {"images": ocp.args.JsonRestore(), "data": ocp.args.JsonRestore()}
    with _agreed_damage(checkpoint):
        verify_json(checkpoint, ("data", "config", "images", "metrics"))
        saved = {name: saved_shapes(checkpoint / name) for name in expected}
    for name in expected.keys() - {"optimizer"}:  # which has the parameters' shapes
        check_fit(saved[name], expected[name], checkpoint)
    with _agreed_damage(checkpoint):
        restored = manager.restore(step, args=ocp.args.Composite(**items))
        verify_step(checkpoint, {name: restored[name] for name in expected})
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
    """Does what `damage_named` does; damage that one process finds is damage for all."""
    problem: DamagedCheckpointError | None = None
    try:
        with damage_named(checkpoint):
            yield
    except DamagedCheckpointError as error:
        problem = error
    if gather([problem is not None]).any():
        raise problem or DamagedCheckpointError(
            f"the checkpoint {printable(checkpoint)} is damaged: another process cannot read it"
        )
