"""Measures the upscaling of photos on this machine: time by tile, peak memory, threads.

    python -m scripts.benchmarks.upscaling tiles                  # LNLN x2 in full size
    python -m scripts.benchmarks.upscaling memory small.jpg large.jpg --model bicubic
    python -m scripts.benchmarks.upscaling folder photos/ --options n_resgroups=1 n_resblocks=1

`tiles` times the network for sides and batches of tiles in turns, and gives the median (and the
range) for a pixel of the photo, shared pixels counted once. `memory` upscales each photo in a
process of its own. `folder` upscales a folder as `lnln upscale` does, and with one thread, in
turns. Networks have initial weights.
"""

import argparse
import functools
import resource
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from lnln_jax.images.encode import Header
from lnln_jax.images.files import read_photo, write_bands
from lnln_jax.images.listing import find_images
from lnln_jax.inference.bicubic import BicubicUpscaler
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.inference.photo_pipeline import AUTO_TILE
from lnln_jax.inference.photo_targets import UpscaledFile
from lnln_jax.inference.photos import upscale_files
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from scripts.benchmarks.common import (
    describe_machine,
    in_turns,
    in_words,
    markdown_row,
    markdown_table,
    parse_options,
    spread,
    timed,
)
from scripts.benchmarks.processes import run_python


def make_upscaler(model: str, options: list[str]) -> Upscaler:
    if model == "bicubic":
        return BicubicUpscaler(2)
    module = create_model(model, 2, **parse_options(options))
    return NetworkUpscaler(model, 2, module, initialize(module, 0))


def tiles(args: argparse.Namespace) -> None:
    module = create_model(args.model, 2, **parse_options(args.options))
    variables = initialize(module, 0)
    rng = np.random.default_rng(0)
    tasks, compiled = {}, {}
    for side in args.tiles:
        for batch in args.batches:
            x = rng.uniform(0, 255, (batch, side, side, 3)).astype(np.float32)
            program, seconds = timed(jax.jit(module.apply).lower(variables, x).compile)
            plan = program.memory_analysis()
            peak = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
            compiled[side, batch] = f"{seconds:.1f}", f"{peak / 2**20:.0f}"
            tasks[f"{side} {batch}"] = functools.partial(
                lambda program, x: program(variables, x).block_until_ready(), program, x
            )
    overlaps = [f"overlap {overlap}, us a pixel" for overlap in args.overlaps]
    rows = [["tile", "batch", "compile s", "peak MiB", *overlaps]]
    for name, taken in in_turns(tasks, args.rounds).items():
        side, batch = map(int, name.split())
        cells = [str(side), str(batch), *compiled[side, batch]]
        for overlap in args.overlaps:
            micro = [1e6 * seconds / batch / (side - overlap) ** 2 for seconds in taken]
            cells.append(spread(micro, 1))
        rows.append(cells)
    print(markdown_table(rows))


def memory(args: argparse.Namespace) -> None:
    head = ["photo", "LR samples MiB", "SR samples MiB", "seconds", "peak RSS MiB"]
    print(markdown_table([head]), flush=True)
    for photo in args.photos:
        command = ["-m", "scripts.benchmarks.upscaling", "one", str(photo), "--model", args.model]
        print(run_python([*command, "--options", *args.options])[1], flush=True)


def one(args: argparse.Namespace) -> None:
    upscaler = make_upscaler(args.model, args.options)
    with tempfile.TemporaryDirectory(dir=args.photo.parent) as output:

        def upscale() -> list[UpscaledFile]:
            report = functools.partial(print, file=sys.stderr)
            return upscale_files(upscaler, [args.photo], Path(output), report=report)

        (result,), seconds = timed(upscale)
    if result.error:
        raise SystemExit(result.error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    samples = read_photo(args.photo).samples  # afterwards: it is not a part of the peak
    height, width = samples.shape[:2]
    mib = samples.nbytes / 2**20
    cells = [f"{width}x{height}", f"{mib:.0f}", f"{4 * mib:.0f}", f"{seconds:.1f}", f"{peak:.0f}"]
    print(markdown_row(cells))


def folder(args: argparse.Namespace) -> None:
    upscaler = make_upscaler(args.model, args.options)
    paths = find_images(args.folder)

    def serially(output: Path) -> None:
        tile = upscaler.tile_for(AUTO_TILE)
        for path in paths:
            photo = read_photo(path)
            height, width, channels = photo.samples.shape
            header = Header((2 * height, 2 * width, channels), photo.samples.dtype)
            write_bands(upscaler.bands(photo.colours, tile=tile), header, output / path.name)

    def in_threads(output: Path) -> None:
        results = upscale_files(
            upscaler, [args.folder], output, format="same", overwrite=True, report=lambda line: None
        )
        assert not any(result.error for result in results), results

    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        tasks = {
            "three threads": functools.partial(in_threads, Path(first)),
            "one thread": functools.partial(serially, Path(second)),
        }
        for name, seconds in in_turns(tasks, args.rounds).items():
            print(f"{name}: {spread(seconds, 2)} s")
    sizes = sorted({read_photo(path).samples.shape[:2] for path in paths})
    print(f"{len(paths)} photos of {len(sizes)} sizes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", default="lnln")
    shared.add_argument("--options", nargs="*", default=[], metavar="name=number")
    shared.add_argument("--rounds", type=int, default=3)
    command = commands.add_parser("tiles", parents=[shared])
    command.add_argument("--tiles", type=int, nargs="+", default=[64, 96, 128, 192])
    command.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    command.add_argument("--overlaps", type=int, nargs="+", default=[16, 32])
    command.set_defaults(run=tiles)
    command = commands.add_parser("memory", parents=[shared])
    command.add_argument("photos", type=Path, nargs="+")
    command.set_defaults(run=memory)
    command = commands.add_parser("one", parents=[shared])
    command.add_argument("photo", type=Path)
    command.set_defaults(run=one)
    command = commands.add_parser("folder", parents=[shared])
    command.add_argument("folder", type=Path)
    command.set_defaults(run=folder)
    args = parser.parse_args()
    print(f"{in_words(describe_machine('jax'))}, {jax.default_backend()}", file=sys.stderr)
    args.run(args)


if __name__ == "__main__":
    main()
