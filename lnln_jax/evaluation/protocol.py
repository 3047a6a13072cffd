"""The protocol of a measurement; the defaults are those of the published tables."""

from dataclasses import dataclass, replace
from typing import Literal

from lnln_jax.data.degradations import BICUBIC, Degradation
from lnln_jax.images.resize import Border
from lnln_jax.runtime.numbers import whole

Channel = Literal["y", "rgb"]


@dataclass(frozen=True)
class Protocol:
    """The choices that turn super-resolved images into numbers that can be compared.

    Attributes:
      channel: "y" measures on BT.601 luma, "rgb" on all three channels.
      shave: pixels left out at each border; None for as many as the scale.
      rounding: whether results are clipped and rounded to uint8 before they are measured.
      border: how `imresize` goes on beyond the edges where it makes the LR images.
      degradation: how LR images are made; other than bicubic, of all images.

    Raises:
      ValueError: a field has another value.
    """

    channel: Channel = "y"
    shave: int | None = None
    rounding: bool = True
    border: Border = "symmetric"
    degradation: Degradation = BICUBIC

    def __post_init__(self) -> None:
        if self.channel not in ("y", "rgb"):
            raise ValueError(f"channel is {self.channel!r}; it must be 'y' or 'rgb'")
        if self.shave is not None:
            object.__setattr__(self, "shave", whole("shave", self.shave, least=0))
        if self.border not in ("symmetric", "replicate"):
            raise ValueError(f"border is {self.border!r}; it must be 'symmetric' or 'replicate'")

    def at(self, scale: int) -> "Protocol":
        """Returns the same with `shave` as a number."""
        return self if self.shave is not None else replace(self, shave=scale)

    def is_published(self, scale: int) -> bool:
        """Returns whether what it measures at this scale compares with published tables."""
        return self.at(scale) == Protocol().at(scale)

    def describe(self, scale: int) -> str:
        """Says what is measured, for the head of a table."""
        return (
            f"PSNR (dB) / SSIM on {self.channel.upper()}, shaved {self.at(scale).shave}, "
            f"of {'rounded' if self.rounding else 'unrounded'} results"
        )
