"""The `lnln` command. Heavy imports happen in the command that needs them."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from lnln_jax.cli import convert as convert_command
from lnln_jax.cli import doctor as doctor_command
from lnln_jax.cli import export as export_command
from lnln_jax.cli import prepare as prepare_command
from lnln_jax.cli import replay as replay_command
from lnln_jax.cli import train as train_command
from lnln_jax.cli.options import (
    MODEL_HELP,
    add_degradation,
    add_distributed,
    connect,
    degradation,
    natural,
    positive,
    tile,
)
from lnln_jax.runtime.huge_pages import restart_with_huge_pages
from lnln_jax.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
      The exit status: 0, 1 for a failure, 75 for a training that a signal has stopped and that the
      same command goes on with, 130 for Ctrl-C elsewhere. A wrong call exits with 2.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    if args.run is train_command.run:
        args.overrides += rest  # argparse leaves those that follow an option
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    long_running = (train_command.run, _evaluate, _upscale, doctor_command.run)
    if arguments is None and args.run in long_running:
        restart_with_huge_pages()
    if not getattr(args, "distributed", False):
        return _run(args)
    try:
        status = _run(args)
    except Exception:  # a bug; to end as usual would be to wait for the other processes
        traceback.print_exc()
        status = 1
    if status not in (0, train_command.STOPPED):
        from lnln_jax.runtime.distributed import leave

        leave(status)
    return status


def _run(args: argparse.Namespace) -> int:
    """Runs the command of parsed arguments; what it fails with becomes a line."""
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader, such as `head`, has left; stdout must not be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("lnln: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("LNLN_TRACEBACK"):
            raise
        print(f"lnln: error: {_explained(error, args)}", file=sys.stderr)
        return 1


def _explained(error: Exception, args: argparse.Namespace) -> str:
    """The error, and what it means where it comes from what joins processes."""
    lost = type(error).__name__ == "JaxRuntimeError" and "RESOURCE_EXHAUSTED" not in str(error)
    if getattr(args, "distributed", False) and lost:
        return (
            f"this process lost the others ({error}); one of them has most likely died, and its "
            "own messages say why. Start all of them again: they go on from the newest checkpoint"
        )
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lnln",
        description="Image super-resolution in JAX.",
        epilog="Errors are one line; with LNLN_TRACEBACK=1 in the environment, a traceback.",
    )
    parser.add_argument("--version", action="version", version=f"lnln {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    train_command.add_parser(commands)
    replay_command.add_parser(commands)
    prepare_command.add_parser(commands)

    evaluate = commands.add_parser(
        "evaluate",
        help="PSNR and SSIM on benchmarks, beside bicubic",
        description="PSNR and SSIM on benchmarks, beside bicubic, by the protocol of published "
        "tables unless options change it.",
    )
    evaluate.add_argument("models", nargs="+", metavar="model", help=MODEL_HELP)
    evaluate.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="folder",
        help="HR images alone, HR/ beside LRx2/ or LR_bicubic/X2/, DIV2K's or SelfExSR's folders, "
        "or a data set of lnln prepare",
    )
    evaluate.add_argument(
        "--scale", type=positive, help="default: that of the first network, or 2 for bicubic alone"
    )
    evaluate.add_argument(
        "--res-scale", type=float, help="of EDSRs from PyTorch (default: the authors')"
    )
    evaluate.add_argument(
        "--lr",
        choices=("auto", "imresize"),
        default="auto",
        help="imresize: make LR images even where there are files",
    )
    evaluate.add_argument(
        "--channel", choices=("y", "rgb"), default="y", help="measure luma (default) or RGB"
    )
    evaluate.add_argument(
        "--shave", type=natural, metavar="N", help="pixels to leave out at borders (default: scale)"
    )
    evaluate.add_argument(
        "--no-rounding",
        dest="rounding",
        action="store_false",
        help="measure results that are neither clipped nor rounded to 8 bits",
    )
    evaluate.add_argument(
        "--border",
        choices=("symmetric", "replicate"),
        default="symmetric",
        help="what imresize sees beyond the edges where it makes LR images (default: symmetric)",
    )
    add_degradation(evaluate)
    evaluate.add_argument("--self-ensemble", action="store_true", help="average 8 symmetries")
    evaluate.add_argument(
        "--output",
        type=Path,
        metavar="folder",
        help="write results.json and results.md there; those of an earlier call are replaced",
    )
    evaluate.add_argument(
        "--save-images", action="store_true", help="write the enlarged images there as well"
    )
    evaluate.add_argument(
        "--figure",
        dest="figures",
        action="append",
        default=[],
        metavar="name[:top,left,height,width]",
        help="compare this image in figure.png and figure.html there; may be repeated, and "
        "Set14/barbara tells sets apart",
    )
    add_distributed(evaluate)
    evaluate.set_defaults(run=_evaluate)

    models = commands.add_parser(
        "models",
        help="the trained networks of this package; how large each network is",
        description="The trained networks of this package with their scores, and the paper's Table "
        "2, measured: parameters, storage, multiply-adds and receptive field of the published "
        "networks.",
    )
    models.add_argument(
        "names", nargs="*", metavar="network", help="only these; default: the paper's"
    )
    models.add_argument("--scale", type=int, choices=(2, 3, 4), default=2, help="default: 2")
    models.set_defaults(run=_models)

    convert_command.add_parser(commands)
    export_command.add_parser(commands)

    upscale = commands.add_parser("upscale", help="enlarge photos")
    upscale.add_argument("inputs", nargs="+", type=Path, help="image files and folders of them")
    upscale.add_argument(
        "--model", help=f"default: the package's best for the scale; or {MODEL_HELP}"
    )
    upscale.add_argument(
        "--output", type=Path, default=Path("upscaled"), help="folder for the results (upscaled)"
    )
    upscale.add_argument("--scale", type=positive, help="default: the model's; without one, 2")
    upscale.add_argument(
        "--res-scale", type=float, help="of an EDSR from PyTorch (default: the authors')"
    )
    upscale.add_argument("--self-ensemble", action="store_true", help="average 8 symmetries")
    upscale.add_argument(
        "--tile",
        type=tile,
        default="auto",
        help='side in pixels of the tiles that photos are cut in; "auto" or "none"',
    )
    upscale.add_argument("--format", default="png", help="png, jpg, webp, tiff or same")
    upscale.add_argument("--overwrite", action="store_true", help="replace existing results")
    upscale.set_defaults(run=_upscale)

    doctor_command.add_parser(commands)
    return parser


def _evaluate(args: argparse.Namespace) -> int:
    from lnln_jax.evaluation.protocol import Protocol
    from lnln_jax.evaluation.run import run
    from lnln_jax.runtime.compilation_cache import enable_compilation_cache

    connect(args)
    enable_compilation_cache()
    run(
        args.models,
        args.data,
        scale=args.scale,
        res_scale=args.res_scale,
        lr=args.lr,
        protocol=Protocol(args.channel, args.shave, args.rounding, args.border, degradation(args)),
        self_ensemble=args.self_ensemble,
        output=args.output,
        save_images=args.save_images,
        figures=args.figures,
    )
    return 0


def _models(args: argparse.Namespace) -> int:
    from lnln_jax.evaluation.model_sizes import NAMES, format_models, format_trained, measure
    from lnln_jax.weights import pretrained

    trained = [name for name in args.names or pretrained.names() if name in pretrained.names()]
    if trained:
        print(format_trained([pretrained.load(name) for name in trained]), flush=True)
    networks = [name for name in args.names or NAMES if name not in trained]
    if trained and networks:
        print()
    if networks:
        print(format_models([measure(name, args.scale) for name in networks], args.scale))
    return 0


def _upscale(args: argparse.Namespace) -> int:
    from lnln_jax.inference.loading import load_model
    from lnln_jax.inference.photos import upscale_files
    from lnln_jax.runtime.compilation_cache import enable_compilation_cache
    from lnln_jax.weights.pretrained import best, path_of

    enable_compilation_cache()
    model = args.model or path_of(best(args.scale or 2))  # no folder of that name in its place
    files = upscale_files(
        load_model(model, scale=args.scale, res_scale=args.res_scale),
        args.inputs,
        args.output,
        self_ensemble=args.self_ensemble,
        tile=args.tile,
        overwrite=args.overwrite,
        format=args.format,
    )
    failed = [str(file.source) for file in files if file.error]
    if failed:
        print(
            f"lnln: error: {len(failed)} of {len(files)} failed: {', '.join(failed)}",
            file=sys.stderr,
        )
    return 1 if failed else 0
