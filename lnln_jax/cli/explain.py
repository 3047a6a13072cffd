"""The command `lnln explain`."""

import argparse
from typing import TYPE_CHECKING, Any

from lnln_jax.cli.options import add_json, path, positive, print_told

if TYPE_CHECKING:
    from lnln_jax.evaluation.printed import PrintedScores


def add_parser(commands: Any) -> None:
    """Adds `explain` to the commands of `lnln`."""
    explain = commands.add_parser(
        "explain",
        help="which convention a published PSNR or SSIM is of; who made LR images",
        description="PSNR and SSIM of results under every convention that papers use (RGB or luma "
        "of several kinds, rounded or not, with borders of three widths), and which of them a "
        "published number fits. With --lr, which program made the LR images.",
        examples=(
            "lnln explain results/baby.png Set5/HR/baby.png --scale 2",
            "lnln explain results/x2 Set5/HR --published 38.24/0.9614 --lr Set5/LRx2",
        ),
    )
    explain.add_argument("sr", type=path, metavar="SR", help="result: a file, or a folder of them")
    explain.add_argument(
        "hr",
        type=path,
        metavar="HR",
        help="original, likewise; those of folders belong together "
        "by their names, as for lnln evaluate --results",
    )
    explain.add_argument(
        "--published",
        type=_published,
        metavar="PSNR[/SSIM]",
        help="number to explain, with the digits that are printed: 38.24, 38.24/0.9614 or 0.9614",
    )
    explain.add_argument(
        *("-s", "--scale"),
        type=positive,
        help="default: by the sizes of --lr, or by the names of the results",
    )
    explain.add_argument(
        "--lr", type=path, help="LR image, or folder of them: say which program made them"
    )
    add_json(explain)
    explain.set_defaults(run=run, needs_device=False)


def _published(text: str) -> "PrintedScores":
    """Returns the scores that a text prints."""
    from lnln_jax.evaluation.printed import read_printed

    try:
        return read_printed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Measures, and prints the tables and what fits."""
    from lnln_jax.evaluation.explanation import describe, explain
    from lnln_jax.runtime.progress import progress_of

    found = explain(
        args.sr,
        args.hr,
        scale=args.scale,
        lr=args.lr,
        progress=progress_of("measuring under all conventions"),
    )
    print_told(describe(found, args.published), as_json=args.json)
    return 0
