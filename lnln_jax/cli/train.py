"""The command `lnln train`."""

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from lnln_jax.cli.options import CONFIG_HELP, add_distributed, connect, name_or_path, path, positive
from lnln_jax.runtime.durations import seconds_of
from lnln_jax.training.clock import ending_by, process_start

STOPPED = 75  # EX_TEMPFAIL: try again


def add_parser(commands: Any) -> None:
    """Adds `train` to the commands of `lnln`."""
    train = commands.add_parser(
        "train",
        help="train a network, or go on with a stopped run",
        description="Trains a network. The same command goes on with a run that was stopped.",
        examples=(
            "lnln train lnln_light_x2 data.train=my_images data.validation=",
            "lnln train runs/lnln_x2 steps=2000000 --output runs/longer",
        ),
    )
    train.add_argument("config", type=name_or_path, help=CONFIG_HELP)
    train.add_argument(
        "overrides", nargs="*", metavar="key=value", help="fields of the config, by dotted name"
    )
    train.add_argument(
        "-o",
        "--output",
        type=path,
        metavar="folder",
        help="of the run (default: runs/ and the config's name, with _again for that of a run)",
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
        help="trace so many steps (10 without a number) into profile/, for TensorBoard, XProf or "
        "Perfetto",
    )
    train.add_argument(
        "--time-limit",
        type=_seconds,
        metavar="time",
        help="end, saved and with status 75, before so much time has passed since the start of "
        "this process: 90s, 8m, 1h30m",
    )
    add_distributed(train)
    train.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        return seconds_of("the time", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Trains; returns 0, or `STOPPED` where a signal or the time limit ended the run."""
    folder = args.output or Path("runs") / _name(args.config)
    if args.time_limit is None:
        return _train(args, folder, None)
    deadline = process_start() + args.time_limit
    with ending_by(deadline, folder, STOPPED):
        return _train(args, folder, deadline)


def _name(config: str) -> str:
    """Returns what a run is called whose folder is not given: never as the run it is made from.

    The same command must find the same run again, so no number is counted up.
    """
    source = Path(config)
    if source.suffix == ".json" and source.name.startswith("config"):
        source = source.resolve().parent
    elif not (source / "config.json").is_file():
        return source.stem
    return f"{source.resolve().name}_again"


def _train(args: argparse.Namespace, folder: Path, deadline: float | None) -> int:
    from lnln_jax.runtime.progress import working

    with working("starting"):
        from lnln_jax.config import load_config
        from lnln_jax.runtime.compilation_cache import enable_compilation_cache
        from lnln_jax.runtime.distributed import is_primary
        from lnln_jax.runtime.files import printable
        from lnln_jax.runtime.outlets import tell
        from lnln_jax.training.loop import train

        config = load_config(args.config, args.overrides)
    connect(args)
    enable_compilation_cache()
    outcome = train(
        config,
        folder,
        allow_config_change=args.allow_config_change,
        profile_steps=args.profile,
        deadline=deadline,
    )
    if outcome.stopped:  # a scheduler may repeat its signal, and must still see the status
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if sys.platform != "win32":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if is_primary():
        if outcome.stopped:
            tell(f"stopped at step {outcome.step}; the same command goes on from there")
        else:
            tell(f"trained {outcome.step} steps; the run is in {printable(folder)}")
    return STOPPED if outcome.stopped else 0
