"""What training data costs, beside a PyTorch DataLoader, in one run on the same images.

    python scripts/benchmark_data.py --images data/BSDS400
    python scripts/benchmark_data.py --images data/BSDS400 --mosaic 2040x1356  # as large as DIV2K's
    python scripts/benchmark_data.py --images data/BSDS400 --parts device      # without PyTorch

First batches that the host cuts, with every number of worker processes: the modes take turns, each
in a process of its own. Then training steps whose patches are cut on the device, in turns with
steps on one and the same batch. Prints tables; writes benchmark_data.json and benchmark_data.md.
Needs Linux, and PyTorch for the first part.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import importlib.util
import itertools
import json
import os
import pickle
import platform
import random
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
from framework_sides import busy_seconds
from PIL import Image

from lnln_jax.config import build_module, load_config
from lnln_jax.data import RecordSource, Source, Stream, load_folder, make_train_iterator
from lnln_jax.data.pipeline import make_sampler
from lnln_jax.data.prepare import prepare_folder
from lnln_jax.data.resident import Planner, cut_patches, put_images
from lnln_jax.data.sub_images import Cut
from lnln_jax.files import make_folder, write_file
from lnln_jax.image_files import find_images, read_rgb
from lnln_jax.optim import halving_schedule, make_optimizer
from lnln_jax.state import create_state, initialize, make_train_steps, make_update

ROOT = Path(__file__).parents[1]
BASELINE = "torch-edsr"
MODES = {
    BASELINE: "PyTorch's DataLoader as in the EDSR code base: one file of pickled pixels for each "
    "image, opened for every patch; float32 tensors",
    "host-memory": "`make_train_iterator`, decoded images in memory; uint8 arrays",
    "host-records, first visits": "the same on a data set of `lnln prepare`, with no cache: every "
    "patch decodes two PNG files",
    "host-records, cached": "the same, all images in the cache",
}
WARM_UP = 16  # batches before each measurement; more than are made ahead
QUIET = 0.1  # cores that other processes may keep busy while a time is taken
TRIES = 3  # of a measurement, to find such a time
SETTINGS = ("mosaic", "scale", "lr_patch_size", "batch", "rounds", "seconds")
MOSAICS = 24
SUB_IMAGE = 480
CALLS = 50  # of what takes about a millisecond
MOST = 100  # training steps in a call


@dataclasses.dataclass(frozen=True)
class Job:
    """The same images in the three forms that the modes read, and what is cut from them."""

    hr: Path  # a PNG file each
    binaries: Path  # folders "lr" and "hr" with a pickle file each
    records: Path  # a data set of sub-images
    scale: int
    lr_patch_size: int
    batch: int


def make_job(args: argparse.Namespace, folder: Path) -> Job:
    """Writes the images in all forms.

    Raises:
      ValueError: there are no images, or all are too small.
    """
    side = args.scale * args.lr_patch_size
    job = Job(folder / "hr", folder, folder, args.scale, args.lr_patch_size, args.batch)
    for part in ("hr", "binaries/lr", "binaries/hr"):
        (folder / part).mkdir(parents=True)
    for number, image in enumerate(read_images(args, side)):
        Image.fromarray(image).save(job.hr / f"{number:05}.png", compress_level=1)
    source = load_folder(job.hr, scale=args.scale, min_lr_size=args.lr_patch_size)
    for number, pair in enumerate(source):
        for kind, image in zip(("lr", "hr"), pair, strict=True):
            with (folder / "binaries" / kind / f"{number:05}.pickle").open("wb") as file:
                pickle.dump(image, file)
    cut = Cut((args.scale,), size=SUB_IMAGE, step=SUB_IMAGE - side, min_side=side)
    built = prepare_folder(job.hr, "benchmark", cut=cut, validation_every=0, data_dir=folder)
    return dataclasses.replace(job, binaries=folder / "binaries", records=built.folder)


def read_images(args: argparse.Namespace, side: int) -> Iterator[np.ndarray]:
    """The first images, uint8 `H W 3`, that are large enough, or mosaics of all of them."""
    paths = [path for folder in args.images for path in find_images(folder)]
    if not paths:
        raise ValueError(f"--images: no images in {', '.join(map(str, args.images))}")
    if args.mosaic:
        images = mosaics(map(read_rgb, itertools.cycle(paths)), *args.mosaic)
        return itertools.islice(images, args.count or MOSAICS)
    images = (image for image in map(read_rgb, paths) if min(image.shape[:2]) >= side)
    return itertools.islice(images, args.count)


def mosaics(images: Iterator[np.ndarray], width: int, height: int) -> Iterator[np.ndarray]:
    """Joins images, turned so that they lie, to larger ones without end."""
    while True:
        rows: list[np.ndarray] = []
        while sum(row.shape[0] for row in rows) < height:
            row: list[np.ndarray] = []
            while sum(image.shape[1] for image in row) < width:
                image = next(images)
                row.append(np.rot90(image) if image.shape[0] > image.shape[1] else image)
            low = min(image.shape[0] for image in row)
            rows.append(np.concatenate([image[:low] for image in row], axis=1)[:, :width])
        yield np.concatenate(rows)[:height]


class BinaryFiles:
    """A map-style dataset for PyTorch: a random patch, in one of its eight symmetries."""

    def __init__(self, job: Job) -> None:
        names = sorted(os.listdir(job.binaries / "hr"))
        self.paths = [[job.binaries / kind / name for kind in ("lr", "hr")] for name in names]
        self.scale, self.size = job.scale, job.lr_patch_size
        self.length = max(len(names), 2**18)  # long epochs, since workers start anew with each

    def __len__(self) -> int:
        return self.length

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


def open_batches(job: Job, mode: str, workers: int) -> Iterator[dict[str, Any]]:
    """Endless batches: "lr" and "hr", tensors of PyTorch or arrays."""
    if mode == BASELINE:
        import torch

        torch.set_num_threads(1)
        loader = torch.utils.data.DataLoader(
            BinaryFiles(job), job.batch, shuffle=True, num_workers=workers, drop_last=True
        )
        return itertools.chain.from_iterable(itertools.repeat(loader))
    source: Source
    if mode == "host-memory":
        source = load_folder(job.hr, scale=job.scale, min_lr_size=job.lr_patch_size)
    else:
        cache_bytes = 2**60 if mode == "host-records, cached" else 0
        source = RecordSource(job.records, scale=job.scale, cache_bytes=cache_bytes)
        for index in range(len(source) if cache_bytes else 0):
            source[index]
    return make_train_iterator(
        [source],
        lr_patch_size=job.lr_patch_size,
        batch_size=job.batch,
        seed=0,
        num_threads=0,
        num_workers=workers,
    )


_batches: Iterator[dict[str, Any]]  # of this process, which has one mode


def _open(job: Job, mode: str, workers: int) -> None:
    global _batches
    _batches = open_batches(job, mode, workers)
    next(_batches)  # starts the workers


def _measure(seconds: float) -> dict[str, float]:
    """Takes batches for some time."""
    for _ in range(WARM_UP):
        next(_batches)
    patches, machine, own, start = 0, busy_seconds(), cpu_seconds(), time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        patches += len(next(_batches)["lr"])
    cpu = cpu_seconds() - own
    return {
        "patches_per_second": patches / elapsed,
        "cpu_seconds_per_1000": 1000 * cpu / patches,
        "patches_per_cpu_second": patches / cpu,
        "cores_busy_elsewhere": max(0.0, busy_seconds() - machine - cpu) / elapsed,
    }


def cpu_seconds() -> float:
    """CPU time of this process and of the living ones that it started."""
    others = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(times.user + times.system for times in others)


def measure_host(job: Job, workers: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each mode, with a list of what each round gave."""
    pools = {mode: ProcessPoolExecutor(1, get_context("spawn")) for mode in MODES}
    started = [pool.submit(_open, job, mode, workers) for mode, pool in pools.items()]
    for future in started:
        future.result()
    samples: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        for mode, pool in pools.items():
            tries = []
            while len(tries) < TRIES and not any(_elsewhere(t) < QUIET for t in tries):
                tries.append(pool.submit(_measure, seconds).result())
            samples[mode].append(min(tries, key=_elsewhere))
    for pool in pools.values():
        pool.shutdown()
    rows = []
    for mode, taken in samples.items():
        row: dict[str, Any] = {"mode": mode, "workers": workers}
        row |= {key: [sample[key] for sample in taken] for key in taken[0]}
        for key, ratio in (
            ("patches_per_second", "ratio_by_time"),
            ("patches_per_cpu_second", "ratio_by_core"),
        ):
            pairs = zip(taken, samples[BASELINE], strict=True)
            row[ratio] = [sample[key] / baseline[key] for sample, baseline in pairs]
        rows.append(row)
    return rows


def _elsewhere(sample: dict[str, float]) -> float:
    return sample["cores_busy_elsewhere"]


def measure_device(job: Job, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Steps of a network on patches that the device cuts, and on one batch again and again."""
    config = load_config(path, [f"model.scale={job.scale}"])
    batch = args.train_batch or config.data.batch_size
    size = args.train_patch or config.data.lr_patch_size
    source = load_folder(job.hr, scale=job.scale, min_lr_size=size)
    sampler = make_sampler([source], lr_patch_size=size, batch_size=batch, seed=0)
    images, shapes = put_images([source], jax.devices()[:1])
    stream = Stream(Planner(sampler, shapes, size))
    cut = jax.jit(cut_patches, static_argnums=2)
    plans = jax.device_put(np.stack([next(stream) for _ in range(MOST)]))
    single = list(plans[:CALLS])
    constant = cut(images, single[0], size)
    module, schedule = build_module(config), halving_schedule(config.optimizer)
    optimizer = make_optimizer(config.optimizer)
    update = make_update(module, optimizer, schedule=schedule, loss=config.loss)
    fixed = make_train_steps(update, lambda batch, plan: batch)
    cutting = make_train_steps(update, lambda images, plan: cut_patches(images, plan, size))

    def new_plans(n: int) -> jax.Array:
        new = [next(stream) for _ in range(n)]
        return jax.device_put(np.stack(new + new[-1:] * (MOST - n)))

    calls: dict[str, Callable[[Any, int], Any]] = {
        "constant": lambda state, n: fixed(state, constant, plans, np.int32(n)),
        "resident": lambda state, n: cutting(state, images, new_plans(n), np.int32(n)),
    }
    states = {}
    for name, call in calls.items():
        print(f"{path.name}: compiling the steps ({name})", flush=True)
        state = create_state(initialize(module, 0), optimizer, ema=False)
        (state, _), _ = timed(lambda call=call, state=state: call(state, 1))
        (states[name], _), seconds = timed(lambda call=call, state=state: call(state, 1))
    n = int(np.clip(args.seconds / seconds, 1, MOST))
    names = ("constant", "resident", "cut", "plan")
    ms: dict[str, list[float]] = {f"{name}_ms": [] for name in names}
    for number in range(args.rounds):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            call, state = calls[name], states[name]
            (states[name], _), seconds = timed(lambda call=call, state=state: call(state, n))
            ms[f"{name}_ms"].append(1000 * seconds / n)
        _, seconds = timed(lambda: [cut(images, plan, size) for plan in single])
        ms["cut_ms"].append(1000 * seconds / CALLS)
        _, seconds = timed(lambda: [next(stream) for _ in range(CALLS)])
        ms["plan_ms"].append(1000 * seconds / CALLS)
    pairs = list(zip(ms["resident_ms"], ms["constant_ms"], strict=True))
    parts = zip(ms["cut_ms"], ms["constant_ms"], strict=True)
    return {
        "network": path.stem,
        "parameters": sum(x.size for x in jax.tree.leaves(states["constant"].variables["params"])),
        "batch": batch,
        "lr_patch_size": size,
        "steps_per_call": n,
        "device": jax.devices()[0].device_kind,
        **ms,
        "difference_percent": [100 * (resident / base - 1) for resident, base in pairs],
        "cut_percent": [100 * part / base for part, base in parts],
    }


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - start


def spread(values: list[float], form: str) -> str:
    """Median and range."""
    low, middle, high = (format(v, form) for v in (min(values), np.median(values), max(values)))
    return f"{middle} ({low}-{high})"


def table(rows: list[dict[str, Any]], columns: dict[str, tuple[str, str]]) -> str:
    """Markdown; columns are a key of the rows, its title, and the format of its numbers."""
    titles = [title for title, _ in columns.values()]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for row in rows:
        cells = (
            spread(row[key], form) if isinstance(row[key], list) else format(row[key], form)
            for key, (_, form) in columns.items()
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def to_markdown(results: dict[str, Any]) -> str:
    settings, system, load = results["settings"], results["system"], results["load_average"]
    images = settings["images"]
    kind = "mosaics of the images" if settings["mosaic"] else "images"
    parts = [
        "# Training data\n\n"
        f"`{results['command']}`, {results['date']}. {system['cpu']}, {system['cores']} cores; "
        f"Python {system['python']}, jax {system['jax']} on {system['device']}, "
        f"torch {system['torch']}, grain {system['grain']}.\n\n"
        f"{images['count']} {kind} in {images['folders']}, {images['smallest']} to "
        f"{images['largest']} pixels, x{settings['scale']}."
        + (
            " The mosaics are joined of real photographs and stand in for DIV2K's images of 2K "
            "pixels."
            if settings["mosaic"]
            else ""
        )
        + f" Medians (and ranges) of {settings['rounds']} rounds, in each of which everything is "
        f"measured once, for {settings['seconds']:g} s. One-minute load: {load['start']:.2f} "
        f"before, {load['end']:.2f} after."
    ]
    if results["host"]:
        modes = "\n".join(f"- {mode}: {text}." for mode, text in MODES.items())
        columns = {
            "workers": ("workers", "d"),
            "mode": ("mode", "s"),
            "patches_per_second": ("patches/s", ".0f"),
            "ratio_by_time": ("to torch-edsr", ".2f"),
            "cpu_seconds_per_1000": ("CPU s / 1000", ".3f"),
            "patches_per_cpu_second": ("patches/s per core", ".0f"),
            "ratio_by_core": ("to torch-edsr, per core", ".2f"),
            "cores_busy_elsewhere": ("cores busy elsewhere", ".2f"),
        }
        parts.append(
            f"## Cut on the host\n\nBatches of {settings['batch']} patches, LR "
            f"{settings['lr_patch_size']}x{settings['lr_patch_size']}.\n\n{modes}\n\n"
            f"{table(results['host'], columns)}\n\nAll files are in the page cache. CPU seconds "
            "are those of the main process and its workers. Ratios are taken within a round, to "
            "torch-edsr with as many workers."
        )
    if results["device"]:
        columns = {
            "network": ("network", "s"),
            "parameters": ("parameters", ",d"),
            "batch": ("batch", "d"),
            "lr_patch_size": ("LR patch", "d"),
            "constant_ms": ("step, constant batch, ms", ".2f"),
            "resident_ms": ("step with cutting, ms", ".2f"),
            "difference_percent": ("difference, %", ".2f"),
            "cut_ms": ("cutting alone, ms", ".3f"),
            "cut_percent": ("of the step, %", ".3f"),
            "plan_ms": ("plan on the host, ms", ".3f"),
        }
        parts.append(
            f"## Cut on the device\n\n{table(results['device'], columns)}\n\nSteps run in one "
            "call of a jitted loop. Those with cutting include the plans that the host makes and "
            "sends, which a training makes while the device works."
        )
    return "\n\n".join(parts) + "\n"


def describe_images(args: argparse.Namespace, job: Job) -> dict[str, Any]:
    sizes = sorted((Image.open(path).size for path in job.hr.iterdir()), key=np.prod)
    smallest, largest = (f"{width}x{height}" for width, height in (sizes[0], sizes[-1]))
    folders = ", ".join(folder.name for folder in args.images)
    return {"folders": folders, "count": len(sizes), "smallest": smallest, "largest": largest}


def describe_system() -> dict[str, Any]:
    facts = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    versions = {name: importlib.metadata.version(name) for name in ("jax", "grain")}
    has_torch = importlib.util.find_spec("torch") is not None
    return {
        "cpu": {key.strip(): value.strip() for key, _, value in facts}.get("model name", "CPU"),
        "cores": len(os.sched_getaffinity(0)),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch") if has_torch else "not installed",
        **versions,
    }


def mosaic_size(text: str) -> tuple[int, int]:
    if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r}; write it as 2040x1356, width first")
    width, height = map(int, text.split("x"))
    return width, height


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--images", type=Path, nargs="+", required=True, help="folders of HR images")
    add("--mosaic", type=mosaic_size, metavar="WxH", help="join images to larger ones")
    add("--count", type=int, help=f"images; default: all, or {MOSAICS} mosaics")
    add("--scale", type=int, choices=(2, 3, 4), default=2)
    add("--lr-patch-size", type=int, default=48)
    add("--batch", type=int, default=16)
    add("--workers", type=int, nargs="+", default=[0, 1, 2])
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=3.0, help="of a measurement")
    add("--parts", nargs="+", choices=("host", "device"), default=["host", "device"])
    networks = [ROOT / "configs" / f"{name}.py" for name in ("lnln_x2", "lnln_small_x2")]
    add("--networks", type=Path, nargs="+", default=networks, help="config files")
    add("--train-batch", type=int, help="default: the config's")
    add("--train-patch", type=int, help="default: the config's")
    add("--output", type=Path, default=Path("out/data"))
    return parser


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if sys.platform != "linux":
        parser.error("only Linux says in /proc what time processes take")
    if "host" in args.parts and importlib.util.find_spec("torch") is None:
        parser.error("PyTorch is missing: install the torch extra, or give --parts device")
    results: dict[str, Any] = {
        "command": shlex.join(["python", os.path.relpath(__file__, ROOT), *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "settings": {key: getattr(args, key) for key in SETTINGS},
        "load_average": {"start": os.getloadavg()[0]},
        "host": [],
        "device": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        print("writing the images", flush=True)
        try:
            job = make_job(args, Path(folder))
        except ValueError as error:
            parser.error(str(error))
        results["settings"]["images"] = describe_images(args, job)
        for workers in args.workers if "host" in args.parts else []:
            print(f"cutting on the host, {workers} workers", flush=True)
            results["host"] += measure_host(job, workers, args.rounds, args.seconds)
        for path in args.networks if "device" in args.parts else []:
            results["device"].append(measure_device(job, path, args))
    results["load_average"]["end"] = os.getloadavg()[0]
    results["system"] = describe_system()
    make_folder(args.output)
    report = to_markdown(results)
    write_file(args.output / "benchmark_data.json", (json.dumps(results, indent=1) + "\n").encode())
    write_file(args.output / "benchmark_data.md", report.encode())
    print(f"\n{report}\nwrote {args.output}/benchmark_data.json and .md")


if __name__ == "__main__":
    main()
