"""A configuration made real: network, optimizer, images and the state before the first step."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.config import Placement, TrainConfig, build_module
from lnln_jax.models.variables import Variables, initialize
from lnln_jax.runtime.distributed import check_same
from lnln_jax.runtime.placement import place
from lnln_jax.training.handed_on import begin_with
from lnln_jax.training.inputs import open_sources
from lnln_jax.training.optimizer import make_optimizer, make_schedule
from lnln_jax.training.parallel import Layout, choose_layout
from lnln_jax.training.runners import StepRunner, open_runner
from lnln_jax.training.state import TrainState, create_state
from lnln_jax.training.step import GradientFunction, make_update
from lnln_jax.training.warm_start import GROWING, grow
from lnln_jax.weights.handed_state import read_state
from lnln_jax.weights.load import load_weights


@dataclass(frozen=True)
class Experiment:
    """What a training consists of.

    Attributes:
      config: with what "auto" came to.
      module: the network.
      layout: of state and batch on the devices.
      gradients: of a batch on the devices.
      runner: what takes steps.
      start: makes the state before the first step, or with `init_state` takes over another run's.
      shapes: of a state, with their shardings.
      identity: what identifies the training images, for each source.
      sources: name and number of images of each source.
    """

    config: TrainConfig
    module: nn.Module
    layout: Layout
    gradients: GradientFunction
    runner: StepRunner
    start: Callable[[], TrainState]
    shapes: TrainState
    identity: list[str]
    sources: list[tuple[str, int]]

    def scheduled(self, state: TrainState) -> TrainState:
        """Returns a state whose learning rates are those of the configuration's length."""
        stretch = np.float32(self.config.stretch)
        return state.replace(stretch=place(stretch, self.shapes.stretch.sharding))

    @property
    def state_bytes(self) -> int:
        """The size of a state, once."""
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self.shapes))


def open_experiment(config: TrainConfig) -> Experiment:
    """Reads the training images and prepares the first step; nothing is compiled yet.

    Raises:
      ValueError: devices or images that can't be used, or that differ between processes.
    """
    module, layout = build_module(config), choose_layout(config)
    optimizer = make_optimizer(config.optimizer)
    gradients = layout.gradients(config, module)
    update = make_update(
        gradients,
        optimizer,
        schedule=make_schedule(config.optimizer),
        ema_decay=config.ema_decay,
    )
    sources = open_sources(config)
    identity = [source.identity for source in sources]
    check_same("the training images", repr(identity))
    runner = open_runner(config, sources, update, layout)

    def create(variables: Variables) -> TrainState:
        return create_state(variables, optimizer, ema=config.ema_decay > 0)

    shapes = layout.shapes(create, jax.eval_shape(lambda: initialize(module, config.seed)))
    here = settled(config, runner.placement, layout)

    def start() -> TrainState:
        if config.init_state:
            state = read_state(Path(config.init_from))
            return begin_with(state, here, shapes, runner.stream, identity)
        variables = initialize(module, config.seed)
        if config.init_from:
            variables = _transfer(variables, Path(config.init_from), config)
        return layout.make(create, variables)

    return Experiment(
        config=here,
        module=module,
        layout=layout,
        gradients=gradients,
        runner=runner,
        start=start,
        shapes=shapes,
        identity=identity,
        sources=[(source.name, len(source)) for source in sources],
    )


def settled(config: TrainConfig, placement: Placement, layout: Layout) -> TrainConfig:
    """The configuration with what "auto" and 0 stand for: placement and number of devices."""
    data = replace(config.data, placement=placement)
    return replace(config, data=data, devices=len(layout.devices))


def _transfer(variables: Variables, source: Path, config: TrainConfig) -> Variables:
    """Fresh variables with those of a run or a file.

    Of another scale, all but its tail; of a shallower network of the kinds that can, it is grown.
    """
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
    misfit = (
        f"init_from is {source}, a {other.name} with {other.options}; its parameters do not fit "
        f"{config.model.name} with {dict(config.model.options)}"
    )
    if other.name == config.model.name and other.name in GROWING:
        try:
            return grow(variables, merged)
        except ValueError as error:
            raise ValueError(f"{misfit}: {error}") from error
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (variables, merged)]
    if shapes[0] != shapes[1]:
        raise ValueError(misfit)
    return jax.tree.map(jnp.asarray, merged)
