"""The command `lnln models`."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lnln_jax.cli.options import add_json

if TYPE_CHECKING:
    from lnln_jax.evaluation.model_sizes import ModelRow
    from lnln_jax.weights.pretrained import Pretrained


def add_parser(commands: Any) -> None:
    """Adds `models` to the commands of `lnln`."""
    models = commands.add_parser(
        "models",
        help="the trained networks of this package; how large each network is",
        description="The trained networks of this package with their scores, and the sizes of all "
        "networks at their published widths, measured: parameters, storage, multiply-adds, "
        "activations and receptive field, beside what is published.",
        examples=("lnln models", "lnln models lnln rlfn --scale 4"),
    )
    models.add_argument("names", nargs="*", metavar="network", help="only these; default: all")
    models.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=2, help="default: 2")
    add_json(models)
    models.set_defaults(run=run, needs_device=False)


def run(args: argparse.Namespace) -> int:
    """Prints both tables, or what is asked for of them."""
    from lnln_jax.evaluation.model_sizes import format_models, format_trained, measure
    from lnln_jax.models import MODELS
    from lnln_jax.models.registry import VARIANTS
    from lnln_jax.runtime.progress import progress_of
    from lnln_jax.runtime.suggestions import did_you_mean
    from lnln_jax.weights import pretrained

    trained = [name for name in args.names or pretrained.names() if name in pretrained.names()]
    names = [name for name in args.names or _names_at(args.scale) if name not in trained]
    known = [*pretrained.names(), *MODELS, *VARIANTS]
    for name in names:
        if name not in known:
            raise ValueError(
                f"there is no network {name!r}; there are {', '.join(known)}"
                + did_you_mean(name, known)
            )
    networks = [pretrained.load(name) for name in trained]
    progress, rows = progress_of("measuring networks"), []
    for name in names:
        rows.append(measure(name, args.scale))
        progress(len(rows), len(names))
    if args.json:
        print(json.dumps(_facts(networks, rows, args.scale), indent=1, allow_nan=False))
        return 0
    if networks:
        print(format_trained(networks), end="\n\n" if rows else "\n")
    if rows:
        print(format_models(rows, args.scale))
    return 0


def _names_at(scale: int) -> list[str]:
    """Returns the networks that are made for a scale."""
    from lnln_jax.evaluation.model_sizes import NAMES
    from lnln_jax.models import scales_of

    return [name for name in NAMES if scale in scales_of(name)]


def _facts(
    networks: "Sequence[Pretrained]", rows: "Sequence[ModelRow]", scale: int
) -> dict[str, Any]:
    """Returns both tables for programs."""
    from lnln_jax.evaluation.model_sizes import LR_SIDE
    from lnln_jax.models.complexity import HD

    return {
        "trained": [
            {
                "name": network.name,
                "scale": network.scale,
                "size_bytes": network.path.stat().st_size,
                "scores": {
                    benchmark: {"psnr_y_db": psnr, "ssim_y": ssim}
                    for benchmark, (psnr, ssim) in network.training["scores"].items()
                },
                "stages": [
                    {"hours": stage["hours"], "hardware": stage["hardware"]}
                    for stage in network.stages
                ],
                "started_from": network.start or None,
                "licence": network.training["licence"],
            }
            for network in networks
        ],
        "networks": [
            {
                "name": row.name,
                "scale": scale,
                "parameters": row.parameters,
                "safetensors_bytes": row.safetensors,
                "state_dict_bytes": row.state_dict,
                "multiply_adds": dict(row.multiply_adds),
                "multiply_adds_output_pixels": [size // scale * scale for size in HD],
                "activations": row.activations["activations"],
                "convolutions": row.activations["convolutions"],
                "activations_lr_pixels": [LR_SIDE, LR_SIDE],
                "receptive_field_pixels": row.receptive_field,
            }
            for row in rows
        ],
    }
