"""Which LR file belongs to which HR file, by the names of their folders and their own.

`a/0001.png` has the LR file `a/0001.png`, or `a/0001x2.png`, `0001X2`, `0001_x2`, `0001_LR`,
`0001_LR_x2` and so on, with the suffix of any image format.
"""

import collections
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from lnln_jax.data.folder_names import ImageName
from lnln_jax.runtime.files import printable

Size = Callable[[str], tuple[int, int] | None]  # height and width of an image, if it shows them

_LOOKED_AT = 3  # images whose sizes tell the scale of a folder such as LR/
_MOST_LISTED = 8


class LrFolders(NamedTuple):
    """Folders of LR images among those of HR images.

    Attributes:
      lr: name of an HR image -> name of its LR image.
      missing: HR image without an LR image, although others beside it have one -> why.
      folders: folders of these LR images.
      unused: folder of other LR images -> why they are not used.
    """

    lr: Mapping[str, str]
    missing: Mapping[str, str]
    folders: tuple[str, ...]
    unused: Mapping[str, str]


class Matches(NamedTuple):
    """LR files that were found, and why others were not.

    Attributes:
      found: name of an HR file -> name of its LR file.
      problems: name of an HR file without one -> why.
    """

    found: Mapping[str, str]
    problems: Mapping[str, str]


def find_lr(
    hr: Sequence[ImageName], lr: Sequence[ImageName], scale: int, size: Size | None
) -> LrFolders:
    """Finds LR images of HR images in the same folder or .zip file: bicubic ones of a scale.

    Raises:
      ValueError: several folders of LR images may be meant.
    """
    hr_folders = by_folder(hr)
    candidates, unused = _candidates(lr, scale)
    folder_of = {image.name: image.folder for image in lr}
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    used: dict[str, None] = {}
    for here in hr_folders.values():
        kin = {name: each for name, each in candidates.items() if _are_kin(here[0], each[0])}
        near = {
            name: each
            for name, each in candidates.items()
            if len(hr_folders) == 1 and not (here[0].group and each[0].group)
        }
        for folder, images in (kin or near).items():
            matches = match_lr(here, images, scale)
            reason = _misfit(matches.found, images[0], scale, size, kin=bool(kin))
            if not reason and (both := [name for name in matches.found if name in found]):
                reason = _second(folder, folder_of[found[both[0]]], candidates)
            if reason:
                unused[folder] = reason
            else:
                found |= matches.found
                missing |= matches.problems
                used[folder] = None
    for folder in candidates:
        unused.setdefault(folder, "it belongs to none of the HR images")
    return LrFolders(
        found,
        {name: why for name, why in missing.items() if name not in found},
        tuple(used),
        {folder: why for folder, why in unused.items() if folder not in used},
    )


def _candidates(
    lr: Sequence[ImageName], scale: int
) -> tuple[dict[str, list[ImageName]], dict[str, str]]:
    """Returns the folders of LR images that may be bicubic ones of a scale, the surest first.

    Also returns the others, and why they are none.
    """
    candidates: dict[str, list[ImageName]] = {}
    unused: dict[str, str] = {}
    for folder, images in by_folder(lr).items():
        fitting = of_scale(images, scale)
        if images[0].degradation not in ("", "bicubic"):
            unused[folder] = f"{images[0].degradation}, not bicubic"
        elif not fitting:
            unused[folder] = f"of {scales_of(images)}"
        else:
            candidates[folder] = fitting
    return dict(sorted(candidates.items(), key=lambda item: _rank(item[1][0]))), unused


def _rank(lr: ImageName) -> tuple[bool, bool]:
    return lr.degradation == "", lr.scale is None


def _are_kin(hr: ImageName, lr: ImageName) -> bool:
    """Returns whether folders say to be of the same images."""
    return (hr.group, hr.cut) == (lr.group, lr.cut)


def _misfit(
    found: Mapping[str, str], lr: ImageName, scale: int, size: Size | None, *, kin: bool
) -> str:
    """Says why LR images do not belong to the HR images after all; nothing if they do."""
    if lr.scale is not None and (found or kin):
        return ""  # also where no name fits: a folder so called should have them
    if not found:
        return "none of its names is that of an HR image"
    if size is None:
        return "its scale is not known"
    for pair in [*found.items()][:_LOOKED_AT]:
        large, small = map(size, pair)
        if large and small and small == (large[0] // scale, large[1] // scale):
            return ""
    return f"its sizes are not those of x{scale}"


def _second(folder: str, other: str, candidates: Mapping[str, Sequence[ImageName]]) -> str:
    """Says that the images of another folder are used, if that is the better one.

    Raises:
      ValueError: none is better.
    """
    if _rank(candidates[folder][0]) == _rank(candidates[other][0]):
        raise ValueError(
            f"there are several folders of LR images: {listed([other, folder])}; choose one "
            "(--lr, or data.train_lr)"
        )
    return f"{other} is used"


def match_lr(hr: Sequence[ImageName], lr: Sequence[ImageName], scale: int) -> Matches:
    """Finds the LR file of each HR file in one folder of LR files.

    The same path counts most, then the path below the folders that say HR or LR, and last the name
    of the file alone, where only one HR file has it.
    """
    index: dict[Hashable, list[str]] = {}
    for image in lr:
        for place in (*_places(image), None):
            for spelling in dict.fromkeys(_spellings(image)):
                index.setdefault((place, *spelling), []).append(image.name)
    namesakes = collections.Counter(image.stem.casefold() for image in hr)
    found: dict[str, str] = {}
    problems: dict[str, str] = {}
    for image in hr:
        alone = namesakes[image.stem.casefold()] == 1
        places = (*_places(image), None) if alone else _places(image)
        candidates = next(filter(None, map(index.get, _keys(image, places))), [])
        suffix = PurePosixPath(image.name).suffix
        # x.png and x.jpg may both be there, in both folders: then each belongs to its namesake.
        fitting = [name for name in candidates if PurePosixPath(name).suffix == suffix]
        candidates = fitting or candidates
        if len(candidates) == 1:
            found[image.name] = candidates[0]
        elif candidates:
            problems[image.name] = f"several LR images: {printable(', '.join(candidates))}"
        else:
            stem = printable("/".join((*image.rest, image.stem)))
            problems[image.name] = f"no LR image named {stem} or {stem}x{scale} in the LR folder"
    for name, times in collections.Counter(found.values()).items():
        if times > 1:
            for shared in [hr for hr, lr in found.items() if lr == name]:
                del found[shared]
                problems[shared] = f"its LR image {printable(name)} is that of another one, too"
    return Matches(found, problems)


def _places(image: ImageName) -> list[tuple[str, ...]]:
    rest = tuple(folder.casefold() for folder in image.rest)
    return [*dict.fromkeys([(*image.group, *rest), rest])]


def _spellings(lr: ImageName) -> Iterator[tuple[str, str]]:
    """Yields how an LR file may be called: as it is, without marks, and both in lower case."""
    yield "whole", lr.stem
    yield "base", lr.base
    yield "lower whole", lr.stem.casefold()
    yield "lower base", lr.base.casefold()


def _keys(hr: ImageName, places: Sequence[tuple[str, ...] | None]) -> Iterator[Hashable]:
    """Yields what an HR file is looked up by, the surest first."""
    for place in places:
        yield place, "whole", hr.stem
        yield place, "base", hr.stem
        yield place, "base", hr.base
        yield place, "lower whole", hr.stem.casefold()
        yield place, "lower base", hr.stem.casefold()
        yield place, "lower base", hr.base.casefold()


def of_scale(lr: Sequence[ImageName], scale: int) -> list[ImageName]:
    """Returns the LR images of one folder that may be of a scale.

    What some of them have in their names and others not is no scale: fox2.png beside dog.png.
    """
    if any(image.scale is None for image in lr):
        return [image._replace(scale=None) for image in lr]
    return [image for image in lr if image.scale == scale]


def by_folder(images: Iterable[ImageName]) -> dict[str, list[ImageName]]:
    """Returns images by their folders."""
    folders: dict[str, list[ImageName]] = {}
    for image in images:
        folders.setdefault(image.folder, []).append(image)
    return folders


def folders_of(images: Iterable[ImageName]) -> tuple[str, ...]:
    """Returns the folders of images, each once."""
    return tuple(by_folder(images))


def scales_of(images: Iterable[ImageName]) -> str:
    """Returns the scales of images, for messages."""
    return ", ".join(f"x{scale}" for scale in sorted({image.scale or 1 for image in images}))


def listed(folders: Iterable[str]) -> str:
    """Returns folders for messages, the first few."""
    named = [*folders]
    more = f" and {len(named) - _MOST_LISTED} more" if len(named) > _MOST_LISTED else ""
    return ", ".join(named[:_MOST_LISTED]) + more
