"""Upscales image files and folders of them: what `lnln upscale` does."""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from lnln_jax.files import make_folder
from lnln_jax.image import to_uint8
from lnln_jax.image_files import (
    IMAGE_SUFFIXES,
    ImageFileError,
    Photo,
    check_writable,
    find_images,
    read_photo,
    write_photo,
)
from lnln_jax.inference import Resolver
from lnln_jax.resize import imresize

FORMATS = ("png", "jpg", "webp", "tiff", "same")

# A non-local module compares all pixel pairs of a region: its cost is quadratic in the pixels.
_WHOLE_PIXELS = 320 * 320
_AUTO_TILE = 256
_OVERLAP = 32


@dataclasses.dataclass(frozen=True)
class UpscaledFile:
    """What became of one input.

    Attributes:
      source: the file; or the folder, where that could not be listed or holds no images.
      target: the file that was to be written; None for a folder.
      error: why it was not written; None for success.
    """

    source: Path
    target: Path | None
    error: str | None = None


def upscale_files(
    resolver: Resolver,
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
      resolver: network or bicubic. Alpha is always enlarged by bicubic interpolation.
      inputs: image files and folders; folders are searched with `find_images`.
      output: folder to write to; made if missing.
      self_ensemble: see `Resolver.upscale`.
      tile: side of the tiles in LR pixels; None takes images whole; "auto" takes images of up to
        320 * 320 pixels whole and larger ones in tiles of 256.
      overwrite: replace files that exist; otherwise each is an error, found before computing.
      format: "png", "jpg", "webp" or "tiff"; "same" keeps the format of the input.
      report: called with one line for each file.

    Returns:
      One entry for each file, in order. The run failed if any has an `error`.

    Raises:
      ValueError: `format` or `tile` is out of its range.
      ImageFileError: `output` is no folder, or nothing can be written there.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if isinstance(tile, str) and tile != "auto":
        raise ValueError(f'tile must be a number of pixels, "auto" or None, got {tile!r}')
    if isinstance(tile, int) and tile < 2:
        raise ValueError(f"tile must be at least 2, got {tile}")
    output = Path(output)
    _make_output(output)

    results = []
    planned = _plan([Path(path) for path in inputs], output, resolver.scale, format)
    for number, entry in enumerate(planned, start=1):
        source, target, error = entry.source, entry.target, entry.error
        if target is not None and error is None:
            try:
                line = _upscale_file(resolver, source, target, self_ensemble, tile, overwrite)
            except (ValueError, OSError, MemoryError, jax.errors.JaxRuntimeError) as failure:
                error = _reason(failure, source)
        results.append(UpscaledFile(source, target, error))
        report(f"[{number}/{len(planned)}] {source}: {f'error: {error}' if error else line}")
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
            found.append(UpscaledFile(given, None, _reason(error, given)))
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


def _upscale_file(
    resolver: Resolver,
    source: Path,
    target: Path,
    self_ensemble: bool,
    tile: int | Literal["auto"] | None,
    overwrite: bool,
) -> str:
    """Does one file and returns what to say about it."""
    start = time.perf_counter()
    if target.is_dir():
        raise ImageFileError(f"{target} is a folder; move it away or choose another output folder")
    if target.exists() and not overwrite:
        raise ImageFileError(f"{target} exists; allow overwriting or choose another output folder")
    photo = read_photo(source)
    height, width = photo.pixels.shape[:2]
    scale = resolver.scale
    check_writable(target, height * scale, width * scale, alpha=photo.alpha is not None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"{target.parent}: cannot be made: {error.strerror}") from error

    if tile == "auto":
        tile = _AUTO_TILE if height * width > _WHOLE_PIXELS else None
    if not resolver.uses_tiles or tile is None or (height <= tile and width <= tile):
        tile = None
    write_photo(_upscale_photo(resolver, photo, self_ensemble, tile), target)

    sizes = f"{width}x{height} -> {target} {width * scale}x{height * scale}"
    tiles = f", tiles of {tile}" if tile else ""
    return f"{sizes}{tiles}, {time.perf_counter() - start:.1f} s"


def _upscale_photo(
    resolver: Resolver, photo: Photo, self_ensemble: bool, tile: int | None
) -> Photo:
    pixels = photo.pixels[..., :1] if photo.gray else photo.pixels
    overlap = _OVERLAP if tile is None else min(_OVERLAP, tile // 2)
    if photo.bit_depth == 8:  # with the rounding of the evaluation
        lr = to_uint8(pixels)
        sr = resolver.upscale(lr, self_ensemble, tile, overlap).astype(np.float32)
    else:
        sr = resolver.upscale_float(pixels, self_ensemble, tile, overlap).clip(0, 255)
    alpha = photo.alpha
    if alpha is not None:
        alpha = imresize(alpha, resolver.scale).clip(0, 255)
    return dataclasses.replace(photo, pixels=np.broadcast_to(sr, (*sr.shape[:2], 3)), alpha=alpha)


def _reason(error: Exception, source: Path) -> str:
    """Returns the message for one file, without its name in front."""
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return "not enough memory; use tiles, or smaller ones"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, ValueError):
        return str(error).removeprefix(f"{source}: ")
    raise error
