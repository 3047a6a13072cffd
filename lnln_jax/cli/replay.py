"""The command `lnln replay`."""

import argparse
from typing import Any

from lnln_jax.cli.options import path, positive


def add_parser(commands: Any) -> None:
    """Adds `replay` to the commands of `lnln`."""
    replay = commands.add_parser(
        "replay",
        help="look at one step of a training run again: its batch, losses and gradients",
        description="Goes from the newest checkpoint before a step to that step, bit for bit where "
        "the device allows it, and writes what it sees to replay/<step>/ in the run.",
        examples=(
            "lnln replay runs/lnln_x2 --step 1200",
            "lnln replay runs/lnln_x2 --step 1200 --output looked_at",
        ),
    )
    replay.add_argument("run_folder", metavar="run", type=path, help="the folder of a training run")
    replay.add_argument("--step", type=positive, required=True, help="the first step is 1")
    replay.add_argument("-o", "--output", type=path, metavar="folder", help="default: in the run")
    replay.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replays the step and prints what it saw."""
    from lnln_jax.runtime.compilation_cache import enable_compilation_cache
    from lnln_jax.runtime.progress import working
    from lnln_jax.training.replay import replay

    enable_compilation_cache()
    with working(f"going to step {args.step}"):
        text = replay(args.run_folder, args.step, args.output)
    print(text)
    return 0
