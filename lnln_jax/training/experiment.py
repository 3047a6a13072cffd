"""A configuration made real: network, optimizer, images and the state before the first step."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np

from lnln_jax.config import Placement, TrainConfig, build_module
from lnln_jax.models.variables import Variables, abstract_variables, initialize
from lnln_jax.runtime.distributed import check_same
from lnln_jax.runtime.placement import place
from lnln_jax.training.handed_on import begin_with
from lnln_jax.training.inputs import open_sources
from lnln_jax.training.optimizer import make_optimizer, make_schedule
from lnln_jax.training.parallel import Layout, choose_layout
from lnln_jax.training.runners import StepRunner, open_runner
from lnln_jax.training.state import TrainState, create_state
from lnln_jax.training.step import GradientFunction, make_update
from lnln_jax.training.warm_start import transfer
from lnln_jax.weights.handed_state import read_state


@dataclass(frozen=True)
class Experiment:
    """All that a training run consists of.

    Attributes:
      config: configuration with what "auto" came to.
      module: network.
      layout: placement of state and batch on the devices.
      gradients: function that computes the gradients of a batch on the devices.
      runner: runner that takes the steps.
      start: function that makes the state before the first step, or takes over another run's.
      shapes: shapes of a state, with their shardings.
      identity: identities of the training images, one for each source.
      sources: name and number of images of each source.
      remark: how the number of steps was chosen, where the configuration does not say it.
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
    remark: str = ""

    def scheduled(self, state: TrainState) -> TrainState:
        """Returns a state whose learning rates are those of the configuration's length."""
        stretch = np.float32(self.config.stretch)
        return state.replace(stretch=place(stretch, self.shapes.stretch.sharding))

    @property
    def state_bytes(self) -> int:
        """Bytes of a state, counted once."""
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self.shapes))


def open_experiment(config: TrainConfig) -> Experiment:
    """Reads the training images and prepares the first step; nothing is compiled yet.

    Raises:
      ValueError: devices or images that cannot be used, or that differ between processes.
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

    shapes = layout.shapes(create, abstract_variables(module))
    here = settled(config, runner.placement, layout)

    def start() -> TrainState:
        if config.init_state:
            state = read_state(Path(config.init_from))
            return begin_with(state, here, shapes, runner.stream, identity)
        variables = initialize(module, config.seed)
        if config.init_from:
            variables = transfer(variables, Path(config.init_from), config.model)
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
    """Returns a configuration with what "auto" and 0 stand for: placement and number of devices."""
    data = replace(config.data, placement=placement)
    return replace(config, data=data, devices=len(layout.devices))
