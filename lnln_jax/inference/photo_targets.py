"""Which photos are upscaled, and what their results are called: all that is decided before work.

`photo.jpg` becomes `output/photo_x2.png`; below an input folder the sub-folders are kept. The name
of a result depends on which photos there are, never on their order.
"""

import dataclasses
import functools
import os
import re
import sys
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lnln_jax.images.files import ImageFileError
from lnln_jax.images.formats import WRITTEN
from lnln_jax.images.listing import PICTURE_SUFFIXES, Listing, list_images, skipped
from lnln_jax.runtime.files import printable


@dataclasses.dataclass(frozen=True)
class UpscaledFile:
    """The fate of one input.

    Attributes:
      source: file; or folder, where that could not be listed or holds no images.
      target: file that was to be written; None for a folder.
      error: why it was not written; None for success.
    """

    source: Path
    target: Path | None
    error: str | None = None


class Naming(NamedTuple):
    """How results are called.

    Attributes:
      output: folder for all; or file, where there is one input.
      suffix: text that is appended to the names of the sources, such as "_x2".
      format: suffix of the results, such as ".png"; None for that of `written_as`.
      one: whether `output` is a file.
    """

    output: Path
    suffix: str
    format: str | None
    one: bool = False

    @property
    def result(self) -> re.Pattern[str]:
        """Pattern of a result's stem, of this run or of an earlier one with the usual suffix."""
        ours = f"|{re.escape(self.suffix)}" if self.suffix else ""
        return re.compile(f"(.+)(?:_x[1-9][0-9]*{ours})", re.DOTALL)

    def target(self, source: Path, root: Path, *, distinct: bool = False) -> Path:
        """Returns the result of a source found in a folder; `distinct` from those of its stem."""
        if self.one:
            return self.output
        stem = _distinct(source) if distinct else source.stem
        name = f"{stem}{self.suffix}{self.format or written_as(source)}"
        return self.output / source.relative_to(root).with_name(name)


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
      files: files, each once, with its target or an error.
      existing: sources that are left out, since their results exist.
      results: files that are left out as results of an earlier run.
      listings: listings of the folders.
    """

    files: list[UpscaledFile]
    existing: list[Path]
    results: list[Path]
    listings: list[Listing]


def naming_of(
    output: str | os.PathLike[str],
    inputs: Sequence[str | os.PathLike[str]],
    *,
    suffix: str,
    format: str | None,
) -> Naming:
    """Returns how results are called.

    Args:
      output: folder; or, for one input file, a file, which is known by its suffix.
      inputs: files and folders.
      suffix: text that is appended to the names of the sources.
      format: suffix such as ".png"; "same" for that of `written_as`; None for ".png", or for that
        of `output` if it is a file.

    Raises:
      ValueError: `output` is a file, and there are several inputs, or another format is asked for.
    """
    text, path = os.fspath(output), Path(output)
    ending = path.suffix.lower()
    is_folder = text.endswith((os.sep, "/")) or os.path.isdir(path)
    if is_folder or ending not in PICTURE_SUFFIXES:
        return Naming(path, suffix, None if format == "same" else format or ".png")
    shown = f"output is {printable(path)}, the name of one picture"
    if len(inputs) != 1 or os.path.isdir(inputs[0]):
        what = "there is a folder" if len(inputs) == 1 else f"there are {len(inputs)} inputs"
        raise ValueError(f"{shown}, but {what} to upscale; name a folder for the results")
    wanted = written_as(Path(inputs[0])) if format == "same" else format or ending
    if wanted != ending and WRITTEN.get(wanted) != WRITTEN.get(ending):
        raise ValueError(f"{shown}, but format is {wanted.lstrip('.')}; leave one of them out")
    return Naming(path, suffix, ending, one=True)


def written_as(source: Path) -> str:
    """Returns the suffix of a file of the same format; ".png" where that is read only."""
    suffix = source.suffix.lower()
    return suffix if suffix in WRITTEN else ".png"


def plan(
    inputs: Sequence[str | os.PathLike[str]], naming: Naming, *, skip_existing: bool = False
) -> Plan:
    """Lists each file once with its target, and with an error where there can be none.

    What earlier runs have left in an input folder is left out, unless it is itself an input: files
    in the output folder, and files called as a result of another one in the input folder or below,
    of whatever scale and format. Files of one stem, such as a.jpg and a.png, become a_jpg_x2.png
    and a_png_x2.png.

    Args:
      inputs: files and folders.
      naming: how results are called.
      skip_existing: whether to leave out files whose results exist.

    Raises:
      ValueError: no inputs, an empty name, two files that would have one result, or a result that
        would take the place of an input.
    """
    _real_folder.cache_clear()  # links may have changed since the last call
    paths = [*dict.fromkeys(_path_of(each) for each in inputs)]
    if not paths:
        raise ValueError("inputs is empty; name image files, or folders of them")
    roots: dict[Path, Path] = {}  # of a source: where its path in the output folder begins
    failed: dict[Path, str] = {}
    made: list[Path] = []
    listings: list[Listing] = []
    for path in paths:
        if not os.path.isdir(path):
            roots.setdefault(path, path.parent)
            continue
        try:
            listings.append(list_images(path))
        except ImageFileError as error:
            failed[path] = str(error).removeprefix(f"{printable(path)}: ")
            continue
        sources, results = _without_results(listings[-1].images, path, naming)
        roots |= {source: path for source in sources if source not in roots}
        made += results
        if not listings[-1].images:
            others = ", ".join(skipped(listings[-1:]))
            failed[path] = f"holds no images that can be read{others and f', but {others}'}"
    given = {_real(path) for path in paths}
    if naming.suffix:  # what is the result of a file in another folder
        places = {_real(naming.target(*each)) for each in roots.items()} - given
        made += [path for path in roots if _real(path) in places]
        roots = {path: root for path, root in roots.items() if _real(path) not in places}
    targets = _targets(roots, naming)
    made = [path for path in made if _real(path) not in given]
    existing = {path for path in targets if skip_existing and os.path.isfile(targets[path])}
    files = [UpscaledFile(path, None, reason) for path, reason in failed.items()]
    files += [UpscaledFile(*each) for each in targets.items() if each[0] not in existing]
    return Plan(files, sorted(existing), made, listings)


def _path_of(given: str | os.PathLike[str]) -> Path:
    if not os.fspath(given).strip():
        raise ValueError("inputs has an empty name; name files or folders (is a variable unset?)")
    return Path(given)


def _without_results(
    images: Sequence[Path], folder: Path, naming: Naming
) -> tuple[list[Path], list[Path]]:
    """Parts the images of a folder in those to be upscaled and what an earlier run has made."""
    output = _real(naming.output)
    inside = _real(folder) in output.parents
    known = {stem for image in images for stem in (image.stem, _distinct(image))}
    parted: tuple[list[Path], list[Path]] = ([], [])
    for image in images:
        made = inside and output in _real(image).parents
        parted[made or _is_result(image.stem, known, naming.result)].append(image)
    return parted


def _is_result(stem: str, known: Container[str], pattern: re.Pattern[str]) -> bool:
    """Returns whether a file is called as a result of a known one, or as a result of a result."""
    while match := pattern.fullmatch(stem):
        stem = match[1]
        if stem in known:
            return True
    return False


def _targets(roots: Mapping[Path, Path], naming: Naming) -> dict[Path, Path]:
    """Returns the target of each source, and of files that are given twice of the first."""
    by_place: dict[Path, dict[Path, Path]] = {}  # target -> what is to be there, by its real path
    for source, root in roots.items():
        place = _real(naming.target(source, root))
        by_place.setdefault(place, {}).setdefault(_real(source), source)
    distinct = {each for sources in by_place.values() if len(sources) > 1 for each in sources}
    once = {source for sources in by_place.values() for source in sources.values()}
    targets = {
        source: naming.target(source, root, distinct=_real(source) in distinct)
        for source, root in roots.items()
        if source in once
    }

    inputs = {_real(source) for source in roots}
    source_of: dict[Path, Path] = {}
    for source, target in targets.items():
        place = _real(target)
        if place in source_of:
            raise ValueError(
                f"{printable(target)} would be the result of {printable(source_of[place])} and of "
                f"{printable(source)}; give each an output of its own, or the folder above them, "
                "whose sub-folders are kept"
            )
        source_of[place] = source
        if place == _real(source):
            raise ValueError(
                f"{printable(source)} would be replaced by its own result; choose another "
                "output or suffix"
            )
        if place in inputs:
            raise ValueError(
                f"{printable(target)} is an input, and would be replaced by the result of "
                f"{printable(source)}; choose another output folder, or leave one of them out"
            )
    return targets


def _distinct(path: Path) -> str:
    """Returns a stem that tells a.jpg from a.png."""
    return f"{path.stem}_{path.suffix[1:]}"


def _real(path: Path) -> Path:
    """Returns where a file really is; of thousands in a folder, the folder is looked up once."""
    if os.path.islink(path) or path.name in ("", ".."):
        return Path(_folded(os.path.realpath(path)))
    return Path(_real_folder(path.parent), _folded(path.name))


@functools.lru_cache
def _real_folder(folder: Path) -> str:
    return _folded(os.path.realpath(folder))


def _folded(path: str) -> str:
    """Returns a path without what the system does not tell apart: its case, mostly, on macOS."""
    return path.casefold() if sys.platform == "darwin" else os.path.normcase(path)
