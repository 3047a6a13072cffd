"""Scores of images and of benchmarks, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lnln_jax.evaluation.protocol import Protocol

SRCNN_BICUBIC = "bicubic (SRCNN convention)"  # the name of what `measure.published_bicubic` returns


@dataclass(frozen=True)
class Score:
    """Metrics of one image, and the time that they took.

    Attributes:
      image: name of the image.
      psnr: PSNR in dB.
      ssim: SSIM, at most 1.
      seconds: time that the network took, without compilation.
      compile_seconds: time that compiling the network for this shape took; next to nothing where
        an image of the same shape came before. For the first image a run that is discarded is
        counted as well: it has the costs that come once.
      metrics_seconds: time that the metrics took, without compilation.
    """

    image: str
    psnr: float
    ssim: float
    seconds: float
    compile_seconds: float
    metrics_seconds: float


@dataclass(frozen=True)
class Result:
    """Scores of one model on one benchmark.

    Attributes:
      model: name of the model, different from those of the models beside it.
      network: class of its network, such as "LNLN"; "Bicubic" for the bicubic interpolation
        that published tables mean by that, and "" for ours.
      benchmark: name of the benchmark, such as "Set5".
      scale: scale of the LR images.
      lr_origin: where the LR images come from, in words.
      protocol: protocol by which it was measured.
      self_ensemble: whether the results are averages over the eight symmetries.
      peak_memory_bytes: memory of the largest program on the device, as the compiler plans it:
        arguments, results and temporaries. It is not measured; 0 without a network.
      scores: scores of the images.
      options: hyper-parameters of the network, all numbers.
      device_peak_memory_bytes: most memory that the device has held since the process began, models
        before this one included, as the device measures it; None where it does not tell (CPUs).
    """

    model: str
    network: str
    benchmark: str
    scale: int
    lr_origin: str
    protocol: Protocol
    self_ensemble: bool
    peak_memory_bytes: int
    scores: tuple[Score, ...]
    options: Mapping[str, int | float] = field(default_factory=dict)
    device_peak_memory_bytes: int | None = None

    @property
    def psnr(self) -> float:
        """Mean PSNR over the images, in dB."""
        return float(np.mean([score.psnr for score in self.scores]))

    @property
    def ssim(self) -> float:
        """Mean SSIM over the images."""
        return float(np.mean([score.ssim for score in self.scores]))
