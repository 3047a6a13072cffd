"""What upscaling photos costs on this machine: time by tile, peak memory, threads.

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
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from lnln_jax.images.encode import Header
from lnln_jax.images.files import find_images, read_photo, write_bands
from lnln_jax.inference import network as inference
from lnln_jax.inference.network import Bicubic, SuperResolver
from lnln_jax.inference.photo_pipeline import AUTO_TILE
from lnln_jax.inference.photos import upscale_files
from lnln_jax.inference.upscaler import Resolver
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from scripts.benchmarks.common import in_turns, spread


def make_resolver(model: str, options: list[str]) -> Resolver:
    if model == "bicubic":
        return Bicubic(2)
    numbers = {name: int(value) for name, value in (option.split("=") for option in options)}
    module = create_model(model, 2, **numbers)
    return SuperResolver(model, 2, module, initialize(module, 0))


def tiles(args: argparse.Namespace) -> None:
    resolver = make_resolver(args.model, args.options)
    assert isinstance(resolver, SuperResolver)
    rng = np.random.default_rng(0)
    tasks, compiled = {}, {}
    for side in args.tiles:
        for batch in args.batches:
            x = rng.uniform(0, 255, (batch, side, side, 3)).astype(np.float32)
            start = time.perf_counter()
            program = resolver._program(x.shape)
            memory = inference._peak_memory(program) / 2**20
            compiled[f"{side} {batch}"] = time.perf_counter() - start, memory
            tasks[f"{side} {batch}"] = functools.partial(
                lambda program, x: program(resolver.folded[1], x).block_until_ready(), program, x
            )
    columns = "".join(f" overlap {overlap}, us a pixel |" for overlap in args.overlaps)
    print(f"| tile | batch | compile s | peak MiB |{columns}")
    print("| --- " * (4 + len(args.overlaps)) + "|")
    for name, seconds in in_turns(tasks, args.rounds).items():
        side, batch = map(int, name.split())
        row = f"| {side} | {batch} | {compiled[name][0]:.1f} | {compiled[name][1]:.0f} |"
        for overlap in args.overlaps:
            micro = [1e6 * value / batch / (side - overlap) ** 2 for value in seconds]
            row += f" {spread(micro, 1)} |"
        print(row)


def memory(args: argparse.Namespace) -> None:
    print("| photo | LR samples MiB | SR samples MiB | seconds | peak RSS MiB |")
    print("| --- | --- | --- | --- | --- |")
    for photo in args.photos:
        command = [
            sys.executable,
            "-m",
            "scripts.benchmarks.upscaling",
            "one",
            str(photo),
            "--model",
            args.model,
        ]
        command += ["--options", *args.options]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")
        sys.stdout.flush()


def one(args: argparse.Namespace) -> None:
    resolver = make_resolver(args.model, args.options)
    with tempfile.TemporaryDirectory(dir=args.photo.parent) as output:
        start = time.perf_counter()
        (result,) = upscale_files(
            resolver, [args.photo], Path(output), report=lambda line: print(line, file=sys.stderr)
        )
        seconds = time.perf_counter() - start
    if result.error:
        raise SystemExit(result.error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    samples = read_photo(args.photo).samples  # afterwards: it is no part of the peak
    height, width = samples.shape[:2]
    mib = samples.nbytes / 2**20
    print(f"| {width}x{height} | {mib:.0f} | {4 * mib:.0f} | {seconds:.1f} | {peak:.0f} |")


def folder(args: argparse.Namespace) -> None:
    resolver = make_resolver(args.model, args.options)
    paths = find_images(args.folder)

    def serially(output: Path) -> None:
        tile = AUTO_TILE if resolver.uses_tiles else None
        for path in paths:
            photo = read_photo(path)
            height, width, channels = photo.samples.shape
            header = Header((2 * height, 2 * width, channels), photo.samples.dtype)
            write_bands(resolver.bands(photo.colours, False, tile), header, output / path.name)

    def in_threads(output: Path) -> None:
        results = upscale_files(
            resolver, [args.folder], output, format="same", overwrite=True, report=lambda line: None
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
    programs = inference._compile.cache_info().misses
    print(f"{len(paths)} photos of {len(sizes)} sizes, {programs} compilations")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
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
    args = parser.parse_args(arguments)
    print(f"jax {jax.__version__}, {jax.default_backend()}, {platform.machine()}", file=sys.stderr)
    args.run(args)


if __name__ == "__main__":
    main()
