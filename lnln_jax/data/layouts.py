"""Which images of a folder are HR, and which LR image belongs to each: all layouts in use.

    photos/0001.png ...                      HR alone, in sub-folders or not
    Set5/HR/baby.png                         Set5/LRx2/baby.png, LR/, lr_x2/ or LR_bicubic/X2/
    DIV2K_train_HR/0001.png                  DIV2K_train_LR_bicubic/X2/0001x2.png
    Set5/GTmod12/baby.png                    Set5/LRbicx2/baby.png
    Set5/image_SRF_2/img_001_SRF_2_HR.png    Set5/image_SRF_2/img_001_SRF_2_LR.png

in upper or lower case, and what else `folder_names` reads alike. Training, `lnln prepare` and
`lnln evaluate` ask here, and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

from lnln_jax.data.folder_names import (
    ImageName,
    only_describes,
    read_file_name,
    read_image_name,
    split_of,
)
from lnln_jax.data.lr_names import (
    Size,
    by_folder,
    find_lr,
    folders_of,
    listed,
    match_lr,
    of_scale,
    scales_of,
)
from lnln_jax.runtime.files import printable

Purpose = Literal["training", "evaluation", "both"]
_USE = {
    "training": "which is not for training",
    "evaluation": "which is for training",
    "both": "which is for tests",
}


@dataclass(frozen=True)
class Layout:
    """What was found.

    Attributes:
      hr: names of the HR images.
      titles: names of these images without folders and suffix, and what tells HR from LR.
      lr: name of an HR image -> name of its LR image, if it has one.
      missing: HR image without an LR image, although others beside it have one -> why.
      hr_folders: folders of the HR images, as far as their names say that; "" where none does.
      lr_folders: folders of the LR images, likewise; empty where all LR images are to be made.
      unused: folder of other LR images -> why they are not used.
      left_out: what other images were left out, a line each.
      validation: HR images that are for validation, where others are for training.
    """

    hr: tuple[str, ...]
    titles: tuple[str, ...]
    lr: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    hr_folders: tuple[str, ...] = ("",)
    lr_folders: tuple[str, ...] = ()
    unused: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    validation: frozenset[str] = frozenset()


def find_layout(
    names: Sequence[str],
    scale: int | None,
    *,
    purpose: Purpose,
    size: Size | None = None,
    with_lr: bool = True,
) -> Layout:
    """Tells HR from LR images by the names of their folders, and finds what belongs together.

    Args:
      names: paths of all images in a folder or .zip file, with slashes.
      scale: scale of the LR images; None for HR images alone, of whatever scale.
      purpose: of images for training and for validation side by side, "training" takes those for
        training, "evaluation" the others, and "both" all.
      size: function that reads the size of an image, to know the scale of folders that do not tell
        it; without it they are not used.
      with_lr: whether to look for the LR images; otherwise all of them are `unused`.

    Raises:
      ValueError: no HR images, none for this scale, or several folders that may be meant.
    """
    images = _read(names)
    hr, left_out = _hr_images(images)
    of_split = _of_split(hr, purpose)
    chosen, kept = _of_scale(of_split, scale), {*of_split}
    if others := [image for image in hr if image not in kept]:
        places = dict.fromkeys(image.folder or _parent(image) for image in others)
        left_out.append(f"what is in {listed(places)}, {_USE[purpose]}")
    folders = folders_of(chosen)
    _check_one_each(chosen, folders, purpose)
    names, titles = tuple(i.name for i in chosen), tuple(i.title for i in chosen)
    splits = {image.split for image in chosen}
    validation = frozenset(i.name for i in chosen if i.split == "validation" and "train" in splits)
    layout = Layout(
        names, titles, hr_folders=folders, left_out=tuple(left_out), validation=validation
    )
    lr = [image for image in images if image.role == "lr"]
    if scale is None or not with_lr:
        return replace(layout, unused=dict.fromkeys(folders_of(lr), ""))
    found = find_lr(chosen, lr, scale, size)
    return replace(
        layout,
        lr=found.lr,
        missing=found.missing,
        lr_folders=found.folders,
        unused=found.unused,
    )


def give_lr(layout: Layout, names: Sequence[str], scale: int) -> Layout:
    """Returns a layout with LR images that lie elsewhere.

    Args:
      layout: layout of the HR images.
      names: paths of all images in the folder or .zip file of LR images, of this scale or several.
      scale: scale of the LR images.

    Raises:
      ValueError: all of them are of other scales.
    """
    lr = [read_image_name(name, "lr") for name in names]
    fitting = [image for images in by_folder(lr).values() for image in of_scale(images, scale)]
    if not fitting:
        raise ValueError(f"the images are of {scales_of(lr)}, not of x{scale}")
    matches = match_lr([read_image_name(name, "hr") for name in layout.hr], fitting, scale)
    return replace(layout, lr=matches.found, missing=matches.problems, unused={})


def _read(names: Sequence[str]) -> list[ImageName]:
    """Reads all names; files tell HR from LR where both kinds lie side by side."""
    images = [read_image_name(name) for name in names]
    marked: dict[tuple[tuple[str, ...], str], set[str]] = {}
    for image in images:
        if not image.role:
            marked.setdefault((image.rest, image.base), set()).add(read_file_name(image.stem)[1])
    for i, image in enumerate(images):
        if not image.role and marked[image.rest, image.base] >= {"hr", "lr"}:
            images[i] = read_image_name(image.name, read_file_name(image.stem)[1])
    if any(image.role == "hr" for image in images):  # "bicubic_x2" beside "GT" is LR
        images = [
            read_image_name(image.name, "lr")
            if not image.role and only_describes(image.name)
            else image
            for image in images
        ]
    if any(image.role == "lr" for image in images):
        return images
    # Where nothing is LR, "original" or "gt" is a folder like any other.
    return [_plain(image) if image.weak else image for image in images]


def _plain(image: ImageName) -> ImageName:
    folders = PurePosixPath(image.name).parts[:-1]
    return image._replace(role="", weak=False, scale=None, folder="", group=(), rest=folders)


def _hr_images(images: Sequence[ImageName]) -> tuple[list[ImageName], list[str]]:
    """Returns all HR images, and says what is left out."""
    hr = [image for image in images if image.role == "hr"]
    plain = [image for image in images if not image.role]
    if not hr:
        if images and not plain:
            raise ValueError(
                f"there are LR images alone, in {listed(folders_of(images))}; give a folder of HR "
                "images"
            )
        return [i._replace(split=split_of(i.rest[0])) if i.rest else i for i in plain], []
    left_out = []
    # Results of SelfExSR and others lie in the folders of HR images, called otherwise.
    with_hr = {_parent(image) for image in hr}
    if beside := [folder for folder in map(_parent, plain) if folder not in with_hr]:
        left_out.append(
            f"{len(beside)} image{'s' * (len(beside) > 1)} in {listed(dict.fromkeys(beside))}, "
            f"beside the HR images in {listed(folders_of(hr))}"
        )
    top = min(image.depth for image in hr)
    if deeper := [image for image in hr if image.depth > top]:
        left_out.append(f"what is in {listed(folders_of(deeper))}, below other HR images")
        hr = [image for image in hr if image.depth == top]
    strong = {image.group for image in hr if not image.weak}
    if weak := [image for image in hr if image.weak and image.group in strong]:
        left_out.append(f"what is in {listed(folders_of(weak))}, beside other HR images")
    return [image for image in hr if not (image.weak and image.group in strong)], left_out


def _parent(image: ImageName) -> str:
    return image.name.rpartition("/")[0] or "the folder itself"


def _of_split(hr: list[ImageName], purpose: Purpose) -> list[ImageName]:
    """Chooses among images for training and for validation, where there are both."""
    splits = {image.split for image in hr if image.split}
    if "train" not in splits or len(splits) == 1:
        return hr
    if purpose == "evaluation":
        if {"validation", "test"} <= splits and not hr[0].role:
            raise ValueError(
                "there are images for validation and images for tests; give one of their folders"
            )
        return [image for image in hr if image.split not in ("train", "")]
    if purpose == "training":
        return [image for image in hr if image.split in ("train", "")]
    if beside := next((image.name for image in hr if not image.split), None):
        raise ValueError(
            f"there are images for training and for validation, and images beside them, such as "
            f"{printable(beside)}; move them into one of the two"
        )
    return [image for image in hr if image.split != "test"]


def _of_scale(hr: list[ImageName], scale: int | None) -> list[ImageName]:
    """Chooses among HR images that are there for each scale."""
    scales = {image.scale for image in hr}
    if scale is None and len(scales - {None}) > 1:
        raise ValueError(
            f"there are HR images of each scale, in {listed(folders_of(hr))}; give one of these "
            "folders"
        )
    if scale is None or scales <= {None}:
        return hr
    wanted = scale if scale in scales else None
    if wanted not in scales:
        raise ValueError(
            f"there are no HR images of x{scale}, only of {scales_of(hr)}, in "
            f"{listed(folders_of(hr))}; choose another scale"
        )
    return [image for image in hr if image.scale == wanted]


def _check_one_each(hr: Sequence[ImageName], folders: Sequence[str], purpose: Purpose) -> None:
    """Refuses the same images twice, and to measure sets of images as if they were one."""
    groups = {(image.folder, image.group) for image in hr}
    twice = len({group for _, group in groups}) < len(groups)
    if len(folders) > 1 and (twice or purpose == "evaluation"):
        same = " of the same" if twice and purpose == "training" else ""
        raise ValueError(
            f"there are several folders of HR images{same}; give one of them: {listed(folders)}"
        )
