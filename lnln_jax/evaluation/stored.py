"""Results of any program, as image files, in place of what a model upscales."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lnln_jax.data.folder_names import read_file_name, read_folder_name
from lnln_jax.data.image_sets import may_hold_images, open_image_set, open_images
from lnln_jax.data.lr_names import listed
from lnln_jax.evaluation.file_names import file_name, file_names
from lnln_jax.evaluation.test_sets import Benchmark, BenchmarkImage
from lnln_jax.images.files import to_rgb
from lnln_jax.images.photo import Photo
from lnln_jax.runtime.files import printable

_MARK = re.compile(r"[^0-9a-z].*|x\d.*|", re.IGNORECASE | re.DOTALL)  # after the name of an image
_HR_OR_LR = re.compile(r"(?<![0-9a-z])(?:hr|gt|lr)(?![0-9a-z])", re.IGNORECASE)
_SCALE = re.compile(r"(?<![0-9a-z])x(\d)(?!\d)", re.IGNORECASE)

Place = tuple[str, str]  # folder, and what follows the image's name in those of the files


class _File(NamedTuple):
    name: str
    folders: tuple[str, ...]
    stem: str


class StoredResults:
    """A folder or .zip file with the results of one method, which stands among the models.

    A file is known by its name: that of the image, perhaps with something after it that is the same
    for all (`baby.png`, `babyx2.png`, `baby_x2_EDSR.png`). Of several sets, each may have a folder
    of its name.

    Attributes:
      name: name in tables.
      scale: factor by which they were upscaled.
      root: folder or .zip file.
      module: None, since it is no network.
    """

    module = None

    def __init__(self, name: str, root: Path, scale: int) -> None:
        """Lists the files.

        Raises:
          ValueError: there is no such folder or .zip file, or no images in it.
        """
        if not may_hold_images(root):
            raise ValueError(
                f"there is no folder or .zip file {printable(root)} of results of {name}; give one"
            )
        self.name, self.root, self.scale = name, root, scale
        with open_images(root) as images:
            paths = [PurePosixPath(image) for image in images.names]
        self._files = [_File(str(path), path.parts[:-1], path.stem) for path in paths]
        self._found: dict[tuple[str, tuple[str, ...]], Mapping[str, str]] = {}

    def result(self, benchmark: Benchmark, image: BenchmarkImage) -> np.ndarray:
        """Reads the result for an image: uint8 `H W 3`, of the size of its HR.

        Raises:
          ValueError: there is none, as for other images of the benchmark; it cannot be read; it is
            of another size, or gray where HR is not.
        """
        key = benchmark.name, tuple(benchmark.names)
        if key not in self._found:
            self._found[key] = self._match(benchmark)
        name = self._found[key][image.name]
        with open_image_set(self.root) as images:
            photo = images.photo(name)
        return result_of(photo, image, self.scale, printable(self.root / name))

    def _match(self, benchmark: Benchmark) -> Mapping[str, str]:
        """Finds the files of all images of a benchmark.

        Raises:
          ValueError: some are missing, or there are several for each.
        """
        files = _of_set(self._files, benchmark.name, self.scale)
        stems = file_names(benchmark.names)
        bases = {name: read_file_name(stem)[0] for name, stem in stems.items()}
        best: dict[Place, dict[str, str]] = {}
        for spelling in (stems, bases):
            best = _places(files, spelling, self.scale)
            complete = {
                place: found for place, found in best.items() if len(found) == len(spelling)
            }
            if complete and len({*spelling.values()}) == len(spelling):
                return self._only(complete, benchmark)
        found = max(best.values(), key=len, default={})
        missing = [name for name in benchmark.names if name not in found]
        example = stems[missing[0]]
        names = f"{example}.png or {example}x{self.scale}.png, called alike for all images"
        if self.scale == 1:  # not known
            names = f"{example}.png, called alike for all images, or give the scale (--scale)"
        raise ValueError(
            f"{printable(self.root)} has no result of {self.name} for {listed(missing)} of "
            f"{benchmark.name}; add files such as {names}"
        )

    def _only(self, places: Mapping[Place, dict[str, str]], benchmark: Benchmark) -> dict[str, str]:
        """Chooses the results that the name of the method points at, where there are several."""
        wanted = {self.name.casefold(), file_name(self.name).casefold()}
        for fits in (
            lambda place: wanted & {part.casefold() for part in place[0].split("/")},
            lambda place: wanted & {*re.split(r"[^0-9a-z]+", place[1].casefold())},
            lambda place: True,
        ):
            chosen = [place for place in places if fits(place)]
            if len(chosen) == 1:
                return places[chosen[0]]
            if chosen:
                break
        first = benchmark.names[0]
        raise ValueError(
            f"{printable(self.root)} has several results for each image of {benchmark.name}: "
            f"{listed(printable(places[place][first]) for place in chosen)}; give a folder of one "
            "method"
        )


def result_of(photo: Photo, image: BenchmarkImage, scale: int, shown: str) -> np.ndarray:
    """Returns a picture as the result for an image: uint8 `H W 3`, of the size of its HR.

    Args:
      photo: picture.
      image: image of a benchmark.
      scale: factor by which it was upscaled; 1 where it is not known.
      shown: name of the picture's file, for errors.

    Raises:
      ValueError: it is of another size, or gray where HR is not.
    """
    height, width = image.hr.shape[:2]
    if photo.samples.shape[:2] not in ((height, width), image.full_size):
        full = image.full_size or (height, width)
        whole = f", or {full[1]}x{full[0]} as the HR file is" * (full != (height, width))
        at_scale = f" at x{scale}" * (scale > 1)
        remedy = (
            "upscale LR images that were made of HR cropped to a multiple of the scale, and save "
            "the whole result"
            if scale > 1
            else "give results of that size, or the scale (--scale), by which HR is cropped"
        )
        raise ValueError(
            f"{shown} is {photo.samples.shape[1]}x{photo.samples.shape[0]} pixels, but HR of "
            f"{image.name}{at_scale} is {width}x{height}{whole}; {remedy}"
        )
    if photo.gray and (image.hr[..., :1] != image.hr).any():
        raise ValueError(
            f"{shown} is gray, but HR of {image.name} has colours; save results with the "
            "colours (bicubic ones, if the network makes luma alone)"
        )
    return to_rgb(photo)[:height, :width]


def _of_set(files: Sequence[_File], benchmark: str, scale: int) -> list[_File]:
    """Returns the files in folders called as a benchmark, if there are any, and of a scale."""
    fitting = [file for file in files if _scales(file.folders) <= {scale}]
    name = _without_scale(file_name(benchmark))
    inside = [file for file in fitting if name in map(_without_scale, file.folders)]
    return inside or fitting


def _scales(folders: Iterable[str]) -> set[int]:
    return {scale for folder in folders if (scale := read_folder_name(folder).scale)}


def _without_scale(folder: str) -> str:
    return re.sub(r"[^0-9a-z]?x\d$", "", folder.casefold())


def _places(
    files: Sequence[_File], spelling: Mapping[str, str], scale: int
) -> dict[Place, dict[str, str]]:
    """Returns, for each folder and each mark after the names, the files of images.

    Images whose files lie in a folder each are one place.
    """
    places: dict[Place, dict[str, str]] = {}
    by_mark: dict[str, list[tuple[str, str]]] = {}
    longest_first = sorted(spelling.items(), key=lambda item: -len(item[1]))
    for file in files:
        for image, stem in longest_first:
            mark = file.stem[len(stem) :]
            if not (file.stem.casefold().startswith(stem.casefold()) and _MARK.fullmatch(mark)):
                continue
            said = _SCALE.search(mark)
            if not _HR_OR_LR.search(mark) and (said is None or int(said[1]) == scale):
                places.setdefault(("/".join(file.folders), mark), {})[image] = file.name
                by_mark.setdefault(mark, []).append((image, file.name))
            break
    for mark, found in by_mark.items():
        if len(dict(found)) == len(found) == len(spelling):
            places = {place: names for place, names in places.items() if place[1] != mark}
            places["", mark] = dict(found)
    return places
