"""The command `lnln models`."""

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Adds `models` to the commands of `lnln`."""
    models = commands.add_parser(
        "models",
        help="the trained networks of this package; how large each network is",
        description="The trained networks of this package with their scores, and the paper's Table "
        "2, measured: parameters, storage, multiply-adds and receptive field of the published "
        "networks.",
        examples=("lnln models", "lnln models lnln drca --scale 4"),
    )
    models.add_argument(
        "names", nargs="*", metavar="network", help="only these; default: the paper's"
    )
    models.add_argument("--scale", type=int, choices=(2, 3, 4), default=2, help="default: 2")
    models.set_defaults(run=run, needs_device=False)


def run(args: argparse.Namespace) -> int:
    """Prints both tables, or what is asked for of them."""
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
