"""From a configuration to training: which images, where they lie, and how steps get batches."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from lnln_jax.benchmarks import Benchmark, open_benchmark
from lnln_jax.config import DataConfig, Placement, TrainConfig
from lnln_jax.data import (
    Degradation,
    RecordSource,
    Source,
    Stream,
    dead_leaves_pairs,
    find_data_set,
    load_folder,
    make_train_iterator,
)
from lnln_jax.data.pipeline import make_sampler
from lnln_jax.data.prepare import default_data_dir
from lnln_jax.data.resident import Planner, ResidentImages, cut_patches, put_images, resident_bytes
from lnln_jax.distributed import gather
from lnln_jax.parallel import Layout, place
from lnln_jax.reporting import progress_of
from lnln_jax.state import Batch, Metrics, TrainState, TrainStep, make_train_steps

_SHARE = 0.5  # of a device's memory that images may take in placement "auto"


def data_dir(data: DataConfig) -> Path:
    """Where data sets are looked for by name."""
    return Path(data.data_dir).expanduser() if data.data_dir else default_data_dir()


def degradation(data: DataConfig) -> Degradation:
    """How LR images are made.

    Raises:
      ValueError: a strength out of its range.
    """
    return Degradation(data.degradation, data.blur_sigma, data.noise_level, data.jpeg_quality)


def locate(field: str, name: str, config: TrainConfig) -> tuple[Path, bool]:
    """Finds what a field of the configuration names.

    Returns:
      Its folder, and whether that is a data set and not a folder of images.

    Raises:
      ValueError: there is neither; or as `find_data_set` raises it.
    """
    place = data_dir(config.data)
    if found := find_data_set(name, config.model.scale, place):
        return found, True
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"{field} names {name}, which is no folder of images, and no data set in {place}; "
            "build one with `lnln prepare`, or give a folder"
        )
    return folder, False


def open_sources(config: TrainConfig) -> list[Source]:
    """Opens the training images: data sets as they are, folders and dead leaves in memory.

    Raises:
      ValueError: there are none, or some can't be used.
    """
    data, scale = config.data, config.model.scale
    degraded = degradation(data)
    sources: list[Source] = []
    cache_bytes = int(data.cache_share * _free_memory())
    for number, name in enumerate(data.train):
        lr = (data.train_lr[number] or None) if data.train_lr else None
        folder, prepared = locate("data.train", name, config)
        if not prepared:
            sources.append(
                load_folder(
                    folder,
                    scale=scale,
                    min_lr_size=data.lr_patch_size,
                    lr_root=lr,
                    degradation=degraded,
                    on_bad_image=data.on_bad_image,
                    progress=progress_of(f"reading {name}"),
                )
            )
            continue
        if lr is not None:
            raise ValueError(
                f"data.train_lr gives {lr} for the data set {name}, which has LR images of its "
                'own; leave data.train_lr out, or give "" there'
            )
        records = RecordSource(folder, scale=scale, cache_bytes=cache_bytes)
        cache_bytes -= records.cache_bytes
        if records.degradation != degraded:
            raise ValueError(
                f"the LR images of {name} are {records.degradation.label}, and data.degradation "
                f"asks for {degraded.label}; set data.degradation, or build another data set"
            )
        sources.append(records)
    if data.dead_leaves:
        sources.append(
            dead_leaves_pairs(
                data.dead_leaves,
                size=data.dead_leaves_size,
                scale=scale,
                seed=config.seed,
                degradation=degraded,
                progress=progress_of("generating dead leaves"),
            )
        )
    if not sources:
        raise ValueError(
            "data.train names nothing and data.dead_leaves is 0; give training images, for example "
            "data.train=path/to/images"
        )
    return sources


Residence = Literal["host", "each", "shared"]


def choose_residence(placement: Placement, needed: int, devices: Sequence[jax.Device]) -> Residence:
    """Where training images are held: on the host, whole on each device, or in shares.

    Args:
      placement: as the configuration has it.
      needed: bytes of one copy of all images.
      devices: that train, of all processes.

    Raises:
      ValueError: placement is "device", and all devices together haven't the memory.
    """
    if placement == "host":
        return "host"
    room = min(_memory(d) for d in devices if d.process_index == jax.process_index())
    if jax.process_count() > 1:
        room = min(gather([room]))[0]
    share = _SHARE if placement == "auto" else 1.0
    if needed <= share * room:
        return "each"
    if needed <= share * room * len(devices):
        return "shared"
    if placement == "device":
        raise ValueError(
            f"data.placement is device, but the images take {needed / 2**30:.1f} GiB and "
            f"{len(devices)} x {devices[0].device_kind} have "
            f"{room * len(devices) / 2**30:.1f} GiB; set data.placement=host, or build a data set "
            "with smaller or fewer sub-images"
        )
    return "host"


def _memory(device: jax.Device) -> int:
    """Bytes of memory that a program may use on a device."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return _free_memory()


def _free_memory() -> int:
    """Bytes of memory that the host has for programs."""
    import psutil

    return psutil.virtual_memory().available


def open_validation(config: TrainConfig) -> Benchmark | None:
    """Reads the images that training is measured on into memory; None where there are none.

    Raises:
      ValueError: they can't be used.
    """
    data = config.data
    if not data.validation:
        return None
    folder, _ = locate("data.validation", data.validation, config)
    benchmark = open_benchmark(
        folder,
        config.model.scale,
        degradation=degradation(data),
        first=data.validation_images or None,
    )
    return benchmark.in_memory()


class Feed(AbstractContextManager):
    """Training steps with their batches.

    Attributes:
      placement: where patches are cut.
      most: steps that one call can take.
      stream: what makes batches, or plans of them; its state is that of the data.
    """

    placement: Placement
    most: int
    stream: Stream

    @abstractmethod
    def run(self, state: TrainState, n: int) -> tuple[TrainState, Metrics]:
        """Takes n steps from a state that it takes over.

        Returns:
          The state after them, and metrics of which the first n along the only axis count.
        """

    def __exit__(self, *_: object) -> None:
        self.stream.close()


class HostFeed(Feed):
    """Batches that the host cuts, one for each call."""

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

    def run(self, state: TrainState, n: int) -> tuple[TrainState, Metrics]:
        """Takes the one step."""
        return self._step(state, self._put(next(self.stream)))


class DeviceFeed(Feed):
    """Batches that are cut on the devices, in a loop of steps."""

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
        self._steps = make_train_steps(
            layout.keeping(update), lambda images, plan: cut_patches(images, plan, lr_patch_size)
        )

    def run(self, state: TrainState, n: int) -> tuple[TrainState, Metrics]:
        """Takes n steps."""
        plans = [next(self.stream) for _ in range(n)]
        padded = np.stack(plans + plans[-1:] * (self.most - n))  # one shape, one program
        return self._steps(state, self._images, place(padded, self._sharding), np.int32(n))


def open_feed(
    config: TrainConfig, sources: list[Source], update: TrainStep, layout: Layout
) -> Feed:
    """Puts training images where the configuration, or their size, wants them.

    Raises:
      ValueError: no batch can be made of them, or they don't fit.
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
        return HostFeed(stream, update, layout)
    sampler = make_sampler(sources, **options)  # before gigabytes are sent
    progress = progress_of("sending images to the device")
    images, shapes = put_images(sources, layout.devices, progress, shared=residence == "shared")
    return DeviceFeed(
        Stream(Planner(sampler, shapes, data.lr_patch_size)),
        images,
        update,
        layout,
        lr_patch_size=data.lr_patch_size,
        most=config.steps_per_call,
    )
