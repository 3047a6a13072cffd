"""The command `lnln upscale`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from lnln_jax.cli.options import MODEL_HELP, positive, tile


def add_parser(commands: Any) -> None:
    """Adds `upscale` to the commands of `lnln`."""
    upscale = commands.add_parser("upscale", help="upscale photos")
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
    upscale.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Upscales what can be upscaled; returns 1 if anything failed, else 0."""
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
