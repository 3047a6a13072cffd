"""Folders of images as training pairs, read into memory."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.sources import Pair, PairSource, Progress, map_in_threads
from lnln_jax.image import modcrop
from lnln_jax.image_files import ImageFileError, find_images, read_rgb

_MAX_LISTED = 20
_logger = logging.getLogger(__name__)


def load_folder(
    root: str | os.PathLike[str],
    *,
    scale: int,
    min_lr_size: int,
    lr_root: str | os.PathLike[str] | None = None,
    degradation: Degradation = BICUBIC,
    on_bad_image: Literal["stop", "skip"] = "stop",
    progress: Progress | None = None,
) -> PairSource:
    """Reads a folder of HR images, sub-folders included, into memory.

    HR images are cropped to a multiple of `scale` from the bottom and the right; `degrade` makes
    the LR images of them. With `lr_root` they are read from there instead: the
    file for HR image `a/0001.png` is `a/0001` or, as in DIV2K, `a/0001x<scale>`, with the suffix
    of any image format. Pairs come in the sorted order of the HR paths.

    Args:
      root: folder of PNG, JPEG, BMP, WebP or TIFF files.
      scale: the factor, at least 1.
      min_lr_size: an image with a shorter LR side is bad; the side of the training patches.
      lr_root: folder of LR images.
      degradation: how LR images are made, where there is no `lr_root`.
      on_bad_image: what to do about files that cannot be used because they are damaged or too
        small, or have no LR image of exactly their size / scale. "stop" raises, with a list of
        them; "skip" leaves them out, keeps them in `skipped` and logs one warning.
      progress: called with (files done, files in all) after each file.

    Returns:
      The source, with `root` as its name.

    Raises:
      ValueError: a folder does not exist or holds no images, there are bad images and
        `on_bad_image` is "stop", every image is bad, or an argument is out of its range.
    """
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    if on_bad_image not in ("stop", "skip"):
        raise ValueError(f'on_bad_image must be "stop" or "skip", got {on_bad_image!r}')
    root = Path(root)
    paths = _images_in(root)
    lr_paths = None if lr_root is None else _by_stem(Path(lr_root))

    def load(path: Path) -> Pair | str:
        """Returns the pair, or why there is none."""
        try:
            hr = read_rgb(path)
            if min(hr.shape[:2]) < max(scale, scale * min_lr_size):
                height, width = hr.shape[:2]
                return (
                    f"{width}x{height} pixels (width x height) is too small: LR patches of "
                    f"{min_lr_size}x{min_lr_size} at scale {scale} need at least "
                    f"{scale * min_lr_size}x{scale * min_lr_size}"
                )
            hr = np.ascontiguousarray(modcrop(hr, scale))
            if lr_paths is None:
                return degrade(hr, scale, degradation), hr
            lr = read_rgb(_matching_lr(path.relative_to(root), lr_paths, scale))
        except ImageFileError as error:
            return str(error).removeprefix(f"{path}: ")  # the listing begins with it
        if lr.shape != (hr.shape[0] // scale, hr.shape[1] // scale, 3):
            return (
                f"its LR image is {lr.shape[1]}x{lr.shape[0]} pixels (width x height), but must "
                f"be {hr.shape[1] // scale}x{hr.shape[0] // scale} at scale {scale}"
            )
        return lr, hr

    loaded = map_in_threads(load, paths, progress)
    pairs = [pair for pair in loaded if not isinstance(pair, str)]
    bad = [
        (path, reason)
        for path, reason in zip(paths, loaded, strict=True)
        if isinstance(reason, str)
    ]
    if bad:
        listing = _list_bad(root, bad)
        if not pairs:
            raise ValueError(f"none of the {len(paths)} images in {root} can be used:\n{listing}")
        problem = f"{len(bad)} of the {len(paths)} images in {root} cannot be used"
        if on_bad_image == "stop":
            raise ValueError(
                f"{problem}:\n{listing}\n"
                'Mend or remove them, or set data.on_bad_image="skip" to train without them.'
            )
        _logger.warning("%s and were left out:\n%s", problem, listing)
    return PairSource(pairs, name=str(root), scale=scale, skipped=bad)


def _images_in(root: Path) -> list[Path]:
    """Returns the image files of a folder, sorted; there is at least one."""
    paths = find_images(root)
    if not paths:
        raise ValueError(
            f"{root}: no images in this folder or its sub-folders; expected PNG, JPEG, BMP, WebP "
            "or TIFF files"
        )
    return paths


def _by_stem(lr_root: Path) -> dict[Path, list[Path]]:
    """Returns the image files of a folder by their relative paths without suffix."""
    by_stem: dict[Path, list[Path]] = {}
    for path in _images_in(lr_root):
        by_stem.setdefault(path.relative_to(lr_root).with_suffix(""), []).append(path)
    return by_stem


def _matching_lr(path: Path, lr_paths: dict[Path, list[Path]], scale: int) -> Path:
    """Returns the LR file for the HR file with this relative path."""
    stem = path.with_suffix("")
    names = (stem, stem.with_name(f"{stem.name}x{scale}"))
    found = [lr_path for name in names for lr_path in lr_paths.get(name, [])]
    if not found:
        raise ImageFileError(f"no LR image named {names[0]} or {names[1]} in the LR folder")
    # x.png and x.jpg may both be there, in both folders: then each belongs to its namesake.
    found = [lr_path for lr_path in found if lr_path.suffix == path.suffix] or found
    if len(found) > 1:
        raise ImageFileError(f"several LR images: {', '.join(str(lr_path) for lr_path in found)}")
    return found[0]


def _list_bad(root: Path, bad: Sequence[tuple[Path, str]]) -> str:
    lines = [f"  {path.relative_to(root)}: {reason}" for path, reason in bad[:_MAX_LISTED]]
    if len(bad) > _MAX_LISTED:
        lines.append(f"  ... and {len(bad) - _MAX_LISTED} more")
    return "\n".join(lines)
