"""The command `lnln upscale`."""

import argparse
import contextlib
import functools
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO

from lnln_jax.cli.options import MODEL_HELP, name_or_path, positive, tile

_STREAM = "-"  # standard input or output


def add_parser(commands: Any) -> None:
    """Adds `upscale` to the commands of `lnln`."""
    upscale = commands.add_parser(
        "upscale",
        help="upscale photos",
        description="Upscales photos; - is standard input or output. What an earlier run has left "
        "in a folder is not upscaled again, unless it is itself named.",
        examples=(
            "lnln upscale photo.jpg holidays --scale 4 --output enlarged",
            "lnln upscale - --output - < photo.jpg > photo_x2.png",
        ),
    )
    upscale.add_argument(
        "inputs", nargs="*", type=name_or_path, help="image files and folders of them"
    )
    upscale.add_argument(
        "-i", "--input", type=name_or_path, action="append", default=[], help="one more of them"
    )
    _add_work(upscale)
    _add_results(upscale)
    upscale.set_defaults(run=run, refuse=upscale.error)


def _add_work(parser: argparse.ArgumentParser) -> None:
    """Adds what says by which network, and how, photos are upscaled."""
    parser.add_argument(
        *("-m", "-n", "--model"),
        type=name_or_path,
        help=f"default: the package's best for the scale; or {MODEL_HELP}",
    )
    parser.add_argument("-s", "--scale", type=positive, help="default: the model's; without one, 2")
    parser.add_argument(
        "--res-scale", type=float, help="of an EDSR or WDSR from PyTorch (default: the authors')"
    )
    parser.add_argument(
        "-x", "--self-ensemble", action="store_true", help="average 8 symmetries (TTA)"
    )
    parser.add_argument(
        *("-t", "--tile"),
        type=_tile,
        default="auto",
        help='side in pixels of the tiles that photos are cut in; "auto" (or 0) or "none"',
    )
    parser.add_argument(
        "--seamless",
        action="store_true",
        help="photos are textures to be laid side by side, whose edges are to fit afterwards",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """Adds what says where results go."""
    parser.add_argument(
        *("-o", "--output"),
        type=name_or_path,
        default="upscaled",
        help="folder for the results (upscaled); or, for one photo, a file such as photo_x2.png",
    )
    parser.add_argument(
        *("-f", "--ext", "--format"),
        dest="format",
        help="png, jpg, webp, tiff, avif, bmp or same; default: that of --output if it is a file, "
        "else png",
    )
    parser.add_argument(
        "--suffix", help='appended to names; default: "_x2" where the scale is 2; "none" for none'
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace existing results")
    there.add_argument(
        "--skip-existing", action="store_true", help="leave out photos whose results exist"
    )


def _tile(text: str) -> int | Literal["auto"] | None:
    return "auto" if text == "0" else tile(text)  # as in realesrgan-ncnn-vulkan


def run(args: argparse.Namespace) -> int:
    """Upscales what can be upscaled; returns 1 if anything failed, else 0."""
    with _all_as_ctrl_c():
        return _run(args)


@contextlib.contextmanager
def _all_as_ctrl_c() -> Iterator[None]:
    """Has other signals end the block as Ctrl-C does, so that no part of a file is left.

    Those that are ignored, as nohup does with SIGHUP, stay so.
    """
    changed = []
    if threading.current_thread() is threading.main_thread():  # no other may set them
        numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
        changed = [n for n in numbers if n and signal.getsignal(n) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _run(args: argparse.Namespace) -> int:
    inputs = [*args.input, *args.inputs]
    if not inputs:
        args.refuse("there is nothing to upscale; name image files or folders of them")
    reads, writes = inputs.count(_STREAM), args.output == _STREAM
    _check_streams(inputs, args.format, reads=reads, writes=writes)
    say = functools.partial(_say, quiet=args.quiet, file=sys.stderr if writes else sys.stdout)
    complain = functools.partial(_say, quiet=False, file=sys.stderr)
    if not reads and not writes:
        return _upscale(args, inputs, args.output, say, complain)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "stdin", folder / f"stdout.{_format_of_stream(args, inputs)}"

        def streams_named(line: str) -> str:
            line = line.replace(str(source), "standard input")
            return line.replace(str(target), "standard output")

        if reads:
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        status = _upscale(
            args,
            [str(source) if given == _STREAM else given for given in inputs],
            str(target) if writes else args.output,
            lambda line: say(streams_named(line)),
            lambda line: complain(streams_named(line)),
        )
        if writes and status == 0:
            with target.open("rb") as picture:
                _send(picture)
        return status


def _upscale(
    args: argparse.Namespace,
    inputs: list[str],
    output: str,
    say: Callable[[str], object],
    complain: Callable[[str], object],
) -> int:
    from lnln_jax.inference.loading import load_model
    from lnln_jax.inference.photos import upscale_files
    from lnln_jax.runtime.compilation_cache import enable_compilation_cache
    from lnln_jax.weights.pretrained import best, path_of

    enable_compilation_cache()
    model = args.model or path_of(best(args.scale or 2))  # no folder of that name in its place
    files = upscale_files(
        load_model(model, scale=args.scale, res_scale=args.res_scale),
        inputs,
        output,
        self_ensemble=args.self_ensemble,
        tile=args.tile,
        seamless=args.seamless,
        overwrite=args.overwrite,
        skip_existing=args.skip_existing,
        format=args.format,
        suffix="" if args.suffix == "none" else args.suffix,
        report=say,
        complain=complain,
    )
    return 1 if any(file.error for file in files) else 0


def _check_streams(inputs: list[str], format: str | None, *, reads: int, writes: bool) -> None:
    """Refuses, before anything is waited for, what streams cannot do.

    Raises:
      ValueError: several pictures for one stream, or a terminal.
    """
    if reads and (format or "").lower().removeprefix(".") in ("same", "auto"):
        raise ValueError("--format same goes by names, and standard input (-) has none; name one")
    if reads > 1:
        raise ValueError("standard input (-) is given twice; it holds one picture")
    if writes and (len(inputs) > 1 or (not reads and os.path.isdir(inputs[0]))):
        raise ValueError("standard output (--output -) takes one picture; name a folder for more")
    if reads and (sys.stdin is None or sys.stdin.isatty()):
        raise ValueError(
            "standard input (-) is a terminal or closed; pipe a picture into it: "
            "lnln upscale - < photo.jpg"
        )
    if writes and (sys.stdout is None or sys.stdout.isatty()):
        raise ValueError(
            "standard output is a terminal or closed; redirect it: "
            "lnln upscale photo.jpg --output - > photo_x2.png"
        )


def _format_of_stream(args: argparse.Namespace, inputs: list[str]) -> str:
    """Returns the suffix of a result on standard output, without its dot."""
    from lnln_jax.inference.photo_targets import written_as

    name = (args.format or "png").lower().removeprefix(".")
    return written_as(Path(inputs[0]))[1:] if name in ("same", "auto") else name


def _send(picture: BinaryIO) -> None:
    try:
        shutil.copyfileobj(picture, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ValueError(f"standard output cannot be written ({error.strerror})") from error


def _say(line: str, *, quiet: bool, file: TextIO) -> None:
    """Prints a line above the progress bar, if there is one."""
    from lnln_jax.runtime.progress import say

    if not quiet:
        say(line, file)
