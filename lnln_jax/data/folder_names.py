"""What the names of folders and files of images say: HR or LR, the scale, how LR was made.

DIV2K_train_HR/0001.png          HR of "div2k train", for training
DIV2K_train_LR_bicubic/X2/0001x2.png     LR of the same, bicubic, x2
GTmod12/baby.png, LRbicx2/baby.png       BasicSR's
image_SRF_2/img_001_SRF_2_HR.png         SelfExSR's, whose files say it
"""

import functools
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

Role = Literal["hr", "lr", ""]

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_BICUBIC = ("bicubic", "bic", "bi", "cubic")
# Of other degradations, where they stand alone or before "LR"; after it, any word is one.
_OTHERS = ("unknown", "mild", "difficult", "wild", "bd", "dn", "blur", "noise", "noisy", "jpeg")
_PHRASES = (
    (r"(?:high|hi)[\W_]*res(?:olution)?(?![a-z])", "hr"),
    (r"(?:low|lo)[\W_]*res(?:olution)?(?![a-z])", "lr"),
    (r"ground[\W_]*truth(?![a-z])", "gt"),
    (r"sub[\W_]*im(?:ages?|gs?)(?![a-z])", "sub"),
    (r"(?:srf|scale)[\W_]*(\d+)", r"x\1"),
)
_HR = re.compile(r"(hr|gt|hq)(mod\d+)?(?:x(\d))?")
_MADE = "|".join((*_BICUBIC, *_OTHERS))
_LR = re.compile(rf"(?:lr|lq)({_MADE})?(?:x?(\d)x?)?")
_SCALE = re.compile(rf"({_MADE})?(?:x(\d{{1,2}})|(\d{{1,2}})x)")
_NEUTRAL = re.compile(r"images?|imgs?|png|files|mod\d+|\d+")
# HR images beside LR images, and where nothing says "HR".
_WEAK = ("original", "originals", "gt", "hq")

_FILE_ROLE = re.compile(
    rf"(?P<base>.+?)[_-](?P<role>hr|gt|lr(?:{_MADE})?(?P<scale>\d)?)", re.IGNORECASE
)
# NTIRE's 0001x4d.png, 0001x4m.png and 0001x4w1.png are of other degradations, as their folders say.
_FILE_SCALE = re.compile(r"(.+?)[_-]?(?:srf_?|x)(\d)(?:[dm]|w\d)?", re.IGNORECASE)


class FolderName(NamedTuple):
    """What the name of one folder says.

    Attributes:
      role: "hr", "lr" or "".
      weak: whether it is HR only if there are LR images and no other HR images.
      scale: scale, if it says one.
      stem: rest of the name, such as "div2k train".
      degradation: of LR, "bicubic", another word, or "" where it does not say.
      split: "train", "validation", "test" or "".
      cut: whether it holds sub-images.
      describes: whether it says nothing but scale and degradation, such as "X2".
    """

    role: Role
    weak: bool
    scale: int | None
    stem: str
    degradation: str
    split: str
    cut: bool
    describes: bool


@functools.lru_cache(maxsize=10_000)
def read_folder_name(name: str) -> FolderName:
    """Takes the name of a folder apart."""
    roles: set[Role] = set()
    weak, cut, scale, split = True, False, None, ""
    stem: list[str] = []
    degradations: list[str] = []
    other = False  # than scale, degradation and what says nothing
    for word in _words(name):
        if found := _HR.fullmatch(word):
            roles.add("hr")
            weak = weak and word in _WEAK
            scale = scale or _number(found[3])
        elif found := _LR.fullmatch(word):
            roles.add("lr")
            degradations += [found[1]] if found[1] else []
            scale = scale or _number(found[2])
        elif word in _WEAK:
            roles.add("hr")
        elif found := _SCALE.fullmatch(word):
            degradations += [found[1]] if found[1] else []
            scale = scale or _number(found[2] or found[3])
        elif word in (*_BICUBIC, *_OTHERS):
            degradations.append(word)
        elif word in ("sub", "patches"):
            cut = True
        elif _NEUTRAL.fullmatch(word):
            pass
        elif word in _SPLITS:
            split = _SPLITS[word]
            stem.append(split)
        elif "lr" in roles:
            degradations.append(word)
        else:
            other = True
            stem.append(word)
    role: Role = roles.pop() if len(roles) == 1 else ""
    return FolderName(
        role=role,
        weak=role == "hr" and weak,
        scale=scale,
        stem=" ".join(stem),
        degradation=_degradation(degradations),
        split=split,
        cut=cut,
        describes=not (role or other or split) and bool(scale or degradations),
    )


class ImageName(NamedTuple):
    """What the path of one image says.

    Attributes:
      name: path, with slashes.
      role: as in `FolderName`, of the innermost folder that has one, or of the file.
      weak: likewise.
      scale: scale, if it says one.
      degradation: as in `FolderName`.
      split: as in `FolderName`.
      cut: as in `FolderName`.
      folder: path as far as it says any of these, such as "LR_bicubic/X2".
      group: what is left of that path, for HR and LR to be equal.
      rest: folders below `folder`.
      stem: name of the file without suffix.
      base: the same without marks such as "x2" or "_LR".
      title: name of the image: the stem, or the base where the file's name tells its role.
      depth: number of folders above the first that says anything.
    """

    name: str
    role: Role
    weak: bool
    scale: int | None
    degradation: str
    split: str
    cut: bool
    folder: str
    group: tuple[str, ...]
    rest: tuple[str, ...]
    stem: str
    base: str
    title: str
    depth: int


def read_image_name(name: str, role: Role = "") -> ImageName:
    """Takes the path of an image apart; where it says neither HR nor LR, it has `role`."""
    path = PurePosixPath(name)
    folders = path.parts[:-1]
    read = [read_folder_name(folder) for folder in folders]
    base, in_file, file_scale = read_file_name(path.stem)
    innermost = next((each for each in reversed(read) if each.role), None)
    said: Role = innermost.role if innermost else ""
    if not said and any(each.describes and each.scale for each in read):
        said = in_file  # SelfExSR's
    said = said or role
    if not said:
        return ImageName(
            *(name, "", False, None, "", "", False, "", (), folders, path.stem, base, path.stem, 0)
        )
    saying = [i for i, each in enumerate(read) if each.role or each.describes]
    end = saying[-1] + 1 if saying else 0
    group = [
        each.stem if each.role or each.describes else folder.casefold()
        for each, folder in zip(read[:end], folders[:end], strict=True)
    ]
    scale = next((each.scale for each in reversed(read[:end]) if each.scale), None)
    return ImageName(
        name=name,
        role=said,
        weak=innermost is not None and innermost.weak,
        scale=scale or (file_scale if said == "lr" else None),
        degradation=_degradation([each.degradation for each in read if each.degradation]),
        split=next((each.split for each in reversed(read[:end]) if each.split), ""),
        cut=any(each.cut for each in read),
        folder="/".join(folders[:end]),
        group=tuple(filter(None, group)),
        rest=folders[end:],
        stem=path.stem,
        base=base,
        title=path.stem if innermost or not in_file else base,
        depth=saying[0] if saying else 0,
    )


def split_of(folder: str) -> str:
    """Returns the split of which a folder has the very name, or ""."""
    return _SPLITS.get(folder.casefold(), "")


def only_describes(name: str) -> bool:
    """Returns whether the folders of an image say nothing but scale and degradation."""
    folders = PurePosixPath(name).parts[:-1]
    return bool(folders) and all(read_folder_name(folder).describes for folder in folders)


def read_file_name(stem: str) -> tuple[str, Role, int | None]:
    """Returns the name of an image without marks, and its role and scale if it says them."""
    stem, scale = _without_scale(stem)
    found = _FILE_ROLE.fullmatch(stem)
    if not found:
        return stem, "", scale
    stem, inner = _without_scale(found["base"])
    role: Role = "lr" if found["role"].lower().startswith("lr") else "hr"
    return stem, role, scale or inner or _number(found["scale"])


def _without_scale(stem: str) -> tuple[str, int | None]:
    found = _FILE_SCALE.fullmatch(stem)
    return (found[1], int(found[2])) if found else (stem, None)


def _words(name: str) -> list[str]:
    text = re.sub(r"(?<=[a-z])(?=(?:HR|LR|GT|HQ|LQ)(?:x\d|(?![a-z])))", "_", name).casefold()
    for pattern, word in _PHRASES:
        text = re.sub(pattern, word, text)
    return re.findall(r"[^\W_]+", text)


def _degradation(words: Iterable[str]) -> str:
    """Returns the first word that is not bicubic, or "bicubic", or nothing."""
    said = list(words)
    return next((word for word in said if word not in _BICUBIC), "bicubic" if said else "")


def _number(text: str | None) -> int | None:
    return int(text) if text else None
