"""From a configuration to images: those to train on, and those to measure on."""

from pathlib import Path

import jax

from lnln_jax.config import DataConfig, TrainConfig
from lnln_jax.data import (
    Degradation,
    RecordSource,
    Source,
    dead_leaves_pairs,
    find_dataset,
    load_folder,
)
from lnln_jax.data.image_sets import may_hold_images
from lnln_jax.data.pairs import check_room
from lnln_jax.data.records import default_data_dir
from lnln_jax.evaluation.test_sets import Benchmark, open_benchmark
from lnln_jax.runtime.distributed import processes_here
from lnln_jax.runtime.extras import require
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.runtime.processes import available_memory
from lnln_jax.runtime.progress import progress_of

_UNLIMITED = 2**62  # bytes


def data_dir(data: DataConfig) -> Path:
    """Returns the folder in which datasets are looked for by name."""
    return Path(local_path(data.data_dir)) if data.data_dir else default_data_dir()


def degradation(data: DataConfig) -> Degradation:
    """Returns how LR images are made.

    Raises:
      ValueError: a strength out of its range.
    """
    return Degradation(data.degradation, data.blur_sigma, data.noise_level, data.jpeg_quality)


def locate(field: str, name: str, config: TrainConfig) -> tuple[Path, bool]:
    """Finds what a field of the configuration names.

    Returns:
      Its folder or file, and whether that is a dataset and not a folder or file of images.

    Raises:
      ValueError: there is neither; or as `find_dataset` raises it.
    """
    place = data_dir(config.data)
    if found := find_dataset(name, config.model.scale, place):
        return found, True
    folder = Path(local_path(name))
    if not may_hold_images(folder):
        raise ValueError(
            f"{field} names {printable(name)}, which is not a folder or .zip file of images, nor a "
            f"dataset in {printable(place)}; give a folder, or build a dataset with `lnln prepare`"
        )
    return folder, False


def check_packages(config: TrainConfig) -> None:
    """Checks, before any image is read, that what cuts batches on the host is installed.

    Raises:
      MissingExtraError: it is not.
    """
    data = config.data
    if data.num_threads or data.num_workers:
        if config.parallel == "pmap":
            require("grain", "train", "parallel=pmap, for which the host cuts batches,")
        if data.placement == "host":
            require("grain", "train", "data.placement=host")


def check_batch(config: TrainConfig) -> None:
    """Checks, before any image is read, that memory can hold a batch; what a step takes is more.

    Raises:
      ValueError: it cannot.
    """
    size, side = config.data.batch_size, config.data.lr_patch_size
    values = 3 * size * side**2 * (1 + config.model.scale**2) // jax.process_count()
    if 4 * values > (free := free_memory()):  # float32
        raise ValueError(
            f"data.batch_size is {size}, and so many patches of {side} take "
            f"{4 * values / 2**30:.1f} GiB, where {free / 2**30:.1f} GiB are free; take fewer, or "
            "smaller ones (data.lr_patch_size)"
        )


def open_sources(config: TrainConfig) -> list[Source]:
    """Opens the training images: datasets as they are, folders and dead leaves in memory.

    Raises:
      ValueError: there are none, or some cannot be used.
      MissingExtraError: as `check_packages`; or there is a dataset, and TFDS is not installed.
    """
    check_packages(config)
    check_batch(config)
    data, scale = config.data, config.model.scale
    degraded = degradation(data)
    sources: list[Source] = []
    cache_bytes = int(data.cache_share * free_memory())
    for number, name in enumerate(data.train):
        lr = (data.train_lr[number] or None) if data.train_lr else None
        folder, prepared = locate("data.train", name, config)
        if not prepared:
            sources.append(
                load_folder(
                    folder,
                    scale=scale,
                    min_lr_size=data.lr_patch_size,
                    lr_root=None if lr is None else local_path(lr),
                    degradation=degraded,
                    on_bad_image=data.on_bad_image,
                    memory=free_memory(),
                    progress=progress_of(f"reading {printable(name)}"),
                )
            )
            continue
        if lr is not None:
            raise ValueError(
                f"data.train_lr gives {lr} for the dataset {name}, which has LR images of its "
                'own; leave data.train_lr out, or give "" there'
            )
        records = RecordSource(folder, scale=scale, cache_bytes=cache_bytes)
        cache_bytes -= records.cache_bytes
        if records.degradation != degraded:
            raise ValueError(
                f"the LR images of {name} are {records.degradation.label}, and data.degradation "
                f"asks for {degraded.label}; set data.degradation, or build another dataset"
            )
        sources.append(records)
    if data.dead_leaves:
        sources.append(_dead_leaves(config))
    if not sources:
        raise ValueError(
            "data.train names nothing and data.dead_leaves is 0; give training images, for example "
            "data.train=path/to/images"
        )
    return sources


def _dead_leaves(config: TrainConfig) -> Source:
    data, scale = config.data, config.model.scale
    pixels = data.dead_leaves * data.dead_leaves_size**2
    check_room(f"data.dead_leaves={data.dead_leaves}", pixels, scale, free_memory())
    return dead_leaves_pairs(
        data.dead_leaves,
        size=data.dead_leaves_size,
        scale=scale,
        seed=config.seed,
        degradation=degradation(data),
        progress=progress_of("generating dead leaves"),
    )


def free_memory() -> int:
    """Returns the bytes of memory for each of the host's processes; all must ask together.

    Where nothing tells, that is more than anything needs.
    """
    available = available_memory()
    return (_UNLIMITED if available is None else available) // processes_here()


def open_validation(config: TrainConfig) -> Benchmark | None:
    """Reads the images that training is measured on into memory; None where there are none.

    Raises:
      ValueError: they cannot be used.
    """
    data = config.data
    if not data.validation:
        return None
    folder, _ = locate("data.validation", data.validation, config)
    try:
        benchmark = open_benchmark(
            folder.absolute(),
            config.model.scale,
            degradation=degradation(data),
            first=data.validation_images or None,
        )
        return benchmark.in_memory()
    except ValueError as error:
        raise ValueError(f"data.validation: {error}") from error
