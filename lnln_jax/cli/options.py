"""Options that several commands of `lnln` share, and the types of their values."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from lnln_jax.runtime.local_paths import local_path

if TYPE_CHECKING:
    from lnln_jax.data.degradations import Degradation
    from lnln_jax.runtime.told import Told

Value = TypeVar("Value")

NETWORK_HELP = (
    "a trained network that `lnln models` lists, the folder of a training run, or a .safetensors, "
    ".pt, .pth or .ckpt file"
)
CONFIG_HELP = (
    "a name that `lnln config` lists, a file that says config = TrainConfig(...), or a run's "
    "folder or config.json"
)
MODEL_HELP = f'"bicubic", or {NETWORK_HELP}'


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """Adds what a command that turns weights into a file takes: `convert` and `export`."""
    parser.add_argument(
        "--scale", type=positive, help="where a PyTorch file does not show it (VDSR, PAN, CARN)"
    )
    parser.add_argument(
        "--res-scale", type=float, help="of an EDSR or WDSR from PyTorch (default: the authors')"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing target")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")


def print_told(told: "Told", *, as_json: bool) -> None:
    """Prints what was done, for people or for programs."""
    print(json.dumps(told.facts, indent=1, allow_nan=False) if as_json else told)


def add_distributed(parser: argparse.ArgumentParser) -> None:
    """Adds what joins several processes; see `lnln_jax.runtime.distributed.connect`."""
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="work with the other processes of this job (Slurm, Open MPI, Kubernetes, Cloud TPU, "
        "or the next three)",
    )
    parser.add_argument(
        "--coordinator", metavar="host:port", help="of process 0 (or JAX_COORDINATOR_ADDRESS)"
    )
    parser.add_argument(
        "--num-processes", type=positive, metavar="N", help="of all (or JAX_NUM_PROCESSES)"
    )
    parser.add_argument(
        "--process-id", type=natural, metavar="N", help="of this one, from 0 (or JAX_PROCESS_ID)"
    )


def connect(args: argparse.Namespace) -> None:
    """Joins the other processes, if the options of `add_distributed` say so.

    Raises:
      ValueError: some of them are given without `--distributed`; or as `distributed.connect`.
    """
    numbers = (args.coordinator, args.num_processes, args.process_id)
    if args.distributed:
        from lnln_jax.runtime.distributed import connect

        connect(*numbers)
    elif numbers != (None, None, None):
        raise ValueError(
            "--coordinator, --num-processes and --process-id belong to --distributed; add it"
        )


def natural(text: str) -> int:
    """Returns a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def positive(text: str) -> int:
    """Returns a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def path(text: str) -> Path:
    """Returns a path; `~` in front is expanded, which shells don't do in `--output=~/x`."""
    return Path(name_or_path(text))


def name_or_path(text: str) -> str:
    """Returns the text of a name or a path; `./lnln_x2` stays apart from the name `lnln_x2`."""
    try:
        return local_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def lr_source(text: str) -> str | Path:
    """Returns what says where LR images come from: "auto", "imresize", or a path."""
    return text if text in ("auto", "imresize") else path(text)


def listed(kind: Callable[[str], Value]) -> Callable[[str], list[Value]]:
    """Returns the type of an option with several values of a type, separated by commas."""

    def values(text: str) -> list[Value]:
        words = [word.strip() for word in text.split(",")]
        if "" in words or len(set(words)) < len(words):
            raise argparse.ArgumentTypeError(
                f"{text!r} has a part that is empty or given twice; separate them by commas: "
                f"{','.join(dict.fromkeys(filter(None, words))) or 'a,b'}"
            )
        return [kind(word) for word in words]

    return values


def tile(text: str) -> int | Literal["auto"] | None:
    """Returns a number of pixels, "auto", or None for "none"."""
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of pixels, "auto" or "none"')
    return int(text)


def add_degradation(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how LR images are made."""
    parser.add_argument(
        "--degradation",
        choices=("bicubic", "bd", "dn", "jpeg"),
        default="bicubic",
        help="how LR images are made: bicubic (default), bd (blur and downsampling), dn (bicubic "
        "and noise) or jpeg (bicubic and compression)",
    )
    parser.add_argument("--blur-sigma", type=float, help="of bd, in HR pixels (default: 1.6)")
    parser.add_argument("--noise-level", type=float, help="of dn, of 255 (default: 30)")
    parser.add_argument("--jpeg-quality", type=int, help="of jpeg (default: 40)")


def degradation(args: argparse.Namespace) -> "Degradation":
    """Returns what the options of `add_degradation` say.

    Raises:
      ValueError: a strength out of its range, or of another degradation.
    """
    from lnln_jax.data.degradations import STRENGTHS, Degradation

    given = {
        name: value for name in STRENGTHS.values() if (value := getattr(args, name)) is not None
    }
    for kind, name in STRENGTHS.items():
        if name in given and kind != args.degradation:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} is {given[name]}, but LR images are {args.degradation}; leave it out, "
                f"or add --degradation {kind}"
            )
    return Degradation(args.degradation, **given)
