"""Folders and .zip files of images as training pairs, read into memory."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.image_sets import reason_of
from lnln_jax.data.layout_folders import AUTO, MADE, Found, find_images_of
from lnln_jax.data.pairs import Pair, PairSource, Progress, check_room, map_in_threads
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import ImageFileError
from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.numbers import whole

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
    memory: int | None = None,
    progress: Progress | None = None,
) -> PairSource:
    """Reads a folder of HR images, sub-folders included, or a .zip file of them, into memory.

    HR images are cropped to a multiple of `scale` from the bottom and the right. Where there are
    bicubic LR images for them, in a layout of `data.layouts`, these are read; otherwise `degrade`
    makes them. What was left out is told by a warning. Pairs come in the sorted order of the HR
    paths. A .zip file, which is not unpacked, gives the pairs that its folder would give.

    Args:
      root: folder or .zip file of image files.
      scale: HR size / LR size, at least 1.
      min_lr_size: side of the training patches; an image with a shorter LR side is bad.
      lr_root: folder or .zip file of LR images, of whatever degradation; "imresize" to make them
        even where there are files; None to take what there is.
      degradation: how LR images are made; other than bicubic, of all images for which `lr_root`
        gives none.
      on_bad_image: what to do about files that cannot be used because they are damaged or too
        small, or have no LR image of exactly their size / scale. "stop" raises, with a list of
        them; "skip" leaves them out, keeps them in `skipped` and logs one warning.
      memory: bytes that the pairs may take, by the headers of the files; None for any number.
      progress: function called with (files done, files in all) after each file.

    Returns:
      The source, with `root` as its name.

    Raises:
      ValueError: a folder does not exist or holds no HR images, or several that may be meant, a
        .zip file likewise or it is damaged, there are bad images and `on_bad_image` is "stop",
        every image is bad, they do not fit into `memory`, or an argument is out of its range.
    """
    scale, min_lr_size = whole("scale", scale, least=1), whole("min_lr_size", min_lr_size)
    if on_bad_image not in ("stop", "skip"):
        raise ValueError(f'on_bad_image must be "stop" or "skip", got {on_bad_image!r}')
    root = Path(root)
    lr = _which_lr(lr_root, degradation)
    with find_images_of(root, scale, purpose="training", lr=lr) as found:
        if found.lr_folder:
            say(f"{printable(root)}: LR files in {found.lr_folder}")
        names = found.layout.hr
        if memory is not None:
            check_room(printable(root), _pixels(found), scale, memory)
        load = _loader(found, scale, min_lr_size, degradation)
        loaded = map_in_threads(load, names, progress)
    pairs = [pair for pair in loaded if not isinstance(pair, str)]
    fates = zip(names, loaded, strict=True)
    bad = [(name, reason) for name, reason in fates if isinstance(reason, str)]
    if bad:
        _report_bad(bad, len(loaded), root, stop=on_bad_image == "stop")
    skipped = [(found.images.root / name, reason) for name, reason in bad]
    return PairSource(pairs, name=str(root), scale=scale, skipped=skipped)


def _which_lr(
    lr_root: str | os.PathLike[str] | None, degradation: Degradation
) -> str | Path | None:
    """Returns what `find_images_of` takes as `lr`."""
    if lr_root is None:
        return AUTO if degradation == BICUBIC else None
    return MADE if lr_root == MADE else Path(lr_root)


def _pixels(found: Found) -> int:
    """Adds the pixels of HR images, by their headers."""
    sizes = map_in_threads(found.images.size, found.layout.hr, None)
    pixels = [math.prod(size) for size in sizes if size is not None]
    most = Image.MAX_IMAGE_PIXELS or math.inf  # what claims more is not read
    return sum(number for number in pixels if number <= most)


def _loader(
    found: Found, scale: int, min_lr_size: int, degradation: Degradation
) -> Callable[[str], Pair | str]:
    """Returns a function of a name that returns the pair, or why there is none."""
    layout = found.layout

    def load(name: str) -> Pair | str:
        if name in layout.missing:
            return layout.missing[name]
        try:
            hr = found.images.read(name)
            if min(hr.shape[:2]) < max(scale, scale * min_lr_size):
                height, width = hr.shape[:2]
                return (
                    f"{width}x{height} pixels (width x height) is too small: LR patches of "
                    f"{min_lr_size}x{min_lr_size} at scale {scale} need at least "
                    f"{scale * min_lr_size}x{scale * min_lr_size}"
                )
            hr = np.ascontiguousarray(modcrop(hr, scale))
            if name not in layout.lr:
                return degrade(hr, scale, degradation), hr
            lr = found.lr_images.read(layout.lr[name])
        except ImageFileError as error:
            return reason_of(error, found.images.root / name)  # the listing begins with the name
        if lr.shape != (hr.shape[0] // scale, hr.shape[1] // scale, 3):
            return (
                f"its LR image is {lr.shape[1]}x{lr.shape[0]} pixels (width x height), but must "
                f"be {hr.shape[1] // scale}x{hr.shape[0] // scale} at scale {scale}"
            )
        return lr, hr

    return load


def _report_bad(bad: Sequence[tuple[str, str]], count: int, root: Path, *, stop: bool) -> None:
    """Warns of bad images among `count`; raises ValueError for them, or if there are no others."""
    lines = [f"  {printable(name)}: {reason}" for name, reason in bad[:_MAX_LISTED]]
    if len(bad) > _MAX_LISTED:
        lines.append(f"  ... and {len(bad) - _MAX_LISTED} more")
    listing = "\n".join(lines)
    if len(bad) == count:
        raise ValueError(f"none of the {count} images in {printable(root)} can be used:\n{listing}")
    problem = f"{len(bad)} of the {count} images in {printable(root)} cannot be used"
    if stop:
        remedies = 'Mend or remove them, or set data.on_bad_image="skip" to train without them'
        if any("LR image" in reason for _, reason in bad):
            remedies += ", or data.train_lr=imresize to have LR images made from HR"
        raise ValueError(f"{problem}:\n{listing}\n{remedies}.")
    _logger.warning("%s and were left out:\n%s", problem, listing)
