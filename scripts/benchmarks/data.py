"""Measures training data, beside a PyTorch DataLoader, in one run on the same images.

    python -m scripts.benchmarks.data --images data/BSDS400
    python -m scripts.benchmarks.data --images data/BSDS400 --mosaic 2040x1356  # of DIV2K's size
    python -m scripts.benchmarks.data --images data/BSDS400 --workers  # steps alone; no PyTorch
    python -m scripts.benchmarks.data --images data/BSDS400 --workers --networks  # only the build

First a dataset is built of the images. Then the host cuts batches, with several numbers of worker
processes: the modes take turns, each in a process of its own. Then training steps whose patches are
cut on the device, in turns with steps on one constant batch. Prints and writes data.md, and
data.json with every measurement. Needs Linux.
"""

import argparse
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from lnln_jax.config import TrainConfig, build_module, load_config
from lnln_jax.data import Stream, load_folder
from lnln_jax.data.batches import make_sampler
from lnln_jax.data.resident import Planner, cut_patches, put_images
from lnln_jax.models.variables import initialize
from lnln_jax.runtime.processes import end_with_parent
from lnln_jax.training.optimizer import make_optimizer, make_schedule
from lnln_jax.training.parallel import Layout
from lnln_jax.training.state import create_state
from lnln_jax.training.step import make_gradients, make_train_steps, make_update
from scripts.benchmarks.common import (
    QUIET,
    describe_call,
    describe_machine,
    in_words,
    markdown_table,
    spread,
    timed,
    watch_others,
    write_report,
)
from scripts.benchmarks.data_sides import (
    BASELINE,
    MODES,
    Job,
    close_mode,
    make_job,
    measure_mode,
    open_mode,
)

ROOT = Path(__file__).parents[2]
TRIES = 3  # to find a quiet time
CALLS = 50  # of what takes about a millisecond
MOST = 100  # training steps in a call
HOST_COLUMNS = {  # key -> title, and digits of a measurement
    "workers": ("workers", 0),
    "mode": ("mode", 0),
    "patches_per_second": ("patches/s", 0),
    "ratio_by_time": ("to torch-edsr", 2),
    "cpu_seconds_per_1000": ("CPU s / 1000 patches", 3),
    "patches_per_cpu_second": ("patches / CPU s", 0),
    "ratio_by_core": ("per core to torch-edsr", 2),
    "cores_busy_elsewhere": ("cores busy elsewhere", 2),
}
HOST_NOTES = """
`torch-edsr` is a DataLoader as in the EDSR code base: one file of pickled pixels for each image,
opened for every patch (all are in the page cache), float32 tensors. The others are
`make_train_iterator` with uint8 arrays: on decoded images in memory, and on a dataset of
`lnln prepare`, where a first visit decodes two PNG files and later ones find them in the cache. CPU
seconds are those of the main process and its workers together, so `patches / CPU s` is the rate of
one core. Ratios are taken within a round, to `torch-edsr` with as many workers.
"""
DEVICE_COLUMNS = {
    "network": ("network", 0),
    "batch": ("batch", 0),
    "lr_patch_size": ("LR patch", 0),
    "constant_ms": ("step, constant batch, ms", 2),
    "resident_ms": ("step with cutting, ms", 2),
    "difference_percent": ("difference, %", 2),
    "cut_ms": ("cutting alone, ms", 3),
    "cut_percent": ("of the step, %", 3),
    "plan_ms": ("plan on the host, ms", 3),
    "cores_busy_elsewhere": ("cores busy elsewhere", 2),
}
DEVICE_NOTES = """
Steps run in a loop inside one jitted call. The host makes plans while the device works.
"""


def measure_host(job: Job, workers: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns a row for each mode, with lists of what each round gave."""
    print(f"cutting on the host with {workers} workers", flush=True)
    pools = {mode: ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) for mode in MODES}
    for opened in [pools[mode].submit(open_mode, job, mode, workers) for mode in MODES]:
        opened.result()
    rows: dict[str, dict[str, Any]] = {mode: {"workers": workers, "mode": mode} for mode in MODES}
    for _ in range(args.rounds):
        for mode, pool in pools.items():
            sample = quietest(lambda pool=pool: pool.submit(measure_mode, args.seconds).result())
            for key, value in sample.items():
                rows[mode].setdefault(key, []).append(value)
    for pool in pools.values():
        pool.submit(close_mode)
    for pool in pools.values():
        pool.shutdown()
    rates = {"ratio_by_time": "patches_per_second", "ratio_by_core": "patches_per_cpu_second"}
    for row, (ratio, rate) in itertools.product(rows.values(), rates.items()):
        row[ratio] = [a / b for a, b in zip(row[rate], rows[BASELINE][rate], strict=True)]
    return list(rows.values())


def measure_device(job: Job, config: TrainConfig, args: argparse.Namespace) -> dict[str, Any]:
    """Measures a network's steps on patches that the device cuts, and on one batch."""
    batch_size = args.train_batch or config.data.batch_size
    size = args.train_patch or config.data.lr_patch_size
    source = load_folder(job.hr, scale=job.scale, min_lr_size=size)
    sampler = make_sampler([source], lr_patch_size=size, batch_size=batch_size, seed=0)
    images, shapes = put_images([source], Layout((jax.devices()[0],)).mesh)
    stream = Stream(Planner(sampler, shapes, size))
    plans = jax.device_put(np.stack([next(stream) for _ in range(MOST)]))
    plan_list = list(plans[:CALLS])
    cut = jax.jit(cut_patches, static_argnums=2)
    module, optimizer = build_module(config), make_optimizer(config.optimizer)
    schedule = make_schedule(config.optimizer)
    update = make_update(make_gradients(module, config.loss), optimizer, schedule=schedule)
    fixed = make_train_steps(update, lambda batch, plan: batch)
    cutting = make_train_steps(update, lambda images, plan: cut_patches(images, plan, size))
    variants = {
        "constant_ms": (fixed, cut(images, plans[0], size)),
        "resident_ms": (cutting, images),
    }
    state = create_state(initialize(module, 0), optimizer, ema=False)
    states = {name: jax.device_put(jax.device_get(state), jax.devices()[0]) for name in variants}

    def take(name: str, n: int) -> jax.Array:
        steps, taken = variants[name]
        states[name], metrics = steps(states[name], taken, plans, np.int32(n))
        return jax.block_until_ready(metrics["loss"])

    def one_round(number: int) -> dict[str, float]:
        elsewhere = watch_others()
        ms = {}
        for name in list(variants)[:: -1 if number % 2 else 1]:
            ms[name] = 1000 * timed(lambda name=name: take(name, n))[1] / n
        for _ in range(3):  # the last one counts: at first, memory of the steps is given back
            _, seconds = timed(
                lambda: jax.block_until_ready([cut(images, plan, size) for plan in plan_list])
            )
        ms["cut_ms"] = 1000 * seconds / CALLS
        ms["plan_ms"] = 1000 * timed(lambda: [next(stream) for _ in range(CALLS)])[1] / CALLS
        return ms | {
            "difference_percent": 100 * (ms["resident_ms"] / ms["constant_ms"] - 1),
            "cut_percent": 100 * ms["cut_ms"] / ms["constant_ms"],
            "cores_busy_elsewhere": elsewhere(),
        }

    for name in variants:
        take(name, 1)
    n = int(np.clip(args.seconds / timed(lambda: take("constant_ms", 1))[1], 1, MOST))
    taken = [quietest(lambda number=number: one_round(number)) for number in range(args.rounds)]
    row = {key: [sample[key] for sample in taken] for key in taken[0]}
    return {"batch": batch_size, "lr_patch_size": size, "steps_per_call": n, **row}


def quietest(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measures again, a few times, while other processes disturb; returns the quietest."""
    tries: list[dict[str, float]] = []
    while len(tries) < TRIES and all(t["cores_busy_elsewhere"] > QUIET for t in tries):
        tries.append(measure())
    return min(tries, key=lambda t: t["cores_busy_elsewhere"])


def to_markdown(results: dict[str, Any]) -> str:
    settings, load = results["settings"], results["load_average"]
    system = in_words(results["system"])
    text = (
        f"# Training data\n\n`{results['command']}`, {results['date']}. {system}. "
        f"{results['images']}, x{settings['scale']}. Medians (and ranges) of {settings['rounds']} "
        f"rounds, {settings['seconds']:g} s for a measurement. Load average {load[0]:.2f} before, "
        f"{load[1]:.2f} after (this run included).\n"
    )
    if settings["mosaic"]:
        text += "Mosaics join real photographs and stand in for DIV2K's images of that size.\n"
    built = results["built"]
    text += (
        f"\nThe dataset: {built['sub_images']} sub-images, {built['bytes'] / 1e9:.3f} GB, built "
        f"in {built['seconds']:.1f} s by one process.\n"
    )
    if results["host"]:
        patches = f"batches of {settings['batch']}, LR {settings['lr_patch_size']} pixels square"
        text += f"\n## Cut on the host: {patches}\n\n{table(results['host'], HOST_COLUMNS)}"
        text += HOST_NOTES
    if results["device"]:
        text += f"\n## Cut on the device\n\n{table(results['device'], DEVICE_COLUMNS)}"
        text += DEVICE_NOTES
    return text


def table(rows: list[dict[str, Any]], columns: Mapping[str, tuple[str, int]]) -> str:
    def cell(value: Any, digits: int) -> str:
        return spread(value, digits) if isinstance(value, list) else str(value)

    lines = [[title for title, _ in columns.values()]]
    lines += [[cell(row[key], digits) for key, (_, digits) in columns.items()] for row in rows]
    return markdown_table(lines) + "\n"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--images", type=Path, nargs="+", required=True, help="folders of HR images")
    add("--mosaic", metavar="WIDTHxHEIGHT", help="join images to larger ones of this size")
    add("--count", type=int, help="how many images; default: all, or 24 mosaics")
    add("--scale", type=int, choices=(2, 3, 4), default=2)
    add("--lr-patch-size", type=int, default=48)
    add("--batch", type=int, default=16)
    add("--workers", type=int, nargs="*", default=[0, 1, 2], help="none: only steps are measured")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=3.0, help="of a measurement, about")
    networks = [ROOT / "configs" / f"{name}.py" for name in ("lnln_x2", "lnln_light_x2")]
    add("--networks", type=Path, nargs="*", default=networks, help="config files; may be none")
    add("--train-batch", type=int, help="default: the config's")
    add("--train-patch", type=int, help="default: the config's")
    add("--output", type=Path, default=Path("out/data"))
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    # So that temporary folders go.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    configs = {p.stem: load_config(p, [f"model.scale={args.scale}"]) for p in args.networks}
    keys = ("mosaic", "scale", "lr_patch_size", "batch", "rounds", "seconds")
    results: dict[str, Any] = {
        **describe_call("scripts.benchmarks.data"),
        "settings": {key: getattr(args, key) for key in keys},
        "load_average": [os.getloadavg()[0]],
        "host": [],
        "device": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        print("writing the images in all forms", flush=True)
        job = make_job(args, Path(folder))
        sizes = [Image.open(path).size for path in job.hr.iterdir()]
        small, large = ("x".join(map(str, f(sizes, key=np.prod))) for f in (min, max))
        origin = f"{'mosaics of ' if args.mosaic else ''}{', '.join(p.name for p in args.images)}"
        results["images"] = f"{len(sizes)} images ({origin}), {small} to {large} pixels"
        (examples,) = job.built.examples.values()
        results["built"] = {
            "sub_images": examples,
            "bytes": job.built.size,
            "seconds": job.built.seconds,
        }
        for workers in args.workers:
            results["host"] += measure_host(job, workers, args)
        for name, config in configs.items():
            print(f"cutting on the device for {name}", flush=True)
            results["device"].append({"network": name, **measure_device(job, config, args)})
    results["load_average"].append(os.getloadavg()[0])
    results["system"] = describe_machine("jax", "grain", "torch")
    results["system"]["device"] = jax.devices()[0].device_kind
    text = to_markdown(results)
    write_report(args.output, "data", results, text)
    print(f"\n{text}\nwrote data.json and data.md in {args.output}")


if __name__ == "__main__":
    main()
