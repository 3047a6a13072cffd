"""The command `lnln export`."""

import argparse
from typing import Any

from lnln_jax.cli.options import (
    NETWORK_HELP,
    add_json,
    add_target_options,
    listed,
    name_or_path,
    path,
    positive,
    print_told,
)


def add_parser(commands: Any) -> None:
    """Adds `export` to the commands of `lnln`."""
    export = commands.add_parser(
        "export",
        help="a network with its weights as one StableHLO program",
        description="Writes a network with its weights as one program, which JAX runs without "
        "this package: float32 tiles in 0..255, batch x tile x tile x channels, to upscaled ones.",
        examples=(
            "lnln export lnln_light_x2 lnln.stablehlo",
            "lnln export runs/lnln_x2 lnln.stablehlo --tile 128 --platforms cpu,cuda",
        ),
    )
    export.add_argument("source", type=name_or_path, metavar="model", help=NETWORK_HELP)
    export.add_argument("target", type=path, help="a .stablehlo file")
    export.add_argument(
        "--tile", type=positive, metavar="N", help="side in pixels (default: that of upscale)"
    )
    export.add_argument(
        "--batch", type=positive, metavar="N", help="tiles at once (default: that of upscale)"
    )
    export.add_argument(
        "--platforms",
        type=listed(str),
        metavar="P,P",
        help="what it can run on, of cpu, cuda, rocm and tpu (default: what JAX runs on here)",
    )
    add_target_options(export)
    add_json(export)
    export.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the program and prints what is in it."""
    from lnln_jax.inference.export import AUTO_TILE, export_model
    from lnln_jax.runtime.progress import working

    with working(f"writing {args.target}"):
        told = export_model(
            args.source,
            args.target,
            scale=args.scale,
            res_scale=args.res_scale,
            tile=args.tile or AUTO_TILE,
            batch=args.batch,
            platforms=args.platforms,
            overwrite=args.overwrite,
        )
    print_told(told, as_json=args.json)
    return 0
