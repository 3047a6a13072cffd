"""The ways to make batches that `data.py` compares on the host, each in its own process."""

import argparse
import itertools
import os
import pickle
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from PIL import Image

from lnln_jax.data import RecordSource, Source, load_folder, make_train_iterator
from lnln_jax.data.prepare.recipes import Prepared, prepare_folder
from lnln_jax.data.prepare.sub_images import Cut
from lnln_jax.images.files import read_rgb
from lnln_jax.images.listing import find_images
from scripts.benchmarks.common import watch_others

BASELINE, MEMORY, CACHED = "torch-edsr", "host-memory", "host-records, cached"
MODES = (BASELINE, MEMORY, "host-records, first visits", CACHED)
WARM_UP = 16  # batches before each measurement; more than are made ahead


class Job(NamedTuple):
    """The same images in the three forms that the modes read, and what is cut from them."""

    hr: Path  # PNG files
    binaries: Path  # folders "lr" and "hr" of pickle files
    built: Prepared  # a dataset of sub-images
    scale: int
    size: int  # of LR patches
    batch: int


def make_job(args: argparse.Namespace, folder: Path) -> Job:
    """Writes the images in all forms; those too small for a patch are left out."""
    hr, binaries, side = folder / "hr", folder / "binaries", args.scale * args.lr_patch_size
    for part in (hr, binaries / "lr", binaries / "hr"):
        part.mkdir(parents=True)
    paths = [path for images in args.images for path in find_images(images)]
    images: Iterable[np.ndarray] = map(read_rgb, paths)
    if args.mosaic and paths:
        joined = mosaics(map(read_rgb, itertools.cycle(paths)), *map(int, args.mosaic.split("x")))
        images = itertools.islice(joined, args.count or 24)
    large = (image for image in images if min(image.shape[:2]) >= side)
    for number, image in enumerate(itertools.islice(large, args.count)):
        Image.fromarray(image).save(hr / f"{number:05}.png", compress_level=1)
    if not any(hr.iterdir()):
        names = ", ".join(map(str, args.images))
        sys.exit(f"--images: no images of {side}x{side} pixels or more in {names}")
    source = load_folder(hr, scale=args.scale, min_lr_size=args.lr_patch_size)
    for number, pair in enumerate(source):
        for kind, image in zip(("lr", "hr"), pair, strict=True):
            (binaries / kind / f"{number:05}.pickle").write_bytes(pickle.dumps(image))
    cut = Cut((args.scale,), step=Cut.size - side, min_side=side)
    built = prepare_folder(hr, "benchmark", cut=cut, validation_every=0, data_dir=folder)
    return Job(hr, binaries, built, args.scale, args.lr_patch_size, args.batch)


def mosaics(images: Iterator[np.ndarray], width: int, height: int) -> Iterator[np.ndarray]:
    """Joins images, turned so that they lie, to larger ones without end."""
    while True:
        rows: list[np.ndarray] = []
        while sum(len(row) for row in rows) < height:
            row: list[np.ndarray] = []
            while sum(image.shape[1] for image in row) < width:
                image = next(images)
                row.append(np.rot90(image) if image.shape[0] > image.shape[1] else image)
            low = min(len(image) for image in row)
            rows.append(np.concatenate([image[:low] for image in row], axis=1)[:, :width])
        yield np.concatenate(rows)[:height]


class BinaryFiles:
    """A map-style dataset for PyTorch: a random patch, in one of its eight symmetries."""

    def __init__(self, job: Job) -> None:
        names = sorted(os.listdir(job.binaries / "hr"))
        self.paths = [[job.binaries / kind / name for kind in ("lr", "hr")] for name in names]
        self.scale, self.size = job.scale, job.size

    def __len__(self) -> int:
        return max(len(self.paths), 2**18)  # a long epoch, since workers start anew with each

    def __getitem__(self, index: int) -> dict[str, Any]:
        import torch

        images = []
        for path in self.paths[index % len(self.paths)]:
            with open(path, "rb") as file:
                images.append(pickle.load(file))
        top, left = (random.randrange(side - self.size + 1) for side in images[0].shape[:2])
        horizontal, vertical, transpose = (random.random() < 0.5 for _ in range(3))
        tensors = {}
        for key, image, factor in zip(("lr", "hr"), images, (1, self.scale), strict=True):
            y, x, side = factor * top, factor * left, factor * self.size
            patch = image[y : y + side, x : x + side]
            patch = patch[:, ::-1] if horizontal else patch
            patch = patch[::-1] if vertical else patch
            patch = patch.transpose(1, 0, 2) if transpose else patch
            patch = np.ascontiguousarray(patch.transpose(2, 0, 1))
            tensors[key] = torch.from_numpy(patch).float()
        return tensors


def open_batches(job: Job, mode: str, workers: int) -> Any:
    """Returns endless batches, "lr" and "hr", of tensors or NumPy's arrays; with `close`."""
    if mode == BASELINE:
        import torch

        torch.set_num_threads(1)
        options = {"shuffle": True, "drop_last": True, "num_workers": workers}
        loader = torch.utils.data.DataLoader(BinaryFiles(job), job.batch, **options)
        return (batch for epoch in itertools.repeat(loader) for batch in epoch)
    source: Source
    if mode == MEMORY:
        source = load_folder(job.hr, scale=job.scale, min_lr_size=job.size)
    else:
        cache_bytes = 2**60 if mode == CACHED else 0
        source = RecordSource(job.built.folder, scale=job.scale, cache_bytes=cache_bytes)
        for index in range(len(source) if cache_bytes else 0):
            source[index]
    sizes = {"lr_patch_size": job.size, "batch_size": job.batch}
    return make_train_iterator([source], **sizes, seed=0, num_threads=0, num_workers=workers)


_batches: Any = None  # of this process, which has one mode


def open_mode(job: Job, mode: str, workers: int) -> None:
    global _batches
    _batches = open_batches(job, mode, workers)
    next(_batches)  # starts the workers


def measure_mode(seconds: float) -> dict[str, float]:
    for _ in range(WARM_UP):
        next(_batches)
    elsewhere = watch_others(cpu_seconds)
    patches, own, start = 0, cpu_seconds(), time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        patches += len(next(_batches)["lr"])
    cpu = cpu_seconds() - own
    return {
        "patches_per_second": patches / elapsed,
        "cpu_seconds_per_1000": 1000 * cpu / patches,
        "patches_per_cpu_second": patches / cpu,
        "cores_busy_elsewhere": elsewhere(),
    }


def close_mode() -> None:
    _batches.close()


def cpu_seconds() -> float:
    """Returns the CPU time of this process and of the living ones that it started."""
    others = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(times.user + times.system for times in others)
