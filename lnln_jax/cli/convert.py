"""The command `lnln convert`."""

import argparse
from typing import Any

from lnln_jax.cli.options import (
    NETWORK_HELP,
    add_json,
    add_target_options,
    name_or_path,
    path,
    positive,
    print_told,
)


def add_parser(commands: Any) -> None:
    """Adds `convert` to the commands of `lnln`."""
    convert = commands.add_parser(
        "convert",
        help="weights to .pt (PyTorch) or .safetensors; a run's state to .safetensors",
        description="Writes the weights of a network to a file, or all that training needs to go "
        "on elsewhere.",
        examples=(
            "lnln convert lnln_light_x2 lnln_light_x2.pt",
            "lnln convert --state --split 15 runs/lnln_x2 state.safetensors",
        ),
    )
    convert.add_argument("source", type=name_or_path, help=NETWORK_HELP)
    convert.add_argument("target", type=path, help="a file; its suffix is its format")
    add_target_options(convert)
    add_json(convert)
    convert.add_argument(
        "--state",
        action="store_true",
        help="write all that training needs to go on elsewhere (init_from=target init_state=true), "
        "from a run's newest checkpoint",
    )
    convert.add_argument(
        "--split",
        type=positive,
        nargs="?",
        const=15,
        metavar="MiB",
        help="cut the state in files of at most so many MiB (15 without a number)",
    )
    convert.set_defaults(run=run, needs_device=False)


def run(args: argparse.Namespace) -> int:
    """Writes the file, or the files, and prints what is in them."""
    from lnln_jax.runtime.progress import working
    from lnln_jax.weights.convert import convert, convert_state

    if args.state:
        for option in ("scale", "res_scale"):
            if getattr(args, option) is not None:
                raise ValueError(f"{option} is for PyTorch files, not for --state; leave it out")
        with working(f"writing {args.target}"):
            told = convert_state(
                args.source, args.target, split=args.split, overwrite=args.overwrite
            )
    elif args.split is not None:
        raise ValueError("--split cuts the state of a training run; add --state")
    else:
        with working(f"writing {args.target}"):
            told = convert(
                args.source,
                args.target,
                scale=args.scale,
                res_scale=args.res_scale,
                overwrite=args.overwrite,
            )
    print_told(told, as_json=args.json)
    return 0
