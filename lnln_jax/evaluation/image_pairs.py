"""Results with their HR images, and LR images, as two or three files or folders."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from lnln_jax.data.folder_names import read_file_name, read_folder_name
from lnln_jax.data.image_sets import ImageSet, may_hold_images, open_image_set, open_images
from lnln_jax.data.layout_folders import MADE
from lnln_jax.data.layouts import find_layout
from lnln_jax.evaluation.stored import StoredResults, result_of
from lnln_jax.evaluation.test_sets import Benchmark, BenchmarkImage, ImageFiles, open_benchmark
from lnln_jax.runtime.files import printable

_SCALES = range(2, 17)


@dataclass(frozen=True)
class Pairs:
    """Images with their results; iterating reads one after the other.

    Attributes:
      scale: scale of the results; None where it is not known, and HR is not cropped.
      benchmark: images; where no LR images were given, theirs mean nothing.
      results: results of a folder, or the file of one.
    """

    scale: int | None
    benchmark: Benchmark
    results: StoredResults | Path

    def __len__(self) -> int:
        return len(self.benchmark)

    def __iter__(self) -> Iterator[tuple[BenchmarkImage, np.ndarray]]:
        """Yields each image, HR cropped to a multiple of the scale, and its result, uint8 `H W 3`.

        Raises:
          ValueError: as `Benchmark.images` and `StoredResults.result` raise it.
        """
        for image in self.benchmark:
            if isinstance(self.results, StoredResults):
                yield image, self.results.result(self.benchmark, image)
            else:
                photo = ImageSet(self.results.parent).photo(self.results.name)
                shown = printable(self.results)
                yield image, result_of(photo, image, self.benchmark.scale, shown)


def open_pairs(sr: Path, hr: Path, scale: int | None, lr: Path | None) -> Pairs:
    """Finds images and their results.

    Args:
      sr: file, folder or .zip file of results; see `StoredResults` for the names in folders.
      hr: the same of HR images, in the layouts of `lnln_jax.data.layouts`.
      scale: scale of the results; None for the one that the sizes of LR images tell, or else the
        names of the results.
      lr: the same of LR images, or None.

    Raises:
      ValueError: there are files beside folders, or nothing; the sizes of LR images fit no scale,
        or several; or as `open_benchmark` and `StoredResults` raise it.
    """
    if sr.name in ("", ".."):  # the current folder or one above it, whose name may tell the scale
        sr = Path(os.path.abspath(sr))
    _check_alike({"SR": sr, "HR": hr} | ({} if lr is None else {"LR": lr}))
    if scale is None:
        scale = _scale_in_names(sr) if lr is None else _scale_of_lr(hr, lr)
    at_least_1 = scale or 1
    if may_hold_images(hr):
        benchmark = open_benchmark(hr, at_least_1, lr=MADE if lr is None else lr)
        return Pairs(scale, benchmark, StoredResults(printable(sr.name), sr, at_least_1))
    files = (ImageFiles(printable(hr.stem), hr.name, None if lr is None else lr.name),)
    lr_root = hr.parent if lr is None else lr.parent
    return Pairs(scale, Benchmark(hr.name, at_least_1, hr.parent, files, hr.parent, lr_root), sr)


def _check_alike(paths: Mapping[str, Path]) -> None:
    """Refuses what is not there, and files beside folders."""
    for name, path in paths.items():
        if not path.exists():
            raise ValueError(f"{name}: there is no file or folder {printable(path)}; give one")
    folders = [name for name, path in paths.items() if may_hold_images(path)]
    files = [name for name in paths if name not in folders]
    if files and folders:
        raise ValueError(
            f"{' and '.join(files)} {'are files' if files[1:] else 'is a file'}, but "
            f"{' and '.join(folders)} {'are folders' if folders[1:] else 'is a folder'}; give "
            "files alone, or folders or .zip files alone"
        )


def _scale_of_lr(hr: Path, lr: Path) -> int:
    """Returns the scale that LR images have by their sizes."""
    if may_hold_images(hr):
        with open_images(hr) as images:
            found = find_layout(images.names, None, purpose="evaluation", with_lr=False)
            sizes = _sizes(images, found.hr)
        with open_images(lr) as images:
            lr_sizes = _sizes(images, images.names)
    else:
        sizes = _sizes(ImageSet(hr.parent), [hr.name])
        lr_sizes = _sizes(ImageSet(lr.parent), [lr.name])
    fitting = [
        scale
        for scale in _SCALES
        if lr_sizes and lr_sizes <= {(height // scale, width // scale) for height, width in sizes}
    ]
    if len(fitting) == 1:
        return fitting[0]
    which = ", ".join(f"x{scale}" for scale in fitting)
    said = f"several scales ({which})" if fitting else "no scale"
    raise ValueError(
        f"the sizes of {printable(lr)} fit {said} for {printable(hr)}; give the scale (--scale)"
    )


def _sizes(images: ImageSet, names: Iterable[str]) -> set[tuple[int, int]]:
    """Returns the sizes of images, without those that cannot be read."""
    return {size for name in names if (size := images.size(name)) is not None}


def _scale_in_names(sr: Path) -> int | None:
    """Returns the scale that the names of results, or of the folders above them, tell.

    Of the innermost that tell any; None where they tell several, or nothing does.
    """
    inside: list[PurePath] = []
    if may_hold_images(sr):
        with open_image_set(sr) as images:
            inside = [PurePath(name) for name in images.names]
    files = [name.stem for name in inside] or [sr.stem]
    folders = {part for name in inside for part in name.parts[:-1]}
    above = [sr, *sr.parents] if inside else [*sr.parents]
    for names in (files, folders, *([path.name] for path in above)):
        told = {_scale_in(name) for name in names} - {None}
        if told:
            return told.pop() if len(told) == 1 else None
    return None


def _scale_in(name: str) -> int | None:
    return read_file_name(name)[2] or read_folder_name(name).scale
