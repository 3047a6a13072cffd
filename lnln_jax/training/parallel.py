"""One training run on many devices: a part of each batch on each, and one sum of gradients.

`auto`   `jax.jit` over a mesh of all devices, the batch cut along its axis `data`, the state
         replicated. `jax.shard_map` computes the gradients, so that what is communicated is what
         is written here.
`fsdp`   the same, with parameters, state of the optimizer and moving average cut among the devices
         as well: gathered before a step, gradients scattered after it. For networks whose state is
         large beside a device's memory.
`pmap`   the same step under `jax.pmap`, for code bases built on it; in one process. JAX keeps
         `pmap` in maintenance and recommends `jit` over a mesh.

With `batch_norm="global"`, batch normalisation takes its statistics over the batch of all devices,
so a training run is the same, up to rounding, on any number of them. That costs three small sums
for each normalisation. With "local" each device has its own statistics, only the running ones are
averaged, and a step communicates once.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from lnln_jax.config import Parallel, TrainConfig
from lnln_jax.data.resident import AXIS
from lnln_jax.models.variables import Variables
from lnln_jax.training.state import Batch, Metrics, TrainState
from lnln_jax.training.step import GradientFunction, Gradients, TrainStep, make_gradients

_LEAST = 1024  # elements of an array that "fsdp" cuts; smaller ones are replicated


@dataclass(frozen=True)
class Layout:
    """The devices that train, and how state and batch lie on them.

    Attributes:
      devices: devices of all processes, in the order of the parts of the batch.
      kind: see the module.
    """

    devices: tuple[jax.Device, ...]
    kind: Parallel = "auto"

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices along the axis `data`."""
        return Mesh(np.array(self.devices), (AXIS,))

    @property
    def replicated(self) -> Sharding:
        """Sharding of what every device has whole."""
        return self._sharding(PartitionSpec())

    @property
    def by_rows(self) -> Sharding:
        """Sharding of batches, cut along their first axis."""
        return self._sharding(PartitionSpec(AXIS))

    def _sharding(self, spec: PartitionSpec) -> Sharding:
        # A program for one device is a plainer one.
        if len(self.devices) == 1:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, spec)

    def spec(self, x: Any) -> PartitionSpec:
        """Returns how an array of the state is cut: along the longest axis that can be, if any."""
        count = len(self.devices)
        if self.kind == "fsdp" and np.size(x) >= _LEAST:
            axes = [axis for axis, length in enumerate(x.shape) if length % count == 0]
            if axes:
                longest = max(axes, key=lambda axis: x.shape[axis])
                return PartitionSpec(*[None] * longest, AXIS)
        return PartitionSpec()

    def state_sharding(self, state: Any) -> Any:
        """Returns the shardings of a state, or of shapes like it."""
        return jax.tree.map(lambda x: self._sharding(self.spec(x)), state)

    def make(self, create: Callable[[Variables], TrainState], variables: Variables) -> TrainState:
        """Makes a state where it is to lie, of variables that are the same in all processes."""
        shardings = self.state_sharding(jax.eval_shape(create, variables))
        return jax.jit(create, out_shardings=shardings)(jax.device_get(variables))

    def shapes(self, create: Callable[[Variables], TrainState], variables: Any) -> TrainState:
        """Returns the shapes, with their shardings, of what `make` would make of such variables."""
        shapes = jax.eval_shape(create, variables)
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            shapes,
            self.state_sharding(shapes),
        )

    def put_rows(self, batch: Any) -> Any:
        """Puts this process's rows of a batch on its devices, as a part of the batch of all."""
        if self.kind == "pmap":  # which does it itself
            return batch
        return jax.tree.map(
            lambda rows: jax.make_array_from_process_local_data(self.by_rows, rows), batch
        )

    def gradients(self, config: TrainConfig, module: nn.Module) -> GradientFunction:
        """Returns what computes the gradients of a whole batch, which lies on the devices."""
        alone = len(self.devices) == 1
        if not alone and config.batch_norm == "global" and hasattr(module, "axis_name"):
            module = module.clone(axis_name=AXIS)
        local = make_gradients(module, config.loss, config.accumulate)
        if alone:
            return local
        if self.kind == "pmap":  # `compile` maps the whole step
            return lambda variables, batch: mean_over_devices(local(variables, batch))
        return self._sharded(local)

    def _sharded(self, local: GradientFunction) -> GradientFunction:
        """Returns gradients under `jax.shard_map`, cut as the parameters are.

        Without the check of types, `psum` has the gradient that it has under `pmap`: a sum again.
        With it, JAX would sum the gradients by itself, and a mean after that would be multiplied by
        the number of devices.
        """

        def gradients(variables: Variables, batch: Batch) -> Gradients:
            specs = jax.tree.map(self.spec, variables["params"])
            whole: Any = PartitionSpec()

            def mean(variables: Variables, batch: Batch) -> Gradients:
                return mean_over_devices(local(variables, batch), specs)

            return jax.shard_map(
                mean,
                mesh=self.mesh,
                in_specs=(whole, PartitionSpec(AXIS)),
                out_specs=Gradients(whole, whole, specs),
                check_vma=False,
            )(variables, batch)

        return gradients

    def compile(self, step: TrainStep) -> TrainStep:
        """Jits (or maps) a step; it takes over (donates) the state that it is given."""
        if self.kind != "pmap" or len(self.devices) == 1:
            return jax.jit(self.keeping(step), donate_argnums=0)
        count = len(self.devices)
        mapped = jax.pmap(
            step,
            AXIS,
            in_axes=(None, 0),
            out_axes=None,
            devices=self.devices,
            donate_argnums=0,
        )

        def run(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            return mapped(state, {k: x.reshape(count, -1, *x.shape[1:]) for k, x in batch.items()})

        return run

    def keeping(self, step: Callable[..., tuple[TrainState, Metrics]]) -> Any:
        """Returns a step whose new state lies as the old one did."""
        if self.kind != "fsdp" or len(self.devices) == 1:
            return step

        def run(state: TrainState, *args: Any) -> tuple[TrainState, Metrics]:
            state, metrics = step(state, *args)
            return lax.with_sharding_constraint(state, self.state_sharding(state)), metrics

        return run

    def local(self, tree: Any) -> Any:
        """Returns what lies on the devices, whole on the first one of this process."""
        if len(self.devices) == 1:
            return tree
        return jax.tree.map(lambda x: x.addressable_data(0), self._gather(tree))

    @functools.cached_property
    def _gather(self) -> Callable[[Any], Any]:
        return jax.jit(lambda tree: tree, out_shardings=self.replicated)


def mean_over_devices(gradients: Gradients, specs: Any = None) -> Gradients:
    """Returns the mean over the devices, in one sum of one array, under `shard_map` or `pmap`.

    Args:
      gradients: gradients of one device's part of the batch.
      specs: partition of each gradient; those that are cut are summed one by one.
    """
    leaves, tree = jax.tree.flatten(gradients.params)
    cut = [PartitionSpec()] * len(leaves) if specs is None else jax.tree.leaves(specs)
    together = [leaf for leaf, spec in zip(leaves, cut, strict=True) if not any(spec)]
    flat, restore = ravel_pytree((gradients.loss, gradients.statistics, together))
    loss, statistics, together = restore(lax.pmean(flat, AXIS))
    rest = iter(together)
    means = [
        lax.psum_scatter(leaf, AXIS, scatter_dimension=len(spec) - 1, tiled=True)
        / lax.axis_size(AXIS)
        if any(spec)
        else next(rest)
        for leaf, spec in zip(leaves, cut, strict=True)
    ]
    return Gradients(loss, statistics, jax.tree.unflatten(tree, means))


def choose_layout(config: TrainConfig) -> Layout:
    """Returns the devices that the configuration asks for.

    Raises:
      ValueError: there are fewer, or they cannot share a batch.
    """
    devices, processes = jax.devices(), jax.process_count()
    if config.devices > len(devices):
        raise ValueError(
            f"devices is {config.devices}, but there are {len(devices)}; devices=0 takes all"
        )
    if config.devices not in (0, len(devices)) and processes > 1:
        raise ValueError(
            f"devices is {config.devices}, but {processes} processes train with all of theirs; set "
            "devices=0"
        )
    if config.parallel == "pmap" and processes > 1:
        raise ValueError(
            f"parallel is pmap, which trains in one process, and there are {processes}; set "
            "parallel=auto"
        )
    count = config.devices or len(devices)
    parts = count * config.accumulate
    if config.data.batch_size % parts:
        raise ValueError(
            f"data.batch_size is {config.data.batch_size}, which {count} devices with accumulate="
            f"{config.accumulate} cannot share equally; choose a multiple of {parts}, or fewer "
            "devices"
        )
    devices.sort(key=lambda device: (device.process_index, device.id))  # as rows of batches are cut
    return Layout(tuple(devices[:count]), config.parallel)
