"""Results under every convention: which one a published number is of, and who made LR images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lnln_jax.evaluation.conventions import AS_STORED, COLOURS, Colours, measure
from lnln_jax.evaluation.image_pairs import open_pairs
from lnln_jax.evaluation.lr_makers import Agreement, compare, percent, together, verdict
from lnln_jax.evaluation.printed import PrintedScores
from lnln_jax.evaluation.tables import aligned
from lnln_jax.runtime.numbers import finite_or_none
from lnln_jax.runtime.told import Told

_SCALES = (2, 3, 4)  # whose borders are tried where no scale is known
_MORE = 6  # pixels that EDSR's code leaves out on DIV2K, besides the scale
_DIGITS = (3, 5)  # of PSNR and SSIM: one more than papers print


class Score(NamedTuple):
    """Means over all images under one convention.

    Attributes:
      colours: what the images are compared in.
      shave: pixels left out at each border.
      psnr: PSNR in dB.
      ssim: SSIM.
    """

    colours: Colours
    shave: int
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Explanation:
    """What results score under every convention.

    Attributes:
      scale: scale of the results; None where it is not known.
      names: names of the images.
      scores: means under all conventions, by colours, then shave.
      of_images: PSNR and SSIM of each image: `image convention 2`.
      makers: agreement of the LR images with those of each maker; empty without LR images.
    """

    scale: int | None
    names: Sequence[str]
    scores: Sequence[Score]
    of_images: np.ndarray
    makers: Sequence[Agreement]

    def nearest(self, printed: PrintedScores) -> list[Score]:
        """Returns the scores, the nearest to printed ones first."""
        return sorted(self.scores, key=lambda score: printed.units(score.psnr, score.ssim))

    def fitting(self, printed: PrintedScores) -> list[Score]:
        """Returns the scores that are the printed ones when they are rounded, the nearest first."""
        return [score for score in self.nearest(printed) if printed.fit(score.psnr, score.ssim)]


def explain(
    sr: Path,
    hr: Path,
    *,
    scale: int | None = None,
    lr: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Measures results under every convention, and compares LR images with those of every maker.

    Args:
      sr: file, folder or .zip file of results; see `StoredResults` for the names in folders.
      hr: the same of HR images, in the layouts of `lnln_jax.data.layouts`.
      scale: scale of the results, or None; see `open_pairs`.
      lr: the same of LR images, or None.
      progress: function called with how many of how many images are done.

    Raises:
      ValueError: as `open_pairs` and `Pairs` raise it, or an image is too small.
    """
    pairs = open_pairs(sr, hr, scale, lr)
    scales = _SCALES if pairs.scale is None else (pairs.scale,)
    shaves = sorted({0, *scales, *(each + _MORE for each in scales)})
    names, scores, makers, gray = [], [], [], False
    for image, result in pairs:
        try:
            scores.append(measure(result, image.hr, shaves, gray=image.gray))
        except ValueError as error:
            raise ValueError(f"{image.name}: {error}") from error
        names.append(image.name)
        gray |= image.gray
        if lr is not None and pairs.scale is not None:
            makers.append(compare(image.lr, image.hr, pairs.scale))
        if progress is not None:
            progress(len(names), len(pairs))
    colours = (*COLOURS, *AS_STORED) if gray else COLOURS
    of_images = np.array(scores)[:, : len(colours)].reshape(len(names), -1, 2)
    means = of_images.mean(axis=0)
    measured = ~np.isnan(means).any(axis=-1)  # unless an image is too small for a shave
    conventions = [(each, shave) for each in colours for shave in shaves]
    return Explanation(
        pairs.scale,
        names,
        [
            Score(*convention, *mean.tolist())
            for convention, mean, kept in zip(conventions, means, measured, strict=True)
            if kept
        ],
        of_images[:, measured],
        together(makers) if makers else (),
    )


def describe(explanation: Explanation, printed: PrintedScores | None = None) -> Told:
    """Makes a report: the table of scores, what fits printed scores, and who made LR images."""
    count, scale = len(explanation.names), explanation.scale
    of = f"{count} images" if count > 1 else explanation.names[0]
    at = f"x{scale}" if scale else f"borders of x{_SCALES[0]} to x{_SCALES[-1]} (give --scale)"
    parts = [f"PSNR (dB) / SSIM of {of}, {at}", _table(explanation.scores)]
    facts: dict[str, Any] = {
        "scale": scale,
        "images": list(explanation.names),
        "conventions": [
            _facts(score)
            | {
                "psnr_db_of_images": [*map(finite_or_none, of_images[:, 0].tolist())],
                "ssim_of_images": of_images[:, 1].tolist(),
            }
            for score, of_images in zip(
                explanation.scores, explanation.of_images.swapaxes(0, 1), strict=True
            )
        ],
    }
    if printed is not None:
        fitting, nearest = explanation.fitting(printed), explanation.nearest(printed)[0]
        parts.append(_what_fits(printed, fitting, nearest, len(explanation.scores)))
        facts["published"] = {
            "psnr_db": printed.psnr and printed.psnr.value,
            "ssim": printed.ssim and printed.ssim.value,
        }
        facts |= {"fitting": [*map(_facts, fitting)], "nearest": _facts(nearest)}
    if explanation.makers:
        makers, sentence = verdict(explanation.makers)
        parts += [_table_of_makers(explanation.makers), sentence]
        facts["lr"] = {
            "made_by": makers,
            "makers": [
                {"name": each.name, "equal_pixels": each.share, "largest_difference": each.largest}
                for each in explanation.makers
            ],
        }
    return Told("\n\n".join(parts), **facts)


def _table(scores: Sequence[Score]) -> str:
    """Makes a table with a row for each kind of colours and a column for each shave."""
    shaves = sorted({score.shave for score in scores})
    rows: dict[str, list[str]] = {}
    for score in scores:
        rows.setdefault(score.colours.name, []).append(_values(score))
    head = ["", *(f"shave {shave}" for shave in shaves)]
    return aligned([head, *([name, *values] for name, values in rows.items())])


def _table_of_makers(makers: Sequence[Agreement]) -> str:
    rows = [[each.name, percent(each.share), str(each.largest)] for each in makers]
    return aligned([["LR by", "equal pixels", "largest difference"], *rows])


def _what_fits(printed: PrintedScores, fitting: Sequence[Score], nearest: Score, count: int) -> str:
    """Says which conventions printed scores are of, or how far the nearest is."""
    digits = (
        max(_DIGITS[0], printed.psnr.digits + 1 if printed.psnr else 0),
        max(_DIGITS[1], printed.ssim.digits + 1 if printed.ssim else 0),
    )
    if not fitting:
        away = [
            f"{abs(value - given.value):.{decimals}f}{unit}"
            for given, value, decimals, unit in (
                (printed.psnr, nearest.psnr, digits[0], " dB"),
                (printed.ssim, nearest.ssim, digits[1], ""),
            )
            if given is not None
        ]
        return (
            f"{printed} fits none of {count} conventions. The nearest is {_line(nearest, digits)}, "
            f"{' and '.join(away)} away."
        )
    lines = [f"- {_line(score, digits)}: {score.colours.users}" for score in fitting]
    head = f"{printed} fits {len(fitting)} of {count} conventions"
    if len(fitting) > 1:
        head += ", the nearest first"
    if len(fitting) > 1 and None in (printed.psnr, printed.ssim):
        lines.append("\nGive both (--published 38.24/0.9614) to tell them apart.")
    return "\n".join([f"{head}:\n", *lines])


def _line(score: Score, digits: tuple[int, int]) -> str:
    return f"{score.colours.name}, shave {score.shave} ({_values(score, digits)})"


def _values(score: Score, digits: tuple[int, int] = _DIGITS) -> str:
    return f"{score.psnr:.{digits[0]}f} / {score.ssim:.{digits[1]}f}"


def _facts(score: Score) -> dict[str, Any]:
    return {
        "colours": score.colours.name,
        "shave": score.shave,
        "psnr_db": finite_or_none(score.psnr),
        "ssim": score.ssim,
    }
