"""The evaluation protocol that reproduces published numbers, and its tables.

An HR image is cropped to a multiple of the scale; the LR image is a file of the benchmark or made
by `imresize`; the network's result is rounded to uint8; PSNR and SSIM are taken on luma (Y) after
shaving `scale` pixels from each border.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lnln_jax.image import modcrop
from lnln_jax.image_files import find_images, read_rgb
from lnln_jax.inference import Resolver
from lnln_jax.metrics import psnr, ssim
from lnln_jax.resize import imresize


class BenchmarkImage(NamedTuple):
    """One image of a benchmark: uint8 RGB, HR cropped to a multiple of the scale."""

    name: str
    lr: np.ndarray  # h w 3
    hr: np.ndarray  # h*scale w*scale 3


@dataclass(frozen=True)
class Benchmark:
    """A folder of test images.

    Attributes:
      name: of the folder, such as "Set5".
      scale: of the LR images.
      lr_origin: where they come from, in words.
    """

    name: str
    scale: int
    lr_origin: str
    hr_paths: tuple[Path, ...]
    lr_paths: tuple[Path, ...]  # empty: made by imresize
    loaded: tuple[BenchmarkImage, ...] = ()

    def in_memory(self) -> "Benchmark":
        """The same, read once and for all.

        Raises:
          ValueError: as when its images are read one by one.
        """
        return replace(self, loaded=tuple(self))

    def __len__(self) -> int:
        return len(self.hr_paths)

    def __iter__(self) -> Iterator[BenchmarkImage]:
        """Reads image after image.

        Raises:
          ValueError: a file that is no image, or an LR file of the wrong size.
        """
        if self.loaded:
            yield from self.loaded
            return
        for i, path in enumerate(self.hr_paths):
            hr = modcrop(read_rgb(path), self.scale)
            if not self.lr_paths:
                yield BenchmarkImage(path.stem, imresize(hr, 1 / self.scale), hr)
                continue
            lr = read_rgb(self.lr_paths[i])
            expected = tuple(size // self.scale for size in hr.shape[:2])
            if lr.shape[:2] != expected:
                raise ValueError(
                    f"{self.lr_paths[i]} is {lr.shape[0]}x{lr.shape[1]} pixels, but x{self.scale} "
                    f"of {path.name} needs {expected[0]}x{expected[1]}; mend or remove the folder"
                )
            yield BenchmarkImage(path.stem, lr, hr)


def open_benchmark(folder: str | Path, scale: int) -> Benchmark:
    """Finds the images of a benchmark: `HR/` with `LRx2/` beside it, or HR images alone.

    Raises:
      ValueError: no such folder, no images in it, or LR files missing for some of them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; give one that holds HR images")
    hr_folder = folder / "HR" if (folder / "HR").is_dir() else folder
    hr_paths = tuple(
        path
        for path in find_images(hr_folder)
        if not any(part.startswith("LRx") for part in path.relative_to(hr_folder).parts[:-1])
    )
    names = [path.stem for path in hr_paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{hr_folder} has several images of one name: {', '.join(twice)}; rename them"
        )
    if not hr_paths:
        raise ValueError(f"{hr_folder} holds no images; give a folder that holds HR images")
    lr_folder = folder / f"LRx{scale}"
    if not lr_folder.is_dir():
        origin = "made from HR by imresize"
        return Benchmark(folder.resolve().name, scale, origin, hr_paths, ())
    by_name = {path.stem: path for path in find_images(lr_folder)}
    missing = [path.stem for path in hr_paths if path.stem not in by_name]
    if missing:
        raise ValueError(
            f"{lr_folder} has no LR image for {', '.join(missing)}; add them, or remove the folder "
            "to have them made by imresize"
        )
    lr_paths = tuple(by_name[path.stem] for path in hr_paths)
    return Benchmark(folder.resolve().name, scale, f"files in {lr_folder.name}", hr_paths, lr_paths)


@dataclass(frozen=True)
class Score:
    """The metrics of one image and model; `seconds` includes compilation for a new shape."""

    image: str
    psnr_y: float  # dB
    ssim_y: float
    seconds: float


def score(
    model: Resolver, image: BenchmarkImage, *, self_ensemble: bool = False
) -> tuple[Score, np.ndarray]:
    """Super-resolves one image and compares it with the original; also returns the uint8 SR.

    Raises:
      ValueError: the image is too small to be enlarged or measured, or the network returned NaN.
    """
    start = time.perf_counter()
    try:
        sr = model.upscale(image.lr, self_ensemble=self_ensemble)
        seconds = time.perf_counter() - start
        values = [float(metric(sr, image.hr, shave=model.scale)) for metric in (psnr, ssim)]
    except ValueError as error:
        raise ValueError(f"{image.name}: {error}") from error
    return Score(image.name, values[0], values[1], seconds), sr


@dataclass(frozen=True)
class Result:
    """The scores of one model on one benchmark."""

    model: str
    benchmark: str
    scale: int
    lr_origin: str
    self_ensemble: bool
    scores: tuple[Score, ...]

    @property
    def psnr_y(self) -> float:
        """The mean over images, in dB."""
        return float(np.mean([score.psnr_y for score in self.scores]))

    @property
    def ssim_y(self) -> float:
        """The mean over images."""
        return float(np.mean([score.ssim_y for score in self.scores]))

    def to_json(self) -> dict[str, Any]:
        """Everything, for `json.dump`."""
        return {**asdict(self), "psnr_y": self.psnr_y, "ssim_y": self.ssim_y}


Done = Callable[[str, BenchmarkImage, np.ndarray], None]


def evaluate(
    models: Sequence[Resolver],
    benchmark: Benchmark,
    *,
    self_ensemble: bool = False,
    done: Done | None = None,
) -> list[Result]:
    """Runs models over a benchmark.

    Args:
      models: of the benchmark's scale, with different names.
      benchmark: from `open_benchmark`.
      self_ensemble: average each result over the eight symmetries.
      done: called with the model's name, the image and the uint8 SR after each.

    Raises:
      ValueError: a model of another scale, two of one name, or an image that `score` refuses.
    """
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ValueError(f"two models have one name: {', '.join(names)}")
    for model in models:
        if model.scale != benchmark.scale:
            raise ValueError(
                f"{model.name} enlarges x{model.scale}, but the benchmark is x{benchmark.scale}; "
                f"open it with scale={model.scale}"
            )
    scores: dict[str, list[Score]] = {name: [] for name in names}
    for image in benchmark:
        for model in models:
            one, sr = score(model, image, self_ensemble=self_ensemble)
            scores[model.name].append(one)
            if done is not None:
                done(model.name, image, sr)
    return [
        Result(
            model=name,
            benchmark=benchmark.name,
            scale=benchmark.scale,
            lr_origin=benchmark.lr_origin,
            self_ensemble=self_ensemble,
            scores=tuple(scores[name]),
        )
        for name in names
    ]


def format_table(results: Sequence[Result]) -> str:
    """A table of PSNR / SSIM with a row per image and a column per model, and the means.

    Args:
      results: of one benchmark, as `evaluate` returns them.
    """
    first = results[0]
    header = [f"{first.benchmark} x{first.scale}", *(result.model for result in results)]
    rows = [
        [one.image, *(f"{r.scores[i].psnr_y:.2f} / {r.scores[i].ssim_y:.4f}" for r in results)]
        for i, one in enumerate(first.scores)
    ]
    mean = ["mean", *(f"{r.psnr_y:.2f} / {r.ssim_y:.4f}" for r in results)]
    table = [header, *rows, mean]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table]
    rule = "-" * len(lines[0])
    return "\n".join(
        [
            f"PSNR (dB) / SSIM on Y, shaved {first.scale}, of rounded results; "
            f"LR {first.lr_origin}{'; self-ensemble' if first.self_ensemble else ''}",
            lines[0],
            rule,
            *lines[1:-1],
            rule,
            lines[-1],
        ]
    )
