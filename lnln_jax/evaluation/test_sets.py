"""Folders of test images, in the layouts in which benchmarks are handed around.

    Set5/HR/baby.png              Set5/LRx2/baby.png
    Set5/HR/baby.png              Set5/LR_bicubic/X2/babyx2.png (or babyX2.png)
    DIV2K_valid_HR/0801.png       DIV2K_valid_LR_bicubic/X2/0801x2.png
    Set5/image_SRF_2/img_001_SRF_2_HR.png, Set5/image_SRF_2/img_001_SRF_2_LR.png

or HR images alone, of which `degrade` then makes the LR images. The folder to give is the one
above `HR/`, `DIV2K_valid_HR/` or `image_SRF_2/`, or one of these; or that of a dataset of
`lnln prepare`, for its validation images.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lnln_jax.data.degradations import BICUBIC, Degradation, degrade
from lnln_jax.data.records import RecordSource, find_dataset
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import read_photo, read_rgb, to_rgb
from lnln_jax.images.listing import find_images
from lnln_jax.images.resize import Border, imresize

_LR_FOLDER = re.compile(r"(^|_)LR(_|x|$)")  # such as LRx2 and DIV2K_valid_LR_unknown
_MAKE_LR = 'lr="imresize" (--lr imresize)'


class BenchmarkImage(NamedTuple):
    """One image of a benchmark: uint8 RGB, HR cropped to a multiple of the scale."""

    name: str
    lr: np.ndarray  # h w 3
    hr: np.ndarray  # h*scale w*scale 3
    gray: bool  # whether the HR file stores one channel; its three are equal here


class ImageFiles(NamedTuple):
    """Where one image of a benchmark lies; without an LR file, `imresize` makes it."""

    name: str
    hr: Path
    lr: Path | None


@dataclass(frozen=True)
class Benchmark:
    """A folder of test images; iterating reads them one after the other.

    Attributes:
      name: name of the folder, such as "Set5".
      scale: scale of the LR images.
      folder: folder that was searched for HR images.
      files: files of its images, sorted.
      lr_folder: folder of the LR files, as seen from the benchmark; empty without LR files.
      held: images that are in memory, if they are.
      degradation: degradation by which LR images are made, where there are no LR files.
    """

    name: str
    scale: int
    folder: Path
    files: tuple[ImageFiles, ...]
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
        for files in self.files:
            yield self._read(files, border)

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
                return self._read(files, "symmetric")
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

    def _read(self, files: ImageFiles, border: Border) -> BenchmarkImage:
        scale = self.scale
        photo = read_photo(files.hr)
        height, width = photo.samples.shape[:2]
        if min(height, width) < scale:
            raise ValueError(f"{files.hr} is {width}x{height} pixels, too small for x{scale}")
        hr = modcrop(to_rgb(photo), scale)
        if files.lr is None:
            if self.degradation == BICUBIC:
                made = imresize(hr, 1 / scale, border=border)
            else:
                made = degrade(np.ascontiguousarray(hr), scale, self.degradation)
            return BenchmarkImage(files.name, made, hr, photo.gray)
        lr = read_rgb(files.lr)
        height, width = (size // scale for size in hr.shape[:2])
        if lr.shape[:2] != (height, width):
            raise ValueError(
                f"{files.lr} is {lr.shape[1]}x{lr.shape[0]} pixels, but x{scale} of "
                f"{files.hr.name} needs {width}x{height}; mend it, or have LR made from HR: "
                f"{_MAKE_LR}"
            )
        return BenchmarkImage(files.name, lr, hr, photo.gray)


def open_benchmark(
    folder: str | Path,
    scale: int,
    *,
    lr: Literal["auto", "imresize"] = "auto",
    degradation: Degradation = BICUBIC,
    first: int | None = None,
) -> Benchmark:
    """Finds the images of a benchmark.

    Args:
      folder: folder in one of the layouts above, searched with its sub-folders, but not in those of
        LR images, such as LR_unknown.
      scale: scale of the LR images.
      lr: "auto" takes LR files where there are any of this scale; "imresize" takes none.
      degradation: how LR images are made; if other than bicubic, no LR files are taken.
      first: number of images to take, from the first on; None for all.

    Raises:
      ValueError: no such folder, no images in it, two of one name, several folders of HR images, or
        LR files missing for some.
    """
    if lr not in ("auto", "imresize"):
        raise ValueError(f"lr is {lr!r}; it must be 'auto' or 'imresize'")
    folder = Path(os.path.abspath(folder))  # a link keeps its name, unlike with resolve()
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; give one that holds HR images")
    if dataset := find_dataset(str(folder), scale, folder):
        return _from_records(dataset, scale, degradation, first)
    folder = _top(folder, scale)
    lr_folder: tuple[str, Path] | None
    if not (folder / "HR").is_dir() and any(folder.glob("image_SRF_*")):
        name, hr_folder = folder.name, folder / f"image_SRF_{scale}"
        hr, found = _self_ex_sr(hr_folder, scale)
        lr_folder = hr_folder.name, hr_folder
    else:
        hr_folder = _hr_folder(folder)
        name = folder.name if hr_folder.name == "HR" else hr_folder.name
        hr, lr_folder = _plain(hr_folder), _lr_folder(hr_folder, scale)
        found = {path.stem: path for path in find_images(lr_folder[1])} if lr_folder else {}
    hr = hr[:first]
    if lr == "imresize" or lr_folder is None or degradation != BICUBIC:
        alone = tuple(ImageFiles(image, path, None) for image, path in hr)
        return Benchmark(name, scale, hr_folder, alone, degradation=degradation)
    files = _matched(hr, found, scale, lr_folder[1])
    return Benchmark(name, scale, hr_folder, files, lr_folder[0])


def _top(folder: Path, scale: int) -> Path:
    """Returns the folder of a benchmark, where its `HR/` or `image_SRF_*/` may have been given."""
    if folder.name.startswith("image_SRF_") and folder.name != f"image_SRF_{scale}":
        raise ValueError(
            f"{folder} is not of scale {scale}; give {folder.parent}, or its scale (--scale)"
        )
    inside = folder.name == "HR" or folder.name.startswith("image_SRF_")
    return folder.parent if inside else folder


def _matched(
    hr: list[tuple[str, Path]], lr: dict[str, Path], scale: int, lr_folder: Path
) -> tuple[ImageFiles, ...]:
    """Finds the LR file of each HR image among those of `lr`, by their names."""
    files, missing = [], []
    for image, path in hr:
        spellings = (image, f"{image}x{scale}", f"{image}X{scale}")
        files.append(ImageFiles(image, path, next(filter(None, map(lr.get, spellings)), None)))
        missing += [image] if files[-1].lr is None else []
    if missing:
        raise ValueError(
            f"{lr_folder} has no LR image for {', '.join(missing)}; add them, or have all made "
            f"from HR: {_MAKE_LR}"
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
    files = tuple(ImageFiles(image.name, folder / image.name, None) for image in held)
    return Benchmark(source.name, scale, folder, files, "the dataset", tuple(held))


def _hr_folder(folder: Path) -> Path:
    """Returns `HR/` or the only `*_HR/` in a folder, or the folder itself."""
    if (folder / "HR").is_dir():
        return folder / "HR"
    inside = sorted(path for path in folder.glob("*_HR") if path.is_dir())
    if len(inside) > 1:
        raise ValueError(
            f"{folder} has several folders of HR images; give one of them: "
            f"{', '.join(map(str, inside))}"
        )
    return inside[0] if inside else folder


def _plain(folder: Path) -> list[tuple[str, Path]]:
    """Lists names and files of the images in a folder of HR images."""
    paths = [
        path
        for path in find_images(folder)
        if not any(map(_LR_FOLDER.search, path.relative_to(folder).parts[:-1]))
    ]
    names = [path.stem for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{folder} has several images of one name: {', '.join(twice)}; rename them"
        )
    if not paths:
        raise ValueError(f"{folder} holds no images; give a folder that holds HR images")
    return list(zip(names, paths, strict=True))


def _lr_folder(hr_folder: Path, scale: int) -> tuple[str, Path] | None:
    """Returns the name, in messages, and the path of the folder of LR files that belong to HR."""
    folder = hr_folder.parent if hr_folder.name == "HR" else hr_folder
    candidates = [(folder, f"LRx{scale}"), (folder, f"LR_bicubic/X{scale}")]
    if folder.name.endswith("_HR"):
        stem = folder.name.removesuffix("_HR")
        candidates.append((folder.parent, f"{stem}_LR_bicubic/X{scale}"))
    for parent, name in candidates:
        if (parent / name).is_dir():
            return name, parent / name
    return None


def _self_ex_sr(folder: Path, scale: int) -> tuple[list[tuple[str, Path]], dict[str, Path]]:
    """Lists names and files of HR, and of LR, where SelfExSR's results may lie beside them."""
    if not folder.is_dir():
        others = ", ".join(sorted(path.name for path in folder.parent.glob("image_SRF_*")))
        raise ValueError(f"there is no folder {folder}, only {others}; choose another scale")
    found: dict[str, dict[str, Path]] = {"HR": {}, "LR": {}}
    for path in find_images(folder):
        if match := re.fullmatch(rf"(.+)_SRF_{scale}_(HR|LR)", path.stem):
            found[match[2]][match[1]] = path
    if not found["HR"]:
        raise ValueError(f"{folder} holds no images such as img_001_SRF_{scale}_HR.png; add them")
    return sorted(found["HR"].items()), found["LR"]
