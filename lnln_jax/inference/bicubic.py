"""Upscaling by bicubic interpolation."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lnln_jax.images.arrays import from_float32, to_float32
from lnln_jax.images.resize import imresize_rows
from lnln_jax.inference.upscaler import Options, Upscaler
from lnln_jax.runtime.numbers import whole

_BAND_PIXELS = 1 << 18  # of a band that is made at once


@dataclasses.dataclass(frozen=True, eq=False)
class BicubicUpscaler(Upscaler):
    """MATLAB's bicubic interpolation, as the baseline that stands where a network does.

    It needs no tiles, mirrors images anyway, and its self-ensemble is itself: no option changes it.
    """

    scale: int
    name: str = "bicubic"
    module: None = None
    variables: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Takes a scale of any kind of number."""
        object.__setattr__(self, "scale", whole("scale", self.scale, least=1))

    def _bands(self, image: np.ndarray, options: Options) -> Iterator[np.ndarray]:
        convert = to_float32 if image.dtype == np.uint16 else None
        height, width = (side * self.scale for side in image.shape[:2])
        rows = max(1, _BAND_PIXELS // width)
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            band = imresize_rows(image, self.scale, start, stop, convert=convert)
            yield band if convert is None else from_float32(band, image.dtype)
