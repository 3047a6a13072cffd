"""The trained networks that come with this package.

They lie in `pretrained_weights/` as safetensors; `index.json` has the SHA-256 of each, its scale
and its PSNR on the validation images. How one was trained is in its file's metadata:

    config      every field of the configuration
    command     that trained it
    data        what it was trained on
    hardware, date
    versions    it was released with
    hours       that its steps took, by its log; validation is left out
    pace        patches per second, the median
    scores      mean PSNR (dB) and SSIM on luma by benchmark, by the protocol of published tables
    bicubic     the same of bicubic interpolation
    curve       [[step, validation PSNR], ...]
    validation  PSNR of the checkpoint that was taken
    licence     of the weights

`scripts/release.py` writes all of it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lnln_jax.config import ModelConfig
from lnln_jax.files import write_file
from lnln_jax.safetensors_files import load_safetensors

FOLDER = Path(__file__).parent / "pretrained_weights"
BENCHMARKS = ("Set5", "Set14", "B100")
_NEEDED = {
    *("config", "command", "data", "hardware", "date", "versions", "hours", "pace", "scores"),
    *("bicubic", "curve", "validation", "licence"),
}


class Pretrained(NamedTuple):
    """One of the networks.

    Attributes:
      name: as `load_model` takes it.
      path: of its file.
      model: which network it is.
      training: see the module.
    """

    name: str
    path: Path
    model: ModelConfig
    training: Mapping[str, Any]


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
    if found != index[name]["sha256"]:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is {found}, not {index[name]['sha256']}; install "
            "lnln_jax again"
        )
    return path


def describe(name: str) -> Pretrained:
    """A network by name, with how it was trained.

    Raises:
      ValueError: as `path_of`.
    """
    path = path_of(name)
    weights = load_safetensors(path)
    return Pretrained(name, path, weights.model, weights.training or {})


def best(scale: int) -> str:
    """The name of the network of a scale with the highest PSNR on the validation images.

    Raises:
      ValueError: none has that scale.
    """
    index = _index()
    matching = {
        name: about["validation"] for name, about in index.items() if about["scale"] == scale
    }
    if not matching:
        scales = ", ".join(map(str, sorted({about["scale"] for about in index.values()})))
        raise ValueError(
            f"scale is {scale}, and the trained networks of this package have {scales or 'none'}; "
            "choose one of those, or give a model of your own (--model; bicubic has any scale)"
        )
    return max(matching, key=lambda name: matching[name])


def register(name: str) -> str:
    """Takes the file `FOLDER/NAME.safetensors` into the index.

    Returns:
      Its SHA-256.

    Raises:
      ValueError: it can't be loaded, or does not say how it was trained.
    """
    path = FOLDER / f"{name}.safetensors"
    weights = load_safetensors(path)
    training = weights.training or {}
    missing = _NEEDED - training.keys()
    if missing:
        raise ValueError(f"{path} does not say {', '.join(sorted(missing))} of its training")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    about = {
        "sha256": digest,
        "scale": weights.model.scale,
        "validation": training["validation"],
    }
    text = json.dumps(_index() | {name: about}, indent=2, sort_keys=True) + "\n"
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
                f"x{network.model.scale}",
                f"{network.path.stat().st_size / 1e6:.2f}",
                *(f"{score[0]:.2f} / {score[1]:.4f}" if score else "" for score in scores),
                f"{network.training['hours']:.1f} on {network.training['hardware']}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def _index() -> dict[str, dict[str, Any]]:
    """What `index.json` says, by name."""
    path = FOLDER / "index.json"
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); install lnln_jax again") from error
