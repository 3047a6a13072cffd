"""The command `lnln config`."""

import argparse
import shlex
from typing import Any

from lnln_jax.cli.options import CONFIG_HELP, name_or_path


def add_parser(commands: Any) -> None:
    """Adds `config` to the commands of `lnln`."""
    config = commands.add_parser(
        "config",
        help="the configs of this package; all fields of one",
        description="Lists the configs that come with the package or, for one of them or a file, "
        "prints what it is and every field as an override would set it, with its type and meaning.",
        examples=("lnln config", "lnln config lnln_x2 model.scale=4"),
    )
    config.add_argument(
        "config", nargs="?", type=name_or_path, help=f"{CONFIG_HELP}; default: a list of the names"
    )
    config.add_argument(
        "overrides", nargs="*", metavar="key=value", help="fields to change, by dotted name"
    )
    config.set_defaults(run=run, needs_device=False)


def run(args: argparse.Namespace) -> int:
    """Prints the list, or the fields of a config with its overrides."""
    from lnln_jax.config import load_config
    from lnln_jax.config.listing import list_fields
    from lnln_jax.config.shipped import FOLDER, config_names, description, find_config
    from lnln_jax.runtime.files import printable

    rows: list[tuple[str, ...]]
    if args.config is None:
        about = {name: description(FOLDER / f"{name}.py") for name in config_names()}
        rows = [(name, text.partition("\n")[0]) for name, text in about.items()]
    else:
        fields = list_fields(load_config(args.config, args.overrides))
        path = find_config(args.config)
        print("\n".join(filter(None, (printable(path), description(path)))), end="\n\n")
        rows = [(shlex.quote(f"{f.key}={f.value}"), f.type, f.meaning) for f in fields]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *cells, last in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        print("  ".join([*padded, last]))
    return 0
