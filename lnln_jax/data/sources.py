"""Where training pairs come from: folders of images, and synthetic images.

A pair is (lr, hr), two RGB images: uint8 `H W 3` and uint8 `H*scale W*scale 3`. A source holds all
its pairs decoded in memory, each LR image made once, so that taking a patch costs one array slice.
That is about 4 bytes per HR pixel: 0.2 GB for BSDS400, 9 GB for the 800 images of DIV2K.
"""

import concurrent.futures
import itertools
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from lnln_jax.data.dead_leaves import dead_leaves
from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.shared_memory import SharedMemory
from lnln_jax.image import modcrop
from lnln_jax.image_files import ImageFileError, find_images, read_rgb

Pair = tuple[np.ndarray, np.ndarray]
Progress = Callable[[int, int], None]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_MAX_LISTED = 20
_sharing = threading.Lock()
_logger = logging.getLogger(__name__)


class PairSource:
    """The (lr, hr) pairs of one origin, in memory: `len`, an index, iteration.

    Attributes:
      name: what to call the source in logs and errors.
      scale: HR size / LR size.
      skipped: the image files left out, with the reason for each.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        *,
        name: str,
        scale: int,
        skipped: Sequence[tuple[Path, str]] = (),
    ) -> None:
        """Takes the pairs as they are.

        Args:
          pairs: LR images, uint8 `H W 3`, and HR images, uint8 `H*scale W*scale 3`.
          name: see the class.
          scale: see the class.
          skipped: see the class.

        Raises:
          ValueError: a pair does not have these shapes and dtypes.
        """
        self._pairs = list(pairs)
        self._shared: Any = None
        self.name = name
        self.scale = scale
        self.skipped = list(skipped)
        for index, (lr, hr) in enumerate(self._pairs):
            shape = (lr.shape[0] * scale, lr.shape[1] * scale, 3)
            if lr.shape[2:] != (3,) or hr.shape != shape or not lr.dtype == hr.dtype == np.uint8:
                raise ValueError(
                    f"pair {index} of source {name!r} must be uint8 (H, W, 3) and uint8 "
                    f"(H*{scale}, W*{scale}, 3), got {lr.dtype} {lr.shape} and {hr.dtype} "
                    f"{hr.shape}"
                )

    @property
    def smallest(self) -> int:
        """The shortest LR side of a pair; 0 where there is none."""
        return min((min(lr.shape[:2]) for lr, _ in self._pairs), default=0)

    @property
    def largest(self) -> tuple[int, int]:
        """The longest LR height and width."""
        shapes = [lr.shape for lr, _ in self._pairs]
        return max(height for height, _, _ in shapes), max(width for _, width, _ in shapes)

    @property
    def identity(self) -> str:
        """Changes with any pixel, or the order, of the images: their CRC-32."""
        crc = 0
        for image in itertools.chain.from_iterable(self._pairs):
            crc = zlib.crc32(repr(image.shape).encode(), crc)
            crc = zlib.crc32(np.ascontiguousarray(image).data, crc)
        return f"{crc:08x}"

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes: the pixels move to memory that they share."""
        with _sharing:  # Grain starts several workers at the same time
            if self._shared is None:
                self._share()
        shapes = [lr.shape for lr, _ in self._pairs]
        return self.__dict__ | {"_pairs": shapes}

    def _share(self) -> None:
        images = list(itertools.chain.from_iterable(self._pairs))
        memory = SharedMemory(sum(image.size for image in images))
        start, shared = 0, []
        for image in images:
            shared.append(memory.array(start, image.shape))
            shared[-1][:] = image
            start += image.size
        self._pairs = list(zip(shared[::2], shared[1::2], strict=True))
        self._shared = memory

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        start, pairs = 0, []
        for height, width, channels in state["_pairs"]:
            lr = self._shared.array(start, (height, width, channels))
            shape = (self.scale * height, self.scale * width, channels)
            hr = self._shared.array(start + lr.size, shape)
            pairs.append((lr, hr))
            start += lr.size + hr.size
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        return self._pairs[index]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __repr__(self) -> str:
        return f"PairSource(name={self.name!r}, scale={self.scale}, {len(self)} pairs)"


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

    loaded = _map_in_threads(load, paths, progress)
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


def dead_leaves_pairs(
    count: int,
    *,
    size: int | tuple[int, int],
    scale: int,
    seed: int,
    degradation: Degradation = BICUBIC,
    progress: Progress | None = None,
) -> PairSource:
    """Draws synthetic images, so that training needs no files.

    Args:
      count: number of images, at least 1. The first ones stay the same when it grows.
      size: side of the HR images, or (height, width); cropped to a multiple of `scale`.
      scale: the factor, at least 1 and at most the shorter side.
      seed: at least 0.
      degradation: how LR images are made.
      progress: called with (images done, `count`) after each image.

    Returns:
      The source, "dead leaves" by name.

    Raises:
      ValueError: an argument is out of its range.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")

    def draw(index: int) -> Pair:
        hr = dead_leaves(np.random.default_rng([seed, index]), size)
        hr = np.ascontiguousarray(modcrop(hr, scale))
        return degrade(hr, scale, degradation), hr

    pairs = _map_in_threads(draw, range(count), progress)
    return PairSource(pairs, name="dead leaves", scale=scale)


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


def _map_in_threads(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], progress: Progress | None
) -> list[ResultT]:
    """Applies a function to all items, several at a time; results in the order of the items."""
    results = []
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for result in pool.map(function, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    return results
