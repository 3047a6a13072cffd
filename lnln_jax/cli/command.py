"""The `lnln` command: parser and exit status. Commands import what is heavy when they run."""

import argparse
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from lnln_jax.cli import (
    completion,
    config,
    convert,
    doctor,
    evaluate,
    explain,
    export,
    leaderboard,
    models,
    prepare,
    replay,
    train,
    upscale,
)
from lnln_jax.cli.parser import Parser
from lnln_jax.runtime.files import failure_text
from lnln_jax.runtime.outlets import open_missing, silence
from lnln_jax.runtime.processes import end_at_once, prepare_sudden_end
from lnln_jax.runtime.progress import WarningLines, be_quiet, end_progress
from lnln_jax.version import __version__

# In the order of `lnln --help`.
_COMMANDS = (
    *(train, config, replay, prepare, evaluate, explain, leaderboard, models),
    *(convert, export, upscale, doctor, completion),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      arguments: what follows `lnln`; None for those of the process.

    Returns:
      The exit status: 0, 1 for a failure, 75 for a training run that a signal or the time limit has
      stopped and that the same command goes on with, 130 for Ctrl-C elsewhere. A wrong call exits
      with 2.
    """
    own_process = arguments is None
    if own_process:
        open_missing()
        prepare_sudden_end()
        _print_warnings()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no name of a file ends a command
            stream.reconfigure(errors="backslashreplace")
    args = make_parser().parse_args(arguments)
    if own_process and not args.needs_device:
        os.environ["JAX_PLATFORMS"] = "cpu"  # so that no GPU is looked for, or its memory taken
    if not own_process:
        return _run(args)
    try:
        status = _run(args)
    except Exception:  # a bug: told whole, as Python does, but with the end that is below
        traceback.print_exc()
        status = 1
    if status not in (0, train.STOPPED):  # to end as usual would be to wait for what may never end
        end_at_once(status)
    return status


def _print_warnings() -> None:
    """Has the warnings of this package printed in its own way, whatever libraries set up."""
    logger = logging.getLogger("lnln_jax")
    logger.addHandler(WarningLines())
    logger.propagate = False


def _run(args: argparse.Namespace) -> int:
    """Runs the command of parsed arguments; an error becomes one line."""
    be_quiet(args.quiet)
    try:
        status = args.run(args)
        if sys.stdout:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        silence(sys.stdout)  # the reader, such as `head`, has left
        return 1
    except KeyboardInterrupt:
        end_progress()
        print("lnln: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, AssertionError, AttributeError) as error:
        end_progress()
        text = _explained(error, args)
        if os.environ.get("LNLN_TRACEBACK") or not text:
            raise
        print(f"lnln: error: {text}", file=sys.stderr)
        return 1
    finally:
        end_progress()
        be_quiet(False)


def _explained(error: Exception, args: argparse.Namespace) -> str | None:
    """Returns what an error means to who called the command; None for a bug."""
    if "jax" in sys.modules:
        from lnln_jax.runtime.backends import start_fault

        if fault := start_fault(error):
            return fault
    if isinstance(error, AssertionError | AttributeError):
        return None
    lost = type(error).__name__ == "JaxRuntimeError" and "RESOURCE_EXHAUSTED" not in str(error)
    if getattr(args, "distributed", False) and lost:
        return (
            f"this process lost the others ({error}); one of them has most likely died, and its "
            "own messages say why. Start all of them again: they go on from the newest checkpoint"
        )
    return failure_text(error)


def make_parser() -> Parser:
    """Returns the parser of `lnln`, with all commands."""
    parser = Parser(
        prog="lnln",
        description="Image super-resolution in JAX.",
        epilog="Errors are one line; with LNLN_TRACEBACK=1 in the environment, a traceback.",
        examples=(
            "lnln upscale photo.png --output enlarged",
            "lnln train lnln_x2 data.train=my_images --output runs/mine",
        ),
    )
    parser.set_defaults(quiet=False, needs_device=True, parser=parser)
    parser.add_argument("--version", action="version", version=f"lnln {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser
