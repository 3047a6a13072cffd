"""The command `lnln doctor`."""

import argparse
import sys
from typing import Any

from lnln_jax.cli.options import add_json


def add_parser(commands: Any) -> None:
    """Adds `doctor` to the commands of `lnln`."""
    doctor = commands.add_parser(
        "doctor",
        help="whether this machine is sound and fast",
        description="Says what this machine is and whether JAX uses its accelerator, compares all "
        "kernels with float64, measures speeds, and advises. Ends with 1 if anything fails or is "
        "out of its bounds. It changes nothing.",
        examples=("lnln doctor", "lnln doctor --only speed --json > speed.json"),
    )
    add_json(doctor)
    doctor.add_argument(
        "--only",
        choices=("deviations", "speed"),
        help="leave out the other; the machine is looked at in any case",
    )
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examines this machine and prints the report, part by part.

    Returns:
      0 for a sound machine, else 1.
    """
    from lnln_jax.doctor.examination import PARTS, examine
    from lnln_jax.doctor.report import format_part, to_json, verdict
    from lnln_jax.runtime.compilation_cache import enable_compilation_cache
    from lnln_jax.runtime.progress import say, working

    enable_compilation_cache()
    parts = (args.only,) if args.only else PARTS
    with working("comparing and measuring" if len(parts) > 1 else f"measuring {parts[0]}"):
        if args.json:
            report = examine(parts)
        else:
            report = examine(parts, lambda part, so_far: say(format_part(part, so_far), sys.stdout))
    print(to_json(report) if args.json else verdict(report))
    return 0 if report.sound else 1
