"""Tables of `lnln models`: the trained networks, and the paper's Table 2, measured."""

import importlib.util
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lnln_jax.evaluation.paper import TABLE_2, Size
from lnln_jax.evaluation.report import format_scores
from lnln_jax.models import SCALES, create_model, resolve
from lnln_jax.models.complexity import (
    HD,
    count_multiply_adds,
    count_parameters,
    receptive_field,
)
from lnln_jax.models.spec import ModelConfig
from lnln_jax.models.variables import abstract_variables
from lnln_jax.runtime.extras import install
from lnln_jax.weights import pretrained
from lnln_jax.weights.pretrained import BENCHMARKS, Pretrained
from lnln_jax.weights.safetensors_files import save_safetensors
from lnln_jax.weights.torch_files import write_state_dict
from lnln_jax.weights.torch_port import to_torch

NAMES = ("vdsr", "edsr_baseline", "edsr", "rcan", "drca", "lnln")
_MIB = 2**20


@dataclass(frozen=True)
class ModelRow:
    """Sizes of a network at one scale.

    Attributes:
      name: name, as `create_model` takes it.
      parameters: number of trainable parameters.
      safetensors: bytes of the file that `lnln convert` writes.
      state_dict: bytes of the PyTorch file that it writes; None without PyTorch.
      multiply_adds: multiply-adds by kind, for an output of `complexity.HD`.
      receptive_field: side in LR pixels; None for the whole image.
    """

    name: str
    parameters: int
    safetensors: int
    state_dict: int | None
    multiply_adds: Mapping[str, int]
    receptive_field: int | None


def measure(name: str, scale: int) -> ModelRow:
    """Measures a network, without training it or running it at full width."""
    module = create_model(name, scale)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract_variables(module))
    config = ModelConfig(name, scale)
    safetensors = _size(lambda path: save_safetensors(path, config, zeros), ".safetensors")
    state_dict = None
    if importlib.util.find_spec("torch"):
        arrays = to_torch(zeros, name=config.name)
        state_dict = _size(lambda path: write_state_dict(path, arrays), ".pt")
    return ModelRow(
        name,
        count_parameters(module),
        safetensors,
        state_dict,
        count_multiply_adds(module),
        receptive_field(module),
    )


def _size(write: Callable[[Path], Any], suffix: str) -> int:
    """Returns the size in bytes of the file that `write` makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"weights{suffix}"
        write(path)
        return path.stat().st_size


def format_models(rows: Sequence[ModelRow], scale: int) -> str:
    """Formats the rows as a Markdown table, with notes."""
    table = [
        [
            f"network, x{scale}",
            "parameters (M)",
            "paper (M)",
            "safetensors (MiB)",
            "PyTorch (MiB)",
            "paper (MB)",
            "multiply-adds (G)",
            "of them attention",
            "receptive field",
        ]
    ]
    for row in rows:
        paper = _paper(row.name)
        side = row.receptive_field
        attention = row.multiply_adds["attention"]
        table.append(
            [
                row.name,
                f"{row.parameters / 1e6:.2f}",
                f"{paper.parameters:g}" if paper else "",
                f"{row.safetensors / _MIB:.2f}",
                f"{row.state_dict / _MIB:.2f}" if row.state_dict else "",
                f"{paper.storage:g}" if paper else "",
                f"{sum(row.multiply_adds.values()) / 1e9:.1f}",
                f"{attention / 1e9:.1f}" if attention else "",
                f"{side}x{side}" if side else "global",
            ]
        )
    height, width = (size // scale * scale for size in HD)
    notes = [
        f"Multiply-adds of convolutions and matrix products, for an output of {width}x{height}. "
        "The receptive field is in LR pixels.",
        "PyTorch's column is of a state dict in the zip format, which spends about 300 bytes on "
        "each array."
        if all(row.state_dict for row in rows)
        else f"Without PyTorch its files cannot be measured: {install('torch')}.",
        *filter(None, (disagreement(row.name) for row in rows)),
    ]
    return "\n".join([_markdown(table), "", *notes])


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
    return _markdown(table)


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


def _markdown(table: Sequence[Sequence[str]]) -> str:
    """Formats a table whose columns are aligned as text, too."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = [list(map(str.ljust, cells, widths)) for cells in table]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


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
    # Statistics and the format add to the four bytes of each parameter: 17 % in LNLN's zip file.
    if not any(0.95 <= paper.storage / size <= 1.2 for size in sizes):
        problems.append(
            f"{paper.storage:g} MB (four bytes a parameter make {min(sizes):.1f} to "
            f"{max(sizes):.1f} MiB)"
        )
    if not problems:
        return None
    return f"{resolve(name)[0].upper()}: the paper prints {' and '.join(problems)}."
