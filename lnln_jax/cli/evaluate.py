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
    lr_source,
    name_or_path,
    natural,
    path,
    positive,
)


def add_parser(commands: Any) -> None:
    """Adds `evaluate` to the commands of `lnln`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="PSNR and SSIM on benchmarks, beside bicubic",
        description="PSNR and SSIM on benchmarks, beside bicubic, by the protocol of published "
        "tables unless options change it.",
        examples=(
            "lnln evaluate runs/lnln_x2 --data Set5 --data Set14 --output report",
            "lnln evaluate --data Set5 --results SwinIR=their/results --scale 4",
        ),
    )
    evaluate.add_argument("models", nargs="*", type=name_or_path, metavar="model", help=MODEL_HELP)
    evaluate.add_argument(
        "--data",
        type=name_or_path,
        action="append",
        required=True,
        metavar="folder",
        help="folder or .zip file: HR images alone, HR/ beside LR/, LRx2/ or LR_bicubic/X2/, "
        "DIV2K's, BasicSR's or SelfExSR's folders; or a dataset of lnln prepare; may be repeated",
    )
    evaluate.add_argument(
        "--results",
        type=_named_folder,
        action="append",
        default=[],
        metavar="name=folder",
        help="measure the results of any program beside the models, from files such as baby.png, "
        "babyx2.png or Set5/baby_SR.png; may be repeated",
    )
    evaluate.add_argument(
        *("-s", "--scale"),
        type=positive,
        help="default: that of the first network, or 2 for bicubic alone",
    )
    evaluate.add_argument(
        "--res-scale", type=float, help="of EDSRs and WDSRs from PyTorch (default: the authors')"
    )
    _add_protocol(evaluate)
    evaluate.add_argument(
        *("-o", "--output"),
        type=path,
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
    evaluate.set_defaults(run=run, refuse=evaluate.error)


def _named_folder(text: str) -> tuple[str, Path]:
    """Returns a name and a path."""
    name, equals, folder = text.partition("=")
    if not (equals and name.strip() and folder.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=folder, such as SwinIR=results/x2")
    return name.strip(), path(folder)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    """Adds what changes how images are made and measured."""
    parser.add_argument("--self-ensemble", action="store_true", help="average 8 symmetries")
    parser.add_argument(
        "--lr",
        type=lr_source,
        default="auto",
        metavar="folder",
        help="folder or .zip file of the LR images; or imresize: make them even where there are "
        "files; default: auto, files that lie with the HR images",
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

    if not (args.models or args.results):
        args.refuse("there is nothing to evaluate; name a model, or results (--results)")
    names = [name for name, _ in args.results]
    if twice := next((name for name in names if names.count(name) > 1), None):
        args.refuse(f"--results gives {twice!r} twice; give each folder a name of its own")
    connect(args)
    enable_compilation_cache()
    run(
        args.models,
        args.data,
        stored=dict(args.results),
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
