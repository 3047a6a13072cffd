"""The command `lnln leaderboard`."""

import argparse
import json
import sys
from typing import Any

from lnln_jax.cli.options import MODEL_HELP, add_json, lr_source, name_or_path, path, positive


def add_parser(commands: Any) -> None:
    """Adds `leaderboard` to the commands of `lnln`."""
    leaderboard = commands.add_parser(
        "leaderboard",
        help="many models on benchmarks: one sorted table, with what papers print beside",
        description="Every model on every benchmark, by the protocol of published tables: PSNR and "
        "SSIM, parameters, multiply-adds, milliseconds and SHA-256, sorted by scale and PSNR, "
        "beside the published rows of these networks. A model that cannot be read is a row that "
        "says why. With --output, the same command goes on where it stopped.",
        examples=(
            "lnln leaderboard weights bicubic --data Set5 --data Set14 --scale 2 --output board",
            "lnln leaderboard lnln_light_x2 lnln_grown_x2 bicubic --data Set5",
        ),
    )
    leaderboard.add_argument(
        "models",
        nargs="+",
        type=name_or_path,
        metavar="model",
        help=f"{MODEL_HELP}; or a folder: all such files and runs in it",
    )
    leaderboard.add_argument(
        "--data",
        type=name_or_path,
        action="append",
        required=True,
        metavar="folder",
        help="folder or .zip file of a benchmark, as for lnln evaluate; may be repeated; the first "
        "is what rows are sorted by",
    )
    leaderboard.add_argument(
        *("-s", "--scale"),
        type=positive,
        help="only models of this scale, and those that serve several or do not tell theirs; "
        "default: each at its own, bicubic at all of these",
    )
    leaderboard.add_argument("--self-ensemble", action="store_true", help="average 8 symmetries")
    leaderboard.add_argument(
        "--lr",
        type=lr_source,
        default="auto",
        metavar="folder",
        help="as for lnln evaluate: a folder or .zip file of the LR images, or imresize; default: "
        "auto",
    )
    leaderboard.add_argument(
        "--no-published",
        dest="published",
        action="store_false",
        help="leave out what papers and their authors' projects print",
    )
    leaderboard.add_argument(
        *("-o", "--output"),
        type=path,
        metavar="folder",
        help="write leaderboard.md, leaderboard.json and leaderboard.html (a page with plots) "
        "there, and keep each measurement, so that the same command goes on",
    )
    add_json(leaderboard)
    leaderboard.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, prints the table and writes the files.

    Returns:
      0 if a model was measured, else 1; 130 after Ctrl-C with an output folder.
    """
    from lnln_jax.evaluation.leaderboard import compare, write_leaderboard
    from lnln_jax.evaluation.leaderboard_report import to_json, to_markdown
    from lnln_jax.evaluation.report import environment
    from lnln_jax.runtime.compilation_cache import enable_compilation_cache
    from lnln_jax.runtime.files import printable
    from lnln_jax.runtime.progress import end_progress, remark

    enable_compilation_cache()
    about = environment()
    try:
        board = compare(
            args.models,
            args.data,
            scale=args.scale,
            lr=args.lr,
            self_ensemble=args.self_ensemble,
            output=args.output,
            with_published=args.published,
        )
    except KeyboardInterrupt:
        if args.output is None:
            raise
        end_progress()
        print(
            "lnln: interrupted; the same command goes on, with what is measured in "
            f"{printable(args.output)}",
            file=sys.stderr,
        )
        return 130
    if args.output is not None:  # first, since the reader of what is printed may leave
        write_leaderboard(board, about, args.output)
        remark(f"written to {printable(args.output)}")
    if args.json:
        print(json.dumps(to_json(board, about), indent=1, allow_nan=False))
    else:
        print(to_markdown(board, about), end="")
    if board.measured:
        return 0
    print("lnln: error: no model could be measured; the table says why", file=sys.stderr)
    return 1
