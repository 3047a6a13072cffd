"""The state of a training run, handed on from one run to another, in files or from a checkpoint.

`lnln convert RUN x.safetensors --state` writes it, as one file or (`--split`) as several small ones
(`weights.safetensors_parts`). They have the arrays of a checkpoint, named by its items and their
paths in them,

    variables/params/head/kernel    parameters, and variables/batch_stats/...
    ema/params/head/kernel          their moving average, where the run keeps one
    optimizer/0/0/mu/head/kernel    the state of Optax's optimizer

each with its own dtype, and in the metadata what a network's file says (`safetensors_files`) and
the rest of the checkpoint:

    {"format": 2, "version": "0.1.0", "name": "edsr", "scale": 2, "options": {...}, "step": 3000,
     "dtype": "float32",
     "state": {"next_step": 3000, "config": {...}, "images": ["5602e00f"]}}

`next_step` is the position of the data stream, `config` the configuration of the run, and `images`
identify its training images. With `init_state=true` a new run begins with all of it, and takes the
steps that the first run would have taken.
"""

import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lnln_jax.config import TrainConfig, differences, from_dict, to_dict
from lnln_jax.data.batches import Stream
from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.placement import place
from lnln_jax.training.resuming import check_changes
from lnln_jax.training.state import TrainState
from lnln_jax.weights.integrity import (
    DamagedCheckpointError,
    damage_named,
    misfits,
    named_arrays,
    none_readable,
    verify,
    verify_json,
)
from lnln_jax.weights.part_names import find_file
from lnln_jax.weights.runs import find_checkpoints, parse_config
from lnln_jax.weights.safetensors_files import STATE_FORMAT, describe_network, parse_metadata
from lnln_jax.weights.safetensors_parts import read_metadata, read_parts, write_parts

_ITEMS = ("variables", "ema", "optimizer")
_HOW_TO_WRITE = "lnln convert RUN x.safetensors --state"


@dataclass(frozen=True)
class HandedState:
    """All that a training run needs to go on.

    Attributes:
      source: where it is from.
      config: of the run that it is from.
      step: how many steps have been taken.
      next_step: the position of the data stream.
      images: what identifies the training images, for each source.
      arrays: on the host, by their names in a file (see the module).
    """

    source: Path
    config: TrainConfig
    step: int
    next_step: int
    images: list[str]
    arrays: dict[str, np.ndarray]


def read_state(source: Path) -> HandedState:
    """Reads the state of a training run.

    Args:
      source: the folder of a run, whose newest checkpoint is taken, or of one step in it; or a file
        with a state, one of a set of such files, or what they are called without their numbers.

    Raises:
      ValueError: there is no state, or it is damaged or not complete.
    """
    if source.is_dir():
        return _read_newest(source)
    path = find_file(source)
    if not path.is_file():
        raise ValueError(
            f"there is no state {source}; give a run's folder, or a file of {_HOW_TO_WRITE}"
        )
    text = read_metadata(path) if path.suffix.lower() == ".safetensors" else None
    if text is None or not parse_metadata(path, text).has_state:
        raise ValueError(
            f"{path} holds a network without the state of its training; {_HOW_TO_WRITE} writes one "
            "that has it, or give the run's folder"
        )
    about, arrays = read_parts(path, lambda name: True)
    try:
        state, step = about["state"], operator.index(about["step"])
        next_step, images = operator.index(state["next_step"]), list(map(str, state["images"]))
        return HandedState(path, from_dict(state["config"]), step, next_step, images, arrays)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"another version of lnln_jax wrote {path} ({error}); use that one"
        ) from error


def _read_newest(source: Path) -> HandedState:
    """The state in the newest checkpoint that can be read."""
    folder, steps, wanted = find_checkpoints(source)
    problems: list[DamagedCheckpointError] = []
    for step in reversed(steps) if wanted is None else [wanted]:
        try:
            state = _read_checkpoint(folder / str(step))
        except DamagedCheckpointError as error:
            problems.append(error)
            continue
        for problem in problems:
            say(f"warning: {problem}. Step {step} is used")
        return state
    raise none_readable(folder, problems)


def _read_checkpoint(checkpoint: Path) -> HandedState:
    with damage_named(checkpoint):
        verify_json(checkpoint, ("data", "config", "images"))
        texts = {
            name: json.loads((checkpoint / name / "metadata").read_text())
            for name in ("data", "config", "images")
        }
        sums = checkpoint / "checksums" / "metadata"  # which older checkpoints lack
        expected = json.loads(sums.read_text()) if sums.is_file() else {}
        arrays = {
            f"{item}/{name}": array
            for item in _ITEMS
            if item != "ema" or (checkpoint / item).is_dir()
            for name, array in _read_item(checkpoint / item, expected.get(item, {})).items()
        }
        next_step, images = texts["data"]["next_step"], texts["images"]["identities"]
    config = parse_config(texts["config"], checkpoint)
    return HandedState(checkpoint, config, int(checkpoint.name), next_step, images, arrays)


def _read_item(item: Path, sums: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint's item by their paths, whatever tree they are of."""
    import orbax.checkpoint as ocp

    shapes = ocp.StandardCheckpointHandler().metadata(item.resolve()).tree
    # Orbax reads into the memory of the host where it is given NumPy's arrays.
    host = jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), shapes)
    with ocp.StandardCheckpointer() as reader:
        arrays = named_arrays(reader.restore(item.resolve(), host))
    verify(arrays, sums)
    return arrays


def write_state(state: HandedState, target: Path, *, part_bytes: int | None = None) -> list[Path]:
    """Writes a state to a file, or to several of at most `part_bytes`; see `write_parts`."""
    config = state.config
    about = describe_network(config.model, step=state.step, dtype=config.dtype, format=STATE_FORMAT)
    about["state"] = {
        "next_step": state.next_step,
        "config": to_dict(config),
        "images": state.images,
    }
    return write_parts(target, state.arrays, about, part_bytes=part_bytes)


def begin_with(
    state: HandedState, config: TrainConfig, shapes: TrainState, stream: Stream, images: list[str]
) -> TrainState:
    """Begins a run with a state: its arrays on the devices, and the stream moved to its position.

    What differs from the run that it is from is said, a line each.

    Args:
      state: of the other run.
      config: of this run, with what "auto" came to.
      shapes: a state of this run, of which shapes, dtypes and shardings count.
      stream: of this run's data, which is moved.
      images: what identifies this run's training images.

    Raises:
      ValueError: the state is of another network or optimizer, or this run would be over with it.
    """
    if state.step >= config.steps and not config.time_budget:  # which sets them later
        raise ValueError(
            f"steps is {config.steps}, but init_from is {state.source} with {state.step} steps "
            "taken already; raise steps"
        )
    tree = {"variables": shapes.variables, "optimizer": shapes.opt_state, "ema": shapes.ema}
    arrays, remark = _with_average(state.arrays, wanted=shapes.ema is not None)
    _check_fit(state, arrays, config, tree)
    before = replace(state.config, init_from=config.init_from, init_state=config.init_state)
    check_changes(before, config, state.source, allow=True)
    if remark:
        say(remark)
    if state.images != images:
        say(f"warning: the training images are not those of the run whose state {state.source} is")
    placed = {name: place(arrays[name], leaf.sharding) for name, leaf in named_arrays(tree).items()}
    whole = jax.tree.unflatten(jax.tree.structure(tree), placed.values())
    stream.set_state({"next_step": state.next_step})
    return TrainState(
        step=place(np.int32(state.step), shapes.step.sharding),
        variables=whole["variables"],
        opt_state=whole["optimizer"],
        ema=whole["ema"],
        stretch=place(np.float32(config.stretch), shapes.stretch.sharding),
    )


def _with_average(
    arrays: Mapping[str, np.ndarray], *, wanted: bool
) -> tuple[dict[str, np.ndarray], str]:
    """The arrays with a moving average, or without, as it is wanted, and what is to be said."""
    there = any(name.startswith("ema/") for name in arrays)
    if there and not wanted:
        kept = {name: array for name, array in arrays.items() if not name.startswith("ema/")}
        return kept, "ema_decay is 0: the moving average in the state is left out"
    if wanted and not there:
        average = {
            name.replace("variables/", "ema/", 1): array.copy()
            for name, array in arrays.items()
            if name.startswith("variables/")
        }
        return {**arrays, **average}, (
            "the state has no moving average: it starts from the parameters and statistics"
        )
    return dict(arrays), ""


def _check_fit(
    state: HandedState,
    arrays: Mapping[str, np.ndarray],
    config: TrainConfig,
    tree: Mapping[str, Any],
) -> None:
    """Raises ValueError where a state is of another network or of another optimizer."""
    expected = named_arrays(tree)
    kinds = {"variables/": "network", "ema/": "network", "optimizer/": "optimizer"}
    for part, kind in kinds.items():
        saved, wanted = (
            {name: leaf for name, leaf in named.items() if name.startswith(part)}
            for named in (arrays, expected)
        )
        text = misfits(saved, wanted, ("state", kind))
        if not text:
            continue
        field = "optimizer." if kind == "optimizer" else "model."
        changed = [
            f"{key} was {old} and is {new}"
            for key, (old, new) in differences(state.config, config).items()
            if key.startswith(field)
        ]
        raise ValueError(
            f"init_from is {state.source}, the state of another {kind}: "
            f"{'; '.join([*changed, text])}. Give the settings that it was trained with, or leave "
            "init_state out: then init_from= takes over what fits of the network"
        )
    for name, leaf in expected.items():
        if arrays[name].dtype != leaf.dtype:
            raise ValueError(
                f"init_from is {state.source}, which has {name} as {arrays[name].dtype} instead of "
                f"{leaf.dtype}; write it again with lnln convert --state"
            )
