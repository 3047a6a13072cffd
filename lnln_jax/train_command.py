"""The command `lnln train`."""

import argparse
import signal
from pathlib import Path
from typing import Any

from lnln_jax.cli_options import add_distributed, connect, positive

STOPPED = 75  # EX_TEMPFAIL: try again


def add_parser(commands: Any) -> None:
    """Adds `train` to the commands of `lnln`."""
    train = commands.add_parser("train", help="train a network, or go on with a stopped training")
    train.add_argument("config", type=Path, help="a file such as configs/lnln_x2.py")
    train.add_argument(
        "overrides", nargs="*", metavar="key=value", help="fields of the config, by dotted name"
    )
    train.add_argument(
        "--output", type=Path, help="folder of the run (default: runs/ and the config's name)"
    )
    train.add_argument(
        "--allow-config-change",
        action="store_true",
        help="go on with a run under settings that change its results",
    )
    train.add_argument(
        "--profile",
        type=positive,
        nargs="?",
        const=10,
        default=0,
        metavar="steps",
        help="trace so many steps (default: 10) into profile/, for TensorBoard, XProf or Perfetto",
    )
    add_distributed(train)
    train.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0, or `STOPPED` where a signal ended it."""
    from lnln_jax.compilation_cache import enable_compilation_cache
    from lnln_jax.config import load_config
    from lnln_jax.distributed import is_primary
    from lnln_jax.train import train

    config = load_config(args.config, args.overrides)
    connect(args)
    enable_compilation_cache()
    folder = args.output or Path("runs") / args.config.stem
    outcome = train(
        config,
        folder,
        allow_config_change=args.allow_config_change,
        profile_steps=args.profile,
    )
    if outcome.stopped:  # a scheduler may repeat its signal, and must still see the status
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if is_primary():
        if outcome.stopped:
            print(f"stopped at step {outcome.step}; the same command goes on from there")
        else:
            print(f"trained {outcome.step} steps; the run is in {folder}")
    return STOPPED if outcome.stopped else 0
