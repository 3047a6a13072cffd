"""A configuration made real: network, optimizer, images and the state before the first step."""

from dataclasses import dataclass, replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

from lnln_jax.config import Placement, TrainConfig, build_module
from lnln_jax.loading import load_weights
from lnln_jax.optim import halving_schedule, make_optimizer
from lnln_jax.parallel import Layout, choose_layout
from lnln_jax.state import (
    GradientFunction,
    TrainState,
    Variables,
    create_state,
    initialize,
    make_update,
)
from lnln_jax.training_data import Feed, open_feed, open_sources


@dataclass(frozen=True)
class Experiment:
    """What a training consists of.

    Attributes:
      config: with the placement that "auto" came to.
      module: the network.
      layout: of state and batch on the devices.
      gradients: of a batch on the devices.
      feed: what takes steps.
      state: before the first step, on the devices.
      identity: what identifies the training images, for each source.
      sources: name and number of images of each source.
    """

    config: TrainConfig
    module: nn.Module
    layout: Layout
    gradients: GradientFunction
    feed: Feed
    state: TrainState
    identity: list[str]
    sources: list[tuple[str, int]]


def open_experiment(config: TrainConfig, *, resumed: bool) -> Experiment:
    """Reads the training images and prepares the first step; nothing is compiled but the weights.

    Args:
      config: what to train.
      resumed: whether a checkpoint will replace the state, so that `init_from` is not needed.

    Raises:
      ValueError: devices, images or weights that can't be used.
    """
    module, layout = build_module(config), choose_layout(config)
    optimizer = make_optimizer(config.optimizer)
    variables = initialize(module, config.seed)
    if config.init_from and not resumed:
        variables = _transfer(variables, Path(config.init_from), config)
    gradients = layout.gradients(config, module)
    update = make_update(
        gradients,
        optimizer,
        schedule=halving_schedule(config.optimizer),
        ema_decay=config.ema_decay,
    )
    sources = open_sources(config)
    feed = open_feed(config, sources, update, layout)
    state = create_state(variables, optimizer, ema=config.ema_decay > 0)
    return Experiment(
        config=placed(config, feed.placement),
        module=module,
        layout=layout,
        gradients=gradients,
        feed=feed,
        # Bound to its devices, as a restored state is: the step is compiled to the same program.
        state=layout.put(state),
        identity=[source.identity for source in sources],
        sources=[(source.name, len(source)) for source in sources],
    )


def placed(config: TrainConfig, placement: Placement) -> TrainConfig:
    """The configuration with the placement that "auto" stands for."""
    return replace(config, data=replace(config.data, placement=placement))


def _transfer(variables: Variables, source: Path, config: TrainConfig) -> Variables:
    """Fresh variables with those of a run or a file; of another scale, all but its tail."""
    try:
        other, trained, *_ = load_weights(source, default_scale=config.model.scale)
    except ValueError as error:
        raise ValueError(f"init_from: {error}; init_from= starts from random weights") from error
    fresh = ("upsampler", "tail") if other.scale != config.model.scale else ()
    merged = {
        collection: {
            name: new if name in fresh else trained.get(collection, {}).get(name)
            for name, new in tree.items()
        }
        for collection, tree in variables.items()
    }
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (variables, merged)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"init_from is {source}, a {other.name} with {other.options}; its "
            f"parameters do not fit {config.model.name} with {dict(config.model.options)}"
        )
    return jax.tree.map(jnp.asarray, merged)
