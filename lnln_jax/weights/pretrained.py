"""The trained networks that come with this package.

They lie in `pretrained_weights/` as safetensors; `index.json` has the SHA-256 and size of each, its
scale and its PSNR on the validation images. How one was trained is in its file's metadata:

    config      every field of the configuration
    command     that trained it
    data        what it was trained on
    hardware, date
    versions    it was released with
    hours       that its steps took, by its log; validation is left out
    pace        patches per second, the median
    scores      mean PSNR (dB) and SSIM on luma by benchmark, by the protocol of published tables
    bicubic     the same of bicubic interpolation
    curve       [[step, validation PSNR], ...], on data.validation_images of them
    validation  PSNR of the checkpoint that was taken, on all validation images
    licence     of the weights
    steps       that it has had, where not as many as config.steps
    before      the same of the network in whose place it is, where it started from that one

`scripts/recipes/release.py` writes the files, `scripts/recipes/pages.py` the pages about them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lnln_jax.runtime.numbers import whole
from lnln_jax.runtime.suggestions import did_you_mean
from lnln_jax.weights.base import Weights
from lnln_jax.weights.safetensors_files import load_safetensors

FOLDER = Path(__file__).parents[1] / "pretrained_weights"
BENCHMARKS = ("Set5", "Set14", "B100")
# dB on the validation images: for less, no larger network is the better choice. On a CPU a photo
# takes the full-size LNLN four times as long as the light one (docs/results.md).
WORTH, WORTH_ON_CPU = 0.1, 1.0


class Pretrained(NamedTuple):
    """One of the networks.

    Attributes:
      name: name that `load_model` takes.
      path: file of the network.
      sha256: SHA-256 of the file.
      weights: contents of the file; `weights.training` is as the module says.
    """

    name: str
    path: Path
    sha256: str
    weights: Weights

    @property
    def scale(self) -> int:
        """HR size / LR size."""
        return self.weights.model.scale

    @property
    def training(self) -> Mapping[str, Any]:
        """How the network was trained."""
        return self.weights.training or {}

    @property
    def stages(self) -> list[Mapping[str, Any]]:
        """How the network was trained, and before it those of its name that it started from."""
        stages = [self.training]
        while "before" in stages[0]:
            stages.insert(0, stages[0]["before"])
        return stages

    @property
    def start(self) -> str:
        """Name of the other network that its training started from; empty: random weights."""
        return self.stages[0]["config"]["init_from"]


def names() -> list[str]:
    """Returns what `load_model` knows by name, besides bicubic."""
    return sorted(index())


def path_of(name: str, scale: int | None = None) -> Path:
    """Returns the file of a network, whose SHA-256 has been compared.

    Raises:
      ValueError: there is no such network, it is of another scale than `scale`, if that is given,
        or its file is missing or damaged.
    """
    listed = index()
    if name not in listed:
        raise ValueError(
            f"there is no trained network {name!r}; there are {', '.join(names())}"
            f"{did_you_mean(name, names())}"
        )
    if scale not in (None, own := listed[name]["scale"]):
        others = [other for other, about in listed.items() if about["scale"] == scale]
        raise ValueError(
            f"scale is {scale}, and {name} upscales x{own}; leave scale out, or take "
            f"{' or '.join(others) or 'a model of your own'}"
        )
    path = FOLDER / f"{name}.safetensors"
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    if found != listed[name]["sha256"]:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is {found}, not {listed[name]['sha256']}; install "
            "lnln_jax again"
        )
    return path


def load(name: str) -> Pretrained:
    """Loads a network by name, with how it was trained.

    Raises:
      ValueError: as `path_of`.
    """
    path = path_of(name)
    return Pretrained(name, path, index()[name]["sha256"], load_safetensors(path))


def best(scale: int) -> str:
    """Returns the name of the network of a scale that upscales photos unless another is given.

    It is the smallest of those whose PSNR on the validation images is within `WORTH` of the
    highest, or within `WORTH_ON_CPU` where JAX runs on a CPU, for a larger one takes its time with
    every photo.

    Raises:
      ValueError: none has that scale.
    """
    scale = whole("scale", scale)
    listed = index()
    matching = {name: about for name, about in listed.items() if about["scale"] == scale}
    if not matching:
        scales = ", ".join(map(str, sorted({about["scale"] for about in listed.values()})))
        raise ValueError(
            f"scale is {scale}, and the trained networks of this package have {scales or 'none'}; "
            "choose one of those, or give a model of your own (--model; bicubic has any scale)"
        )
    worth = WORTH_ON_CPU if jax.default_backend() == "cpu" else WORTH
    least = max(about["validation"] for about in matching.values()) - worth
    good = {name: about for name, about in matching.items() if about["validation"] >= least}
    return min(good, key=lambda name: good[name]["bytes"])


def index() -> dict[str, dict[str, Any]]:
    """Returns what `index.json` says, by name.

    Raises:
      ValueError: it is damaged.
    """
    path = FOLDER / "index.json"
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); install lnln_jax again") from error
