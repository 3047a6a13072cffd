"""Folders and .zip files of images as training pairs, read into memory."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.image_sets import ImageSet, open_images
from lnln_jax.data.pairs import Pair, PairSource, Progress, map_in_threads
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import ImageFileError

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
    """Reads a folder of HR images, sub-folders included, or a .zip file of them, into memory.

    HR images are cropped to a multiple of `scale` from the bottom and the right; `degrade` makes
    the LR images of them. With `lr_root` they are read from there instead: the file for HR image
    `a/0001.png` is `a/0001` or, as in DIV2K, `a/0001x<scale>`, with the suffix of any image format.
    Pairs come in the sorted order of the HR paths. A .zip file, which is not unpacked, gives the
    pairs that its folder would give.

    Args:
      root: folder or .zip file of PNG, JPEG, BMP, WebP or TIFF files.
      scale: HR size / LR size, at least 1.
      min_lr_size: side of the training patches; an image with a shorter LR side is bad.
      lr_root: folder or .zip file of LR images.
      degradation: how LR images are made, where there is no `lr_root`.
      on_bad_image: what to do about files that cannot be used because they are damaged or too
        small, or have no LR image of exactly their size / scale. "stop" raises, with a list of
        them; "skip" leaves them out, keeps them in `skipped` and logs one warning.
      progress: function called with (files done, files in all) after each file.

    Returns:
      The source, with `root` as its name.

    Raises:
      ValueError: a folder does not exist or holds no images, a .zip file likewise or it is
        damaged, there are bad images and `on_bad_image` is "stop", every image is bad, or an
        argument is out of its range.
    """
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    if on_bad_image not in ("stop", "skip"):
        raise ValueError(f'on_bad_image must be "stop" or "skip", got {on_bad_image!r}')
    root = Path(root)
    with ExitStack() as stack:
        images = stack.enter_context(open_images(root))
        lr_images = None if lr_root is None else stack.enter_context(open_images(Path(lr_root)))
        load = _loader(images, lr_images, scale, min_lr_size, degradation)
        loaded = map_in_threads(load, images.names, progress)
    pairs = [pair for pair in loaded if not isinstance(pair, str)]
    bad = [
        (name, reason)
        for name, reason in zip(images.names, loaded, strict=True)
        if isinstance(reason, str)
    ]
    if bad:
        _report_bad(bad, len(loaded), root, stop=on_bad_image == "stop")
    skipped = [(root / name, reason) for name, reason in bad]
    return PairSource(pairs, name=str(root), scale=scale, skipped=skipped)


def _loader(
    images: ImageSet,
    lr_images: ImageSet | None,
    scale: int,
    min_lr_size: int,
    degradation: Degradation,
) -> Callable[[str], Pair | str]:
    """Returns a function of a name that returns the pair, or why there is none."""
    by_stem = None if lr_images is None else _by_stem(lr_images.names)

    def load(name: str) -> Pair | str:
        try:
            hr = images.read(name)
            if min(hr.shape[:2]) < max(scale, scale * min_lr_size):
                height, width = hr.shape[:2]
                return (
                    f"{width}x{height} pixels (width x height) is too small: LR patches of "
                    f"{min_lr_size}x{min_lr_size} at scale {scale} need at least "
                    f"{scale * min_lr_size}x{scale * min_lr_size}"
                )
            hr = np.ascontiguousarray(modcrop(hr, scale))
            if lr_images is None or by_stem is None:
                return degrade(hr, scale, degradation), hr
            lr = lr_images.read(_matching_lr(PurePosixPath(name), by_stem, scale))
        except ImageFileError as error:
            return str(error).removeprefix(f"{images.root / name}: ")  # the listing begins with it
        if lr.shape != (hr.shape[0] // scale, hr.shape[1] // scale, 3):
            return (
                f"its LR image is {lr.shape[1]}x{lr.shape[0]} pixels (width x height), but must "
                f"be {hr.shape[1] // scale}x{hr.shape[0] // scale} at scale {scale}"
            )
        return lr, hr

    return load


def _by_stem(names: Sequence[str]) -> dict[PurePosixPath, list[str]]:
    """Returns names of image files by their paths without suffix."""
    by_stem: dict[PurePosixPath, list[str]] = {}
    for name in names:
        by_stem.setdefault(PurePosixPath(name).with_suffix(""), []).append(name)
    return by_stem


def _matching_lr(path: PurePosixPath, by_stem: dict[PurePosixPath, list[str]], scale: int) -> str:
    """Returns the name of the LR file for the HR file with this path."""
    stem = path.with_suffix("")
    stems = (stem, stem.with_name(f"{stem.name}x{scale}"))
    found = [name for stem in stems for name in by_stem.get(stem, [])]
    if not found:
        raise ImageFileError(f"no LR image named {stems[0]} or {stems[1]} in the LR folder")
    # x.png and x.jpg may both be there, in both folders: then each belongs to its namesake.
    found = [name for name in found if PurePosixPath(name).suffix == path.suffix] or found
    if len(found) > 1:
        raise ImageFileError(f"several LR images: {', '.join(found)}")
    return found[0]


def _report_bad(bad: Sequence[tuple[str, str]], count: int, root: Path, *, stop: bool) -> None:
    """Warns of bad images among `count`; raises ValueError for them, or if there are no others."""
    lines = [f"  {name}: {reason}" for name, reason in bad[:_MAX_LISTED]]
    if len(bad) > _MAX_LISTED:
        lines.append(f"  ... and {len(bad) - _MAX_LISTED} more")
    listing = "\n".join(lines)
    if len(bad) == count:
        raise ValueError(f"none of the {count} images in {root} can be used:\n{listing}")
    problem = f"{len(bad)} of the {count} images in {root} cannot be used"
    if stop:
        raise ValueError(
            f"{problem}:\n{listing}\n"
            'Mend or remove them, or set data.on_bad_image="skip" to train without them.'
        )
    _logger.warning("%s and were left out:\n%s", problem, listing)
