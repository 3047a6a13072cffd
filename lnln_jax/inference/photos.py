"""Upscaling of image files and folders of them, for `lnln upscale`."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from lnln_jax.images.files import IMAGE_SUFFIXES, ImageFileError
from lnln_jax.images.listing import find_images
from lnln_jax.inference.photo_pipeline import UpscaledFile, upscale_each
from lnln_jax.inference.upscaler import Upscaler
from lnln_jax.runtime.files import make_folder

FORMATS = ("png", "jpg", "webp", "tiff", "same")


def upscale_files(
    upscaler: Upscaler,
    inputs: Sequence[Path],
    output: Path,
    *,
    self_ensemble: bool = False,
    tile: int | Literal["auto"] | None = "auto",
    overwrite: bool = False,
    format: str = "png",
    report: Callable[[str], object] = print,
) -> list[UpscaledFile]:
    """Upscales files, keeping alpha, gray, 16 bits, colour profile and EXIF.

    `photo.jpg` becomes `output/photo_x2.png`; below an input folder the sub-folders are kept. What
    an earlier run left among the files of an input folder is not upscaled again: files in the
    output folder, and files that carry the name of another one's result. A file that fails does
    not stop the others.

    Args:
      upscaler: network or bicubic. Alpha is always upscaled by bicubic interpolation.
      inputs: image files and folders; folders are searched with `find_images`.
      output: folder to write to; made if missing.
      self_ensemble: as for `Upscaler.upscale`.
      tile: side of the tiles in LR pixels, which are of one shape for photos of all sizes; None
        takes images whole; "auto" chooses.
      overwrite: whether to replace files; otherwise each that exists is an error, found before
        computing.
      format: "png", "jpg", "webp" or "tiff"; "same" keeps the format of the input.
      report: function called with one line for each file.

    Returns:
      One entry for each file, in order. The run failed if any has an `error`.

    Raises:
      ValueError: `format` or `tile` is out of its range.
      ImageFileError: `output` is not a folder, or nothing can be written there.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if isinstance(tile, str) and tile != "auto":
        raise ValueError(f'tile must be a number of pixels, "auto" or None, got {tile!r}')
    if isinstance(tile, int) and tile < 2:
        raise ValueError(f"tile must be at least 2, got {tile}")
    output = Path(output)
    _make_output(output)

    planned = _plan([Path(path) for path in inputs], output, upscaler.scale, format)
    results = []
    finished = upscale_each(
        upscaler, planned, self_ensemble=self_ensemble, tile=tile, overwrite=overwrite
    )
    with contextlib.closing(finished):
        for number, (result, said) in enumerate(finished, start=1):
            results.append(result)
            report(f"[{number}/{len(planned)}] {result.source}: {said}")
    return results


def _make_output(output: Path) -> None:
    try:
        make_folder(output)
    except OSError as error:
        reason = "it is not a folder" if output.exists() and not output.is_dir() else error.strerror
        raise ImageFileError(f"{output}: cannot write to the output folder: {reason}") from error


def _plan(inputs: list[Path], output: Path, scale: int, format: str) -> list[UpscaledFile]:
    """Lists each file once with its target, and with an error where there can be none."""
    found: list[UpscaledFile] = []
    for given in inputs:
        if not given.is_dir():
            found.append(UpscaledFile(given, _target(given, given.parent, output, scale, format)))
            continue
        try:
            paths = _images_in(given, output)
        except ImageFileError as error:
            reason = str(error).removeprefix(f"{given}: ")
            found.append(UpscaledFile(given, None, reason))
            continue
        targets = [_target(path, given, output, scale, format) for path in paths]
        results = {_real(target) for target in targets}  # left by an earlier run, or not yet there
        pairs = zip(paths, targets, strict=True)
        found += [UpscaledFile(*pair) for pair in pairs if _real(pair[0]) not in results]

    sources = {_real(file.source) for file in found}
    planned: list[UpscaledFile] = []
    source_of: dict[Path, Path] = {}  # target -> source
    for file in found:
        if file.target is None:
            planned.append(file)
            continue
        source, target, problem = _real(file.source), _real(file.target), None
        if source_of.get(target) == source:
            continue  # the same file, given twice
        if target in source_of:
            problem = (
                f"{file.target} is already the result of {source_of[target]}; rename one of them, "
                'or choose format "same" if their formats differ'
            )
        elif target in sources:
            problem = f"{file.target} is itself an input; choose another output folder"
        else:
            source_of[target] = source
        planned.append(dataclasses.replace(file, error=problem))
    return planned


def _images_in(folder: Path, output: Path) -> list[Path]:
    """Lists the images of a folder without those in the output folder, if that lies inside it."""
    paths = find_images(folder)
    if _real(folder) in _real(output).parents:
        paths = [path for path in paths if _real(output) not in _real(path).parents]
    if not paths:
        raise ImageFileError(f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return paths


def _target(path: Path, root: Path, output: Path, scale: int, format: str) -> Path:
    suffix = path.suffix.lower() if format == "same" else f".{format}"
    return output / path.relative_to(root).with_name(f"{path.stem}_x{scale}{suffix}")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
