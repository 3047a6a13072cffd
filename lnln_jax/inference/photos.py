"""Upscaling of image files and folders of them, for `lnln upscale`."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from lnln_jax.images.formats import WRITTEN
from lnln_jax.images.listing import skipped
from lnln_jax.inference.photo_pipeline import upscale_each
from lnln_jax.inference.photo_targets import Plan, UpscaledFile, naming_of, plan
from lnln_jax.inference.upscaler import LARGEST_TILE, Upscaler
from lnln_jax.runtime.files import check_folder, printable
from lnln_jax.runtime.numbers import whole
from lnln_jax.runtime.progress import progress_of

_MOST_NAMED = 10  # failed files in the line at the end

Report = Callable[[str], object]


def upscale_files(
    upscaler: Upscaler,
    inputs: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    output: str | os.PathLike[str] = "upscaled",
    *,
    self_ensemble: bool = False,
    tile: int | Literal["auto"] | None = "auto",
    seamless: bool = False,
    overwrite: bool = False,
    skip_existing: bool = False,
    format: str | None = None,
    suffix: str | None = None,
    report: Report = print,
    complain: Report | None = None,
) -> list[UpscaledFile]:
    """Upscales files, keeping alpha, gray, 16 bits and metadata (see `images.photo`).

    `photo.jpg` becomes `output/photo_x2.png`; below an input folder the sub-folders are kept. What
    an earlier run left there is not upscaled again (see `photo_targets.plan`). A file that fails,
    for whatever reason, does not stop the others.

    Args:
      upscaler: network or bicubic. Alpha is always upscaled by bicubic interpolation.
      inputs: image files, and folders to be searched for them; or one of them.
      output: folder to write to, made if missing; or, for one input file, a file, which is known by
        its suffix and gives the format.
      self_ensemble: as for `Upscaler.upscale`.
      tile: side of the tiles in LR pixels, which are of one shape for photos of all sizes; None
        takes images whole; "auto" chooses.
      seamless: whether the images are textures whose copies, side by side, are to show no seams.
      overwrite: whether to replace files; otherwise each that exists is an error, found before
        computing.
      skip_existing: whether to leave out, instead, files whose results exist.
      format: "png", "jpg", ..., or "same" as the input (PNG where that format is not written); None
        for PNG, or as `output`.
      suffix: text appended to the names of results; None for "_x2" where the scale is 2.
      report: function called with a line for each file, and one at the end unless it was a single
        file and nothing was skipped.
      complain: the same, where files failed; None for `report`.

    Returns:
      One entry for each file that was not skipped. The run failed if any has an `error`.

    Raises:
      ValueError: an argument is out of its range, `output` cannot be written to, or two results
        would have one name, or that of an input; nothing has been done then.
    """
    if overwrite and skip_existing:
        raise ValueError("overwrite and skip_existing contradict each other; choose one")
    inputs = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    tile = (
        tile if tile is None or tile == "auto" else whole("tile", tile, least=2, most=LARGEST_TILE)
    )
    suffix = f"_x{upscaler.scale}" if suffix is None else _checked_suffix(suffix)
    naming = naming_of(output, inputs, suffix=suffix, format=_ending(format))
    planned = plan(inputs, naming, skip_existing=skip_existing)
    check_folder(naming.output.parent if naming.one else naming.output)
    switches = {"self_ensemble": self_ensemble, "seamless": seamless, "overwrite": overwrite}
    return _carry_out(planned, upscaler, switches | {"tile": tile}, report, complain or report)


def _carry_out(
    planned: Plan,
    upscaler: Upscaler,
    options: Mapping[str, Any],
    report: Report,
    complain: Report,
) -> list[UpscaledFile]:
    files, results = planned.files, []
    show = progress_of("upscaling")
    finished = upscale_each(
        upscaler, files, progress=lambda done: show(round(done, 2), len(files)), **options
    )
    with contextlib.closing(finished):
        for number, (result, said) in enumerate(finished, start=1):
            results.append(result)
            say = complain if result.error else report
            say(printable(f"[{number}/{len(files)}] {result.source}: {said}"))
    _sum_up(results, planned, report, complain)
    return results


def _ending(format: str | None) -> str | None:
    """Returns a format as the suffix of its files; "same" and None stay."""
    if format is None:
        return None
    name = format.lower().removeprefix(".")
    if name in ("same", "auto"):  # as Real-ESRGAN calls it
        return "same"
    if f".{name}" not in WRITTEN:
        known = ", ".join(suffix[1:] for suffix in WRITTEN)
        raise ValueError(f"format is {format!r}; it must be one of {known}, or same")
    return f".{name}"


def _checked_suffix(suffix: str) -> str:
    if any(character in suffix for character in ("/", "\0", os.sep)):
        raise ValueError(f"suffix is {suffix!r}; it is a part of a file's name, without slashes")
    return suffix


def _sum_up(
    results: Sequence[UpscaledFile], planned: Plan, report: Report, complain: Report
) -> None:
    """Says at the end how many were upscaled, failed, and were skipped, and of what kind."""
    left_out = []
    if number := len(planned.existing):
        left_out.append(f"{number} whose result{'s exist' if number > 1 else ' exists'}")
    if number := len(planned.results):
        what = "results" if number > 1 else "result"
        left_out.append(f"{number} {what} of earlier runs (to have one, name the file itself)")
    left_out += skipped(planned.listings)
    failed = [printable(result.source) for result in results if result.error]
    if not left_out and len(results) == 1:
        return
    parts = [f"{len(results) - len(failed)} of {len(results)} upscaled"]
    if failed:
        more = [f"and {len(failed) - _MOST_NAMED} more"] if len(failed) > _MOST_NAMED else []
        parts.append(f"{len(failed)} failed: {', '.join(failed[:_MOST_NAMED] + more)}")
    if left_out:
        parts.append(f"skipped: {', '.join(left_out)}")
    (complain if failed else report)("; ".join(parts))
