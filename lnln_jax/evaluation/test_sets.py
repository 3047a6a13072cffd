"""Folders and .zip files of test images, in the layouts of `lnln_jax.data.layouts`.

The folder to give is the one above `HR/`, `DIV2K_valid_HR/` or `image_SRF_2/`, or one of these; or
that of a dataset of `lnln prepare`, for its validation images.
"""

import collections
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.image_sets import ImageSet, may_hold_images, open_image_set
from lnln_jax.data.layout_folders import AUTO, MADE, Found, find_images_of
from lnln_jax.data.records import RecordSource, default_data_dir, find_dataset
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import to_rgb
from lnln_jax.images.resize import Border, imresize
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.numbers import whole

_MAKE_LR = 'lr="imresize" (lnln evaluate --lr imresize)'


class BenchmarkImage(NamedTuple):
    """One image of a benchmark: uint8 RGB, HR cropped to a multiple of the scale."""

    name: str
    lr: np.ndarray  # h w 3
    hr: np.ndarray  # h*scale w*scale 3
    gray: bool  # whether the HR file stores one channel; its three are equal here
    full_size: tuple[int, int] | None = None  # height and width of the HR file, where it is known


class ImageFiles(NamedTuple):
    """Which files are one image of a benchmark; without an LR file, `imresize` makes it."""

    name: str
    hr: str
    lr: str | None


@dataclass(frozen=True)
class Benchmark:
    """A folder of test images; iterating reads them one after the other.

    Attributes:
      name: name of the folder, such as "Set5".
      scale: scale of the LR images.
      folder: folder of the HR images, or the .zip file.
      files: files of its images, sorted; HR below `root`, LR below `lr_root`.
      root: folder or .zip file.
      lr_root: folder or .zip file.
      lr_folder: folder of the LR files, as seen from the benchmark; empty without LR files.
      held: images that are in memory, if they are.
      degradation: degradation by which LR images are made, where there are no LR files.
    """

    name: str
    scale: int
    folder: Path
    files: tuple[ImageFiles, ...]
    root: Path
    lr_root: Path
    lr_folder: str = ""
    held: tuple[BenchmarkImage, ...] = ()
    degradation: Degradation = BICUBIC

    def lr_origin(self, border: Border = "symmetric") -> str:
        """Says where the LR images come from."""
        if self.lr_folder:
            return f"files in {self.lr_folder}"
        if self.degradation != BICUBIC:
            return f"made from HR by {self.degradation.label}"
        return f"made from HR by imresize ({border} border)"

    def images(self, border: Border = "symmetric") -> Iterator[BenchmarkImage]:
        """Reads image after image.

        Args:
          border: border for `imresize`, where it makes the LR images.

        Raises:
          ValueError: a file that is not an image, an HR image smaller than the scale, or an LR file
            of the wrong size.
        """
        if self.held and (self.lr_folder or border == "symmetric"):
            yield from self.held
            return
        with open_image_set(self.root) as hr, open_image_set(self.lr_root) as lr:
            for files in self.files:
                yield self._read(files, border, hr, lr)

    def image(self, name: str) -> BenchmarkImage:
        """Reads one image.

        Raises:
          ValueError: there is none of this name, or as `images` raises it.
        """
        for held in self.held:
            if held.name == name:
                return held
        for files in self.files:
            if files.name == name:
                only = replace(self, files=(files,), held=())
                return next(iter([*only]))
        raise ValueError(f"{self.name} has no image {name!r}; it has {', '.join(self.names)}")

    @property
    def names(self) -> list[str]:
        """Names of its images, in order."""
        return [files.name for files in self.files]

    def in_memory(self) -> "Benchmark":
        """Returns the same, read once and for all.

        Raises:
          ValueError: as `images` raises it.
        """
        return replace(self, held=tuple(self))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[BenchmarkImage]:
        return self.images()

    def _read(
        self, files: ImageFiles, border: Border, hr_files: ImageSet, lr_files: ImageSet
    ) -> BenchmarkImage:
        scale = self.scale
        photo = hr_files.photo(files.hr)
        full_size = height, width = photo.samples.shape[:2]
        if min(full_size) < scale:
            raise ValueError(
                f"{printable(self.root / files.hr)} is {width}x{height} pixels, too small for "
                f"x{scale}"
            )
        hr = modcrop(to_rgb(photo), scale)
        if files.lr is None:
            if self.degradation == BICUBIC:
                made = imresize(hr, 1 / scale, border=border)
            else:
                made = degrade(np.ascontiguousarray(hr), scale, self.degradation)
            return BenchmarkImage(files.name, made, hr, photo.gray, full_size)
        lr = lr_files.read(files.lr)
        height, width = (size // scale for size in hr.shape[:2])
        if lr.shape[:2] != (height, width):
            raise ValueError(
                f"{printable(self.lr_root / files.lr)} is {lr.shape[1]}x{lr.shape[0]} pixels, but "
                f"x{scale} of {printable(Path(files.hr).name)} needs {width}x{height}; mend it, or "
                f"have LR made from HR: {_MAKE_LR}"
            )
        return BenchmarkImage(files.name, lr, hr, photo.gray, full_size)


def open_benchmark(
    folder: str | Path,
    scale: int,
    *,
    lr: str | Path = AUTO,
    degradation: Degradation = BICUBIC,
    first: int | None = None,
) -> Benchmark:
    """Finds the images of a benchmark.

    What is left out is told by a warning, and so are folders of LR images that are not used while
    LR images have to be made.

    Args:
      folder: folder or .zip file in one of the layouts above, or a dataset, as `find_dataset` finds
        it by its path or, in `default_data_dir`, its name.
      scale: scale of the LR images.
      lr: "auto" takes LR files where there are any of this scale; "imresize" takes none; else a
        folder or .zip file of LR images, of whatever degradation.
      degradation: how LR images are made; if other than bicubic, of all images that `lr` gives
        none for.
      first: number of images to take, from the first on; None for all.

    Raises:
      ValueError: no such folder, no images in it, two of one name, several folders of HR images, or
        LR files missing for some.
    """
    scale = whole("scale", scale, least=1)
    first = None if first is None else whole("first", first, least=1)
    place = default_data_dir()
    if dataset := find_dataset(os.fspath(folder), scale, place):
        if lr not in (AUTO, MADE):
            raise ValueError(
                f"lr is {printable(lr)}, but {printable(folder)} is a dataset, which has LR images "
                "of its own; leave lr out (--lr)"
            )
        return _from_records(dataset, scale, degradation, first)
    folder = Path(os.path.abspath(folder))  # a link keeps its name, unlike with resolve()
    if not may_hold_images(folder):
        raise ValueError(
            f"there is no folder or .zip file {printable(folder)}, nor a dataset of this name in "
            f"{printable(place)}; give one that holds HR images"
        )
    taken = None if lr == AUTO and degradation != BICUBIC else lr  # None: none, which is told
    with find_images_of(folder, scale, purpose="evaluation", lr=taken) as found:
        files = _files(found, first)
    return Benchmark(
        printable(found.name),
        scale,
        found.hr_folder,
        files,
        found.images.root,
        found.lr_images.root,
        found.lr_folder,
        degradation=degradation,
    )


def _files(found: Found, first: int | None) -> tuple[ImageFiles, ...]:
    """Returns the files of the images under names that tell them apart.

    Raises:
      ValueError: there are several of one name, or LR files are missing for some.
    """
    layout = found.layout
    names = [printable(title) for title in layout.titles]
    if twice := sorted(name for name, times in collections.Counter(names).items() if times > 1):
        raise ValueError(
            f"{printable(found.hr_folder)} has several images of one name: {', '.join(twice)}; "
            "rename them"
        )
    files = [
        ImageFiles(name, hr, layout.lr.get(hr)) for name, hr in zip(names, layout.hr, strict=True)
    ][:first]
    missing = [each.name for each in files if each.hr in layout.missing]
    if missing:
        raise ValueError(
            f"of the images in {printable(found.hr_folder)}, {found.lr_folder} has no LR image for "
            f"{', '.join(missing)}; add them, move that folder away, or have all made from HR: "
            f"{_MAKE_LR}"
        )
    return tuple(files)


def _from_records(
    folder: Path, scale: int, degradation: Degradation, first: int | None
) -> Benchmark:
    """Returns the validation images of a dataset, in memory."""
    source = RecordSource(folder, scale=scale, split="validation", cache_bytes=0)
    if source.degradation != degradation:
        raise ValueError(
            f"the LR images of {folder} are {source.degradation.label}, not {degradation.label}; "
            "give a folder of HR images, or a dataset that was built so"
        )
    held = []
    for i in range(len(source))[:first]:
        lr, hr = source[i]
        gray = bool((hr[..., :1] == hr).all())
        held.append(BenchmarkImage(Path(source.image_name(i)).stem, lr, hr, gray))
    files = tuple(ImageFiles(image.name, image.name, None) for image in held)
    return Benchmark(source.name, scale, folder, files, folder, folder, "the dataset", tuple(held))
