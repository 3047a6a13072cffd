"""The command `lnln evaluate`."""

import argparse
from pathlib import Path
from typing import Any

from lnln_jax.cli.options import (
    MODEL_HELP,
    add_degradation,
    add_distributed,
    connect,
    degradation,
    natural,
    positive,
)


def add_parser(commands: Any) -> None:
    """Adds `evaluate` to the commands of `lnln`."""
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
        "or a dataset of lnln prepare",
    )
    evaluate.add_argument(
        "--scale", type=positive, help="default: that of the first network, or 2 for bicubic alone"
    )
    evaluate.add_argument(
        "--res-scale", type=float, help="of EDSRs from PyTorch (default: the authors')"
    )
    _add_protocol(evaluate)
    evaluate.add_argument("--self-ensemble", action="store_true", help="average 8 symmetries")
    evaluate.add_argument(
        "--output",
        type=Path,
        metavar="folder",
        help="write results.json and results.md there; those of an earlier call are replaced",
    )
    evaluate.add_argument(
        "--save-images", action="store_true", help="write the upscaled images there as well"
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
    evaluate.set_defaults(run=run)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    """Adds what changes how images are made and measured."""
    parser.add_argument(
        "--lr",
        choices=("auto", "imresize"),
        default="auto",
        help="imresize: make LR images even where there are files",
    )
    parser.add_argument(
        "--channel", choices=("y", "rgb"), default="y", help="measure luma (default) or RGB"
    )
    parser.add_argument(
        "--shave", type=natural, metavar="N", help="pixels to leave out at borders (default: scale)"
    )
    parser.add_argument(
        "--no-rounding",
        dest="rounding",
        action="store_false",
        help="measure results that are neither clipped nor rounded to 8 bits",
    )
    parser.add_argument(
        "--border",
        choices=("symmetric", "replicate"),
        default="symmetric",
        help="what imresize sees beyond the edges where it makes LR images (default: symmetric)",
    )
    add_degradation(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates, and prints a table for each benchmark."""
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
