"""The command `lnln prepare`: datasets for training, and a report of each."""

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

from lnln_jax.cli.options import add_degradation, degradation, listed, natural, path, positive
from lnln_jax.runtime.files import printable

if TYPE_CHECKING:
    from lnln_jax.data.prepare.recipes import Prepared

_LISTED = 50  # images that can't be used


def add_parser(commands: Any) -> None:
    """Adds `prepare` to the commands of `lnln`."""
    prepare = commands.add_parser(
        "prepare",
        help="build a dataset for training from DIV2K or from a folder of images",
        description="Cuts HR images into sub-images, makes their LR images, and writes both as a "
        "TensorFlow Datasets dataset that training reads by random access. A build that was "
        "interrupted goes on with the same command.",
        examples=(
            "lnln prepare div2k --scales 2,3,4",
            "lnln prepare folder photos --name photos",
        ),
    )
    kinds = prepare.add_subparsers(required=True, metavar="what")
    div2k = kinds.add_parser(
        "div2k",
        help="download DIV2K (4.0 GB) and build div2k_sub",
        examples=(
            "lnln prepare div2k --scales 2,3,4",
            "lnln prepare div2k --download-dir downloads --data-dir datasets",
        ),
    )
    div2k.add_argument("--download-dir", type=path, help="where the archives are, or are put")
    div2k.add_argument("--url", help="of a folder with the archives, such as a mirror's")
    _add_options(div2k, on_bad_image="stop")
    div2k.set_defaults(run=_div2k)

    folder = kinds.add_parser(
        "folder",
        help="build a dataset from a folder of HR images",
        examples=(
            "lnln prepare folder photos --name photos",
            "lnln prepare folder Flickr2K.zip --name flickr2k --scales 2,3,4",
        ),
    )
    folder.add_argument(
        "folder",
        type=path,
        help="folder or .zip file: images alone, DIV2K's folders, or train/ and validation/",
    )
    folder.add_argument("--name", required=True, help="of the dataset, such as flickr2k")
    folder.add_argument(
        "--validation-every",
        type=natural,
        default=20,
        metavar="N",
        help="hold out every N-th image for validation; 0: none (default: 20)",
    )
    folder.add_argument("--license", default="", help="of the images, for the description")
    folder.add_argument("--citation", default="", help="BibTeX, for the description")
    _add_options(folder, on_bad_image="skip")
    folder.set_defaults(run=_folder)


def _add_options(parser: argparse.ArgumentParser, *, on_bad_image: str) -> None:
    parser.add_argument(
        "--scales",
        type=listed(positive),
        default=[2],
        metavar="S[,S...]",
        help="of the LR images, such as 2,3,4 (default: 2)",
    )
    parser.add_argument(
        "--size", type=natural, default=480, help="side of sub-images in HR pixels (default: 480)"
    )
    parser.add_argument(
        "--step",
        type=natural,
        default=0,
        help="from one sub-image to the next (default: the size - 48 * the largest scale)",
    )
    parser.add_argument(
        "--min-side",
        type=natural,
        default=0,
        help="shorter images are too small (default: 48 * the largest scale)",
    )
    add_degradation(parser)
    parser.add_argument(
        "--data-dir",
        type=path,
        help="where datasets lie (default: TFDS_DATA_DIR, or ~/tensorflow_datasets)",
    )
    parser.add_argument(
        "--on-bad-image",
        choices=("skip", "stop"),
        default=on_bad_image,
        help="leave images out that can't be used and list them, or stop at the first "
        f"(default: {on_bad_image})",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        help="processes that build (default: one for each core that this process may use)",
    )


def _options(args: argparse.Namespace) -> dict[str, Any]:
    from lnln_jax.data.prepare.sub_images import Cut
    from lnln_jax.runtime.processes import usable_cores
    from lnln_jax.runtime.progress import progress_of

    return {
        "cut": Cut(tuple(args.scales), args.size, args.step, args.min_side, degradation(args)),
        "data_dir": args.data_dir,
        "on_bad_image": args.on_bad_image,
        "workers": args.workers or usable_cores(),
        "progress_of": progress_of,
    }


def _div2k(args: argparse.Namespace) -> int:
    from lnln_jax.data.prepare.recipes import DIV2K_URL, prepare_div2k

    options = _options(args)
    prepared = prepare_div2k(download_dir=args.download_dir, url=args.url or DIV2K_URL, **options)
    return _report(prepared, args)


def _folder(args: argparse.Namespace) -> int:
    from lnln_jax.data.prepare.recipes import prepare_folder

    prepared = prepare_folder(
        args.folder,
        args.name,
        validation_every=args.validation_every,
        license=args.license,
        citation=args.citation,
        **_options(args),
    )
    return _report(prepared, args)


def _report(prepared: "Prepared", args: argparse.Namespace) -> int:
    examples = ", ".join(f"{count} for {split}" for split, count in prepared.examples.items())
    print(
        f"{printable(prepared.folder)}: {examples}; {prepared.size / 1e9:.3f} GB in "
        f"{prepared.seconds:.0f} s"
    )
    if prepared.left_out:
        left_out = sorted(prepared.left_out.items())
        images = f"{len(left_out)} image{'s' * (len(left_out) > 1)}"
        print(f"{images} could not be used and were left out:", file=sys.stderr)
        for name, reason in left_out[:_LISTED]:
            print(f"  {printable(name)}: {reason}", file=sys.stderr)
        if len(left_out) > _LISTED:
            print(
                f"  ... and {len(left_out) - _LISTED} more, all in "
                f"{printable(prepared.folder)}/metadata.json",
                file=sys.stderr,
            )
    scale = min(args.scales)
    trained = "" if scale == 2 else f" model.scale={scale}"
    config = f"lnln_x2{trained}" if scale in (2, 3, 4) else "experiment.py"
    where = shlex.quote(f"data.train={prepared.folder.parent}")
    print(f"train on it: lnln train {config} {where}")
    return 0
