"""Tables of `lnln models`: the trained networks, and the sizes of all, measured."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lnln_jax.evaluation.paper import TABLE_2, Size
from lnln_jax.evaluation.published import PublishedRow, published
from lnln_jax.evaluation.report import format_scores
from lnln_jax.evaluation.tables import aligned
from lnln_jax.models import SCALES, create_model, resolve
from lnln_jax.models.complexity import (
    HD,
    count_activations,
    count_multiply_adds,
    count_parameters,
    receptive_field,
)
from lnln_jax.models.spec import ModelConfig
from lnln_jax.models.variables import abstract_variables
from lnln_jax.weights import pretrained
from lnln_jax.weights.pretrained import BENCHMARKS, Pretrained
from lnln_jax.weights.safetensors_files import save_safetensors
from lnln_jax.weights.torch_files import write_state_dict
from lnln_jax.weights.torch_port import to_torch

NAMES = (
    *("vdsr", "edsr_baseline", "edsr", "rcan", "drca", "lnln", "rlfn", "rlfn_s", "rlfn_ntire"),
    *("rfdn", "imdn", "carn_multi", "carn_m_multi", "pan", "rdn", "msrn", "wdsr_a", "wdsr_b"),
    *("san", "swinir_light"),
)
LR_SIDE = 256  # of the image that the NTIRE challenges count activations for
_MIB = 2**20


@dataclass(frozen=True)
class ModelRow:
    """Sizes of a network at one scale.

    Attributes:
      name: name, as `create_model` takes it.
      parameters: number of trainable parameters.
      safetensors: bytes of the file that `lnln convert` writes.
      state_dict: bytes of the PyTorch file that it writes.
      multiply_adds: multiply-adds by kind, for an output of `complexity.HD`.
      activations: activations and convolutions, for an LR image of `LR_SIDE`.
      receptive_field: side in LR pixels; None for the whole image.
    """

    name: str
    parameters: int
    safetensors: int
    state_dict: int
    multiply_adds: Mapping[str, int]
    activations: Mapping[str, int]
    receptive_field: int | None


def measure(name: str, scale: int) -> ModelRow:
    """Measures a network, without training it or running it at full width."""
    module = create_model(name, scale)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract_variables(module))
    config = ModelConfig(name, scale)
    safetensors = _size(lambda path: save_safetensors(path, config, zeros), ".safetensors")
    arrays = to_torch(zeros, name=config.name)
    state_dict = _size(lambda path: write_state_dict(path, arrays), ".pt")
    return ModelRow(
        name,
        count_parameters(module),
        safetensors,
        state_dict,
        count_multiply_adds(module),
        count_activations(module, (LR_SIDE * scale, LR_SIDE * scale)),
        receptive_field(module),
    )


def _size(write: Callable[[Path], Any], suffix: str) -> int:
    """Returns the size in bytes of the file that `write` makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"weights{suffix}"
        write(path)
        return path.stat().st_size


def format_models(rows: Sequence[ModelRow], scale: int) -> str:
    """Formats the rows as a Markdown table, smallest network first, with notes."""
    table = [
        [
            f"network, x{scale}",
            "parameters (M)",
            "published",
            "safetensors (MiB)",
            "PyTorch (MiB)",
            "paper (MB)",
            "multiply-adds (G)",
            "of them attention",
            "published",
            "activations (M)",
            "published",
            "convolutions",
            "published",
            "receptive field",
        ],
        *(_cells(row, scale) for row in sorted(rows, key=lambda row: row.parameters)),
    ]
    height, width = (size // scale * scale for size in HD)
    notes = [
        f"Multiply-adds of convolutions and matrix products, for an output of {width}x{height}; "
        "published ones of some networks leave attention out. Activations, the elements of all "
        f"results of convolutions, for an LR image of {LR_SIDE}x{LR_SIDE}, as the NTIRE challenges "
        "count them. The receptive field is in LR pixels.",
        "PyTorch's column is of a state dict in the zip format, which spends about 250 bytes on "
        "each array.",
        *filter(None, (disagreement(row.name) for row in rows)),
    ]
    return "\n".join([aligned(table), "", *notes])


def _cells(row: ModelRow, scale: int) -> list[str]:
    """Returns a network's row of the table."""
    paper = _paper(row.name)
    figures = published(row.name.removesuffix("_multi"), scale) or PublishedRow(row.name, scale)
    side, attention = row.receptive_field, row.multiply_adds["attention"]
    return [
        row.name,
        f"{row.parameters / 1e6:.3f}",
        f"{figures.parameters / 1e6:.4g}" if figures.parameters else "",
        f"{row.safetensors / _MIB:.2f}",
        f"{row.state_dict / _MIB:.2f}",
        f"{paper.storage:g}" if paper else "",
        f"{sum(row.multiply_adds.values()) / 1e9:.1f}",
        f"{attention / 1e9:.1f}" if attention else "",
        f"{figures.multiply_adds:g}" if figures.multiply_adds else "",
        f"{row.activations['activations'] / 1e6:.1f}",
        f"{figures.activations:g}" if figures.activations else "",
        f"{row.activations['convolutions']}",
        f"{figures.convolutions}" if figures.convolutions else "",
        f"{side}x{side}" if side else "global",
    ]


def format_trained(networks: Sequence[Pretrained]) -> str:
    """Formats the trained networks of the package with their scores as a Markdown table."""
    scores = [f"{name} (dB / SSIM)" for name in BENCHMARKS]
    table = [["trained network", "scale", "MB", *scores, "steps took"]]
    for network in networks:
        training = network.training
        table.append(
            [
                network.name,
                f"x{network.scale}",
                f"{network.path.stat().st_size / 1e6:.2f}",
                *(format_scores(training["scores"][name]) for name in BENCHMARKS),
                format_cost(network),
            ]
        )
    return aligned(table)


def format_cost(network: Pretrained) -> str:
    """Returns the time of a network's steps, and of those that it started from, on what."""
    parts = [(_time(stage["hours"]), stage["hardware"]) for stage in network.stages]
    if network.start in pretrained.names():
        first, hardware = parts[0]
        parts[0] = (
            f"{first} + {_times(pretrained.load(network.start))} of {network.start}",
            hardware,
        )
    return ", then ".join(f"{time} on {hardware}" for time, hardware in parts)


def _times(network: Pretrained) -> str:
    return " + ".join(_time(stage["hours"]) for stage in network.stages)


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 0.25 else f"{60 * hours:.1f} min"


def _paper(name: str) -> Size | None:
    """Returns the paper's figures; EDSR there is the large network."""
    return TABLE_2.get(name.upper())


def disagreement(name: str) -> str | None:
    """Says where the paper differs from the network as its authors published it, or None.

    The paper does not name the scale of its figures, so a figure that fits any scale fits.
    """
    paper = _paper(name)
    if paper is None:
        return None
    counts = {scale: count_parameters(create_model(name, scale)) for scale in SCALES}
    digits = len(f"{paper.parameters:g}".partition(".")[2])
    problems = []
    if not any(abs(n / 1e6 - paper.parameters) < 10**-digits for n in counts.values()):
        listing = ", ".join(f"{n / 1e6:.2f} M at x{scale}" for scale, n in counts.items())
        problems.append(f"{paper.parameters:g} M parameters (the authors' code has {listing})")
    sizes = [4 * n / _MIB for n in counts.values()]
    # Statistics and the format add to the four bytes of each parameter: 14 % in LNLN's zip file.
    if not any(0.95 <= paper.storage / size <= 1.2 for size in sizes):
        problems.append(
            f"{paper.storage:g} MB (four bytes a parameter make {min(sizes):.1f} to "
            f"{max(sizes):.1f} MiB)"
        )
    if not problems:
        return None
    return f"{resolve(name)[0].upper()}: the paper prints {' and '.join(problems)}."
