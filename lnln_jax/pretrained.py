"""The trained networks that come with this package.

They lie in `pretrained_weights/` as safetensors, with the SHA-256 of each in `index.json`. How one
was trained is in its file's metadata (`safetensors_files.read_training`):

    config      every field of the configuration
    command     that trained it
    data        what it was trained on
    hardware, versions, date
    hours       of its steps at the median pace of its log; validation is left out
    scores      mean PSNR (dB) and SSIM on luma by benchmark, by the protocol of published tables
    bicubic     the same of bicubic interpolation
    curve       [[step, validation PSNR], ...]
    licence     of the weights

`scripts/release.py` writes all of it.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lnln_jax.files import write_file
from lnln_jax.safetensors_files import load_safetensors, read_training

FOLDER = Path(__file__).parent / "pretrained_weights"
BENCHMARKS = ("Set5", "Set14", "B100")


class Pretrained(NamedTuple):
    """One of the networks.

    Attributes:
      name: as `load_model` takes it.
      scale: HR size / LR size.
      path: of its file.
      training: see the module.
    """

    name: str
    scale: int
    path: Path
    training: dict[str, Any]

    @property
    def psnr(self) -> float:
        """Mean PSNR on Set5's luma, in dB."""
        return self.training["scores"]["Set5"][0]


def names() -> list[str]:
    """What `load_model` knows by name, besides bicubic."""
    return sorted(_index())


def path_of(name: str) -> Path:
    """The file of a network, whose SHA-256 has been compared.

    Raises:
      ValueError: there is no such network, or its file is missing or damaged.
    """
    index = _index()
    if name not in index:
        raise ValueError(f"there is no trained network {name!r}; there are {', '.join(names())}")
    path = FOLDER / f"{name}.safetensors"
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    if found != index[name]:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is {found}, not {index[name]}; install lnln_jax again"
        )
    return path


def describe(name: str) -> Pretrained:
    """A network by name, with how it was trained.

    Raises:
      ValueError: as `path_of`.
    """
    path = path_of(name)
    return Pretrained(name, load_safetensors(path).model.scale, path, read_training(path))


def best(scale: int) -> str:
    """The name of the network of a scale with the highest PSNR on Set5.

    Raises:
      ValueError: none has that scale.
    """
    found = [describe(name) for name in names()]
    matching = [network for network in found if network.scale == scale]
    if not matching:
        scales = ", ".join(str(network.scale) for network in found)
        raise ValueError(
            f"scale is {scale}, and the trained networks of this package have {scales}; choose "
            "one of those, or give a model of your own (--model; bicubic has any scale)"
        )
    return max(matching, key=lambda network: network.psnr).name


def register(name: str) -> str:
    """Takes the file `FOLDER/NAME.safetensors` into the index; its SHA-256."""
    digest = hashlib.sha256((FOLDER / f"{name}.safetensors").read_bytes()).hexdigest()
    text = json.dumps(_index() | {name: digest}, indent=2, sort_keys=True) + "\n"
    write_file(FOLDER / "index.json", text.encode())
    return digest


def format_table(networks: Sequence[Pretrained]) -> str:
    """Networks with their numbers, as a Markdown table."""
    rows = [
        ["trained network", "scale", "MB", *(f"{name} (dB / SSIM)" for name in BENCHMARKS), "hours"]
    ]
    for network in networks:
        scores = [network.training["scores"].get(name) for name in BENCHMARKS]
        rows.append(
            [
                network.name,
                f"x{network.scale}",
                f"{network.path.stat().st_size / 1e6:.2f}",
                *(f"{score[0]:.2f} / {score[1]:.4f}" if score else "" for score in scores),
                f"{network.training['hours']:.1f} on {network.training['hardware']}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def _index() -> dict[str, str]:
    """SHA-256 by name."""
    path = FOLDER / "index.json"
    return json.loads(path.read_text()) if path.is_file() else {}
