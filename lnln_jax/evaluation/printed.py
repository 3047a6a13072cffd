"""Scores as they are printed, and which values round to them."""

import re
from dataclasses import dataclass
from typing import NamedTuple

_NUMBER = re.compile(r"\d{1,4}(?:\.(\d{1,15}))?")  # more is no score, and may be infinite
_SINGLE = 2.0**-23  # relative errors of single precision, in which most programs compute


class Printed(NamedTuple):
    """A number as it is printed.

    Attributes:
      value: its value.
      digits: number of its decimals.
    """

    value: float
    digits: int

    def units(self, value: float) -> float:
        """Returns how far away a value is, in units of the last digit."""
        return abs(value - self.value) * 10**self.digits

    def fits(self, value: float) -> bool:
        """Returns whether a value is printed so when it is rounded."""
        return abs(value - self.value) <= 0.5 * 10**-self.digits + self.value * _SINGLE

    def __str__(self) -> str:
        """Returns what is printed."""
        return f"{self.value:.{self.digits}f}"


@dataclass(frozen=True)
class PrintedScores:
    """A published PSNR or SSIM, or both.

    Attributes:
      psnr: PSNR in dB, or None.
      ssim: SSIM, or None.
    """

    psnr: Printed | None
    ssim: Printed | None

    def units(self, psnr: float, ssim: float) -> float:
        """Returns how far away scores are, in units of the last digits: the farther of both."""
        return max(printed.units(value) for printed, value in self._beside(psnr, ssim))

    def fit(self, psnr: float, ssim: float) -> bool:
        """Returns whether scores are printed so when they are rounded."""
        return all(printed.fits(value) for printed, value in self._beside(psnr, ssim))

    def _beside(self, psnr: float, ssim: float) -> list[tuple[Printed, float]]:
        both = ((self.psnr, psnr), (self.ssim, ssim))
        return [(printed, value) for printed, value in both if printed is not None]

    def __str__(self) -> str:
        """Returns what is printed."""
        return " / ".join(str(each) for each in (self.psnr, self.ssim) if each is not None)


def read_printed(text: str) -> PrintedScores:
    """Reads a PSNR such as 38.24, an SSIM such as 0.9614, or both: 38.24/0.9614.

    Raises:
      ValueError: the text is something else.
    """
    match [_printed(part.strip()) for part in text.split("/")]:
        case [Printed(value) as ssim] if value <= 1:
            return PrintedScores(None, ssim)
        case [Printed() as psnr]:
            return PrintedScores(psnr, None)
        case [Printed(larger) as psnr, Printed(smaller) as ssim] if smaller <= 1 < larger:
            return PrintedScores(psnr, ssim)
    raise ValueError(
        f"{text!r} is neither a PSNR in dB nor an SSIM; write 38.24, 0.9614 or 38.24/0.9614"
    )


def _printed(text: str) -> Printed | None:
    found = _NUMBER.fullmatch(text)
    return Printed(float(text), len(found[1] or "")) if found else None
