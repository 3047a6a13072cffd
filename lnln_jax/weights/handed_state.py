"""The state of a training run, to be handed on to another run, in files or from a checkpoint.

`lnln convert RUN x.safetensors --state` writes it, as one file or (`--split`) as several small ones
(`weights.safetensors_parts`). They have the arrays of a checkpoint, named by its items and their
paths in them,

    variables/params/head/kernel    parameters, and variables/batch_stats/...
    ema/params/head/kernel          their moving average, where the run keeps one
    optimizer/0/0/mu/head/kernel    the state of the Optax optimizer

each with its own dtype, and in the metadata what a network's file says (`safetensors_files`) and
the rest of the checkpoint:

    {"format": 2, "version": "0.1.0", "name": "edsr", "scale": 2, "options": {...}, "step": 3000,
     "dtype": "float32",
     "state": {"next_step": 3000, "config": {...}, "images": ["5602e00f"]}}

`next_step` is the position of the data stream, `config` the configuration of the run, and `images`
identify its training images. `training.handed_on` begins a run with it.
"""

import operator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lnln_jax.config import TrainConfig, from_dict, to_dict
from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.files import printable
from lnln_jax.weights.integrity import (
    DamagedCheckpointError,
    damage_named,
    none_readable,
    read_json,
    verify_json,
)
from lnln_jax.weights.part_names import find_file
from lnln_jax.weights.safetensors_files import STATE_FORMAT, describe_network, parse_metadata
from lnln_jax.weights.safetensors_parts import read_metadata, read_parts, write_parts

_ITEMS = ("variables", "ema", "optimizer")
_HOW_TO_WRITE = "lnln convert RUN x.safetensors --state"


@dataclass(frozen=True)
class HandedState:
    """All that a training run needs to go on.

    Attributes:
      source: file or checkpoint that it is from.
      config: configuration of the run that it is from.
      step: number of steps that have been taken.
      next_step: position of the data stream.
      images: identities of the training images, one for each source.
      arrays: arrays on the host, by their names in a file (see the module).
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
      source: folder of a run, whose newest checkpoint is taken, or of one step in it; or a file
        with a state, one of a set of such files, or what they are called without their numbers.

    Raises:
      ValueError: there is no state, or it is damaged or not complete.
    """
    if source.is_dir():
        return _read_newest(source)
    path = find_file(source)
    if not path.is_file():
        raise ValueError(
            f"there is no state {printable(source)}; give a run's folder, or a file of "
            f"{_HOW_TO_WRITE}"
        )
    text = read_metadata(path) if path.suffix.lower() == ".safetensors" else None
    if text is None or not parse_metadata(path, text).has_state:
        raise ValueError(
            f"{printable(path)} holds a network without the state of its training; "
            f"{_HOW_TO_WRITE} writes one that has it, or give the run's folder"
        )
    about, arrays = read_parts(path, lambda name: True)
    try:
        state, step = about["state"], operator.index(about["step"])
        next_step, images = operator.index(state["next_step"]), list(map(str, state["images"]))
        return HandedState(path, from_dict(state["config"]), step, next_step, images, arrays)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(
            f"another version of lnln_jax wrote {printable(path)} ({error}); use that one"
        ) from error


def _read_newest(source: Path) -> HandedState:
    """Reads the state in the newest checkpoint that can be read."""
    from lnln_jax.weights.runs import find_checkpoints  # Orbax takes a while to import

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
    from lnln_jax.weights.runs import parse_config, read_item

    with damage_named(checkpoint):
        verify_json(checkpoint, ("data", "config", "images"))
        texts = {name: read_json(checkpoint, name) for name in ("data", "config", "images")}
        older = not (checkpoint / "checksums").is_dir()
        expected = {} if older else read_json(checkpoint, "checksums")
        arrays = {
            f"{item}/{name}": array
            for item in _ITEMS
            if item != "ema" or (checkpoint / item).is_dir()
            for name, array in read_item(checkpoint / item, expected.get(item, {})).items()
        }
        next_step, images = texts["data"]["next_step"], texts["images"]["identities"]
    config = parse_config(texts["config"], checkpoint)
    return HandedState(checkpoint, config, int(checkpoint.name), next_step, images, arrays)


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
