"""Going on with the state of another training run (`init_state`).

The new run begins with all that `weights.handed_state` reads, and takes the steps that the other
run would have taken.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from lnln_jax.config import TrainConfig, differences
from lnln_jax.data.batches import Stream
from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.placement import place
from lnln_jax.training.places import with_spelling_of
from lnln_jax.training.resuming import check_changes
from lnln_jax.training.state import TrainState
from lnln_jax.weights.handed_state import HandedState
from lnln_jax.weights.integrity import misfits, named_arrays


def begin_with(
    state: HandedState, config: TrainConfig, shapes: TrainState, stream: Stream, images: list[str]
) -> TrainState:
    """Begins a run with a state: its arrays on the devices, and the stream moved to its position.

    What differs from the run that the state is from is said, a line each.

    Args:
      state: state of the other run.
      config: configuration of this run, with what "auto" came to.
      shapes: state of this run, of which shapes, dtypes and shardings count.
      stream: stream of this run's data, which is moved.
      images: identities of this run's training images.

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
    check_changes(with_spelling_of(config, before), config, state.source, allow=True)
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
    """Returns the arrays with or without a moving average, as wanted, and what is to be said."""
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
