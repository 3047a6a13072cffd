"""Training steps with their batches, which the host cuts or the devices."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from lnln_jax.config import Placement, TrainConfig
from lnln_jax.data import Source, Stream, make_train_iterator
from lnln_jax.data.batches import make_sampler
from lnln_jax.data.resident import Planner, ResidentImages, cut_patches, put_images, resident_bytes
from lnln_jax.runtime.distributed import gather
from lnln_jax.runtime.extras import install, installed
from lnln_jax.runtime.placement import place
from lnln_jax.runtime.progress import progress_of
from lnln_jax.training.inputs import free_memory
from lnln_jax.training.parallel import Layout
from lnln_jax.training.state import Batch, Metrics, TrainState
from lnln_jax.training.step import TrainStep, make_train_steps

_SHARE = 0.5  # of a device's memory that images may take in placement "auto"

Residence = Literal["host", "each", "shared"]


def choose_residence(placement: Placement, needed: int, devices: Sequence[jax.Device]) -> Residence:
    """Returns where training images are held: on the host, whole on each device, or in shares.

    Without Grain, "auto" means "device".

    Args:
      placement: placement that the configuration asks for.
      needed: bytes of one copy of all images.
      devices: devices that train, of all processes.

    Raises:
      ValueError: they must be on the devices, which do not have the memory, all together.
    """
    if placement == "host":
        return "host"
    room = _room(devices)
    may_be_host = placement == "auto" and installed("grain")
    share = _SHARE if may_be_host else 1.0
    if needed <= share * room:
        return "each"
    if needed <= share * room * len(devices):
        return "shared"
    if may_be_host:
        return "host"
    grain = "" if installed("grain") else f" after {install('train')}"
    raise ValueError(
        f"data.placement is {placement}, but the images take {needed / 2**30:.1f} GiB and "
        f"{len(devices)} x {devices[0].device_kind} have "
        f"{room * len(devices) / 2**30:.1f} GiB; set data.placement=host{grain}, or build a "
        "dataset with smaller or fewer sub-images"
    )


def _room(devices: Sequence[jax.Device]) -> int:
    """Returns the bytes that a program may use on each device; all processes must ask together."""
    local = [device for device in devices if device.process_index == jax.process_index()]
    shared = free_memory() // len(local)  # by devices that are part of the host
    rooms = [shared]
    for device in local:
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            rooms.append(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return int(gather([min(rooms[1:] or rooms)]).min())


class StepRunner(AbstractContextManager):
    """Training steps with their batches.

    Attributes:
      placement: where patches are cut.
      most: number of steps that one call can take.
      stream: stream of batches, or of plans of them; its state is that of the data.
    """

    placement: Placement
    most: int
    stream: Stream

    @abstractmethod
    def batch(self) -> Batch:
        """Returns the batch of the next step, on the devices."""

    @abstractmethod
    def run(self, state: TrainState, n: int) -> tuple[TrainState, Metrics]:
        """Takes n steps from a state that it takes over.

        Returns:
          The state after them, and metrics of which the first n along the only axis count.
        """

    def __exit__(self, *_: object) -> None:
        self.stream.close()


class HostRunner(StepRunner):
    """Steps on batches that the host cuts, one for each call."""

    placement: Placement = "host"
    most = 1

    def __init__(self, stream: Stream, update: TrainStep, layout: Layout) -> None:
        """Takes the stream of this process's rows of batches and what a step does."""
        self.stream = stream
        self._put = layout.put_rows

        def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            state, metrics = update(state, batch)
            return state, {key: value[None] for key, value in metrics.items()}

        self._step = layout.compile(step)

    def batch(self) -> Batch:
        """Sends the host's batch to the devices."""
        return self._put(next(self.stream))

    def run(self, state: TrainState, n: int) -> tuple[TrainState, Metrics]:
        """Takes the one step."""
        return self._step(state, self.batch())


class DeviceRunner(StepRunner):
    """Steps on batches that are cut on the devices, in a loop."""

    placement: Placement = "device"

    def __init__(
        self,
        stream: Stream,
        images: ResidentImages,
        update: TrainStep,
        layout: Layout,
        *,
        lr_patch_size: int,
        most: int,
    ) -> None:
        """Takes the stream of plans, the images, and what a step does."""
        self.stream = stream
        self.most = most
        self._images = images
        self._sharding = layout.replicated
        cut = partial(cut_patches, lr_patch_size=lr_patch_size)
        self._cut = jax.jit(cut)
        self._steps = make_train_steps(layout.keeping(update), cut)

    def batch(self) -> Batch:
        """Cuts the batch from the images."""
        return self._cut(self._images, place(next(self.stream), self._sharding))

    def run(self, state: TrainState, n: int) -> tuple[TrainState, Metrics]:
        """Takes n steps."""
        plans = [next(self.stream) for _ in range(n)]
        padded = np.stack(plans + plans[-1:] * (self.most - n))  # one shape, one program
        return self._steps(state, self._images, place(padded, self._sharding), np.int32(n))


def open_runner(
    config: TrainConfig, sources: list[Source], update: TrainStep, layout: Layout
) -> StepRunner:
    """Makes the runner, and puts the images where the configuration, or their size, wants them.

    Raises:
      ValueError: no batch can be made of them, or they do not fit.
    """
    data = config.data
    options: dict[str, Any] = {
        "lr_patch_size": data.lr_patch_size,
        "batch_size": data.batch_size,
        "seed": config.seed,
        "weights": data.weights or None,
    }
    placement = "host" if layout.kind == "pmap" else data.placement
    residence = choose_residence(placement, resident_bytes(sources), layout.devices)
    if residence == "host":
        stream = make_train_iterator(
            sources,
            **options,
            num_threads=data.num_threads,
            num_workers=data.num_workers,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        return HostRunner(stream, update, layout)
    sampler = make_sampler(sources, **options)  # before gigabytes are sent
    progress = progress_of("sending images to the device")
    images, shapes = put_images(sources, layout.mesh, progress, shared=residence == "shared")
    return DeviceRunner(
        Stream(Planner(sampler, shapes, data.lr_patch_size)),
        images,
        update,
        layout,
        lr_patch_size=data.lr_patch_size,
        most=config.steps_per_call,
    )
