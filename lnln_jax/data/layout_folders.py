"""Layouts of folders and .zip files that are there: see `layouts`."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lnln_jax.data.folder_names import FolderName, read_folder_name
from lnln_jax.data.image_sets import Archive, ImageSet, is_archive, not_empty, open_images
from lnln_jax.data.layouts import Layout, Purpose, find_layout, give_lr
from lnln_jax.runtime.files import printable

AUTO, MADE = "auto", "imresize"  # words in place of a folder of LR images
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """HR images with their LR images, as files.

    Attributes:
      images: files of both, or of HR alone.
      lr_images: files of LR, if these lie elsewhere; otherwise `images`.
      layout: what they are; names of its HR images are of `images`, those of LR of `lr_images`.
      lr_folder: where the LR files lie, for messages; empty where LR images are to be made.
    """

    images: ImageSet
    lr_images: ImageSet
    layout: Layout
    lr_folder: str

    @property
    def hr_folder(self) -> Path:
        """Folder of the HR images, or the .zip file or folder that holds several."""
        folders = self.layout.hr_folders
        return self.images.root / folders[0] if len(folders) == 1 else self.images.root

    @property
    def name(self) -> str:
        """Name of the set of images: "Set5" of "Set5/HR", but "DIV2K_train_HR"."""
        path = self.hr_folder
        for part in (path, *path.parents):
            said = read_folder_name(part.name)
            if not (said.describes or (said.role == "hr" and not said.stem)):
                return part.stem if part.suffix.lower() == ".zip" else part.name
        return path.name


@contextlib.contextmanager
def find_images_of(
    root: Path, scale: int | None, *, purpose: Purpose, lr: str | Path | None = AUTO
) -> Iterator[Found]:
    """Opens a folder or .zip file of HR images, and that of their LR images.

    What is left out is told by a warning, and so are folders of LR images that are not used while
    LR images have to be made.

    Args:
      root: folder or .zip file. Of a folder of HR images itself, the LR images may lie beside it.
      scale: scale of the LR images; None for HR images alone, of whatever scale.
      purpose: as for `find_layout`.
      lr: folder or .zip file of LR images; "auto" for what there is in `root`, or beside it;
        "imresize" for none; None for none either, but such folders are told.

    Raises:
      ValueError: as `open_images` and `find_layout` raise it.
    """
    with contextlib.ExitStack() as stack:
        images = stack.enter_context(_open(root, with_lr=lr == AUTO))
        with _named(root):
            layout = find_layout(
                images.names, scale, purpose=purpose, size=images.size, with_lr=lr == AUTO
            )
        lr_images = images
        lr_folder = printable(", ".join(each or "the same folder" for each in layout.lr_folders))
        if lr not in (AUTO, None):
            layout = replace(layout, unused={})
        if lr is not None and lr not in (AUTO, MADE) and scale is not None:
            lr_images = stack.enter_context(open_images(Path(lr)))
            lr_folder = printable(lr)
            with _named(Path(lr)):
                layout = give_lr(layout, lr_images.names, scale)
        _tell(images, layout)
        if lr_images is not images and lr_images.skipped:
            _logger.warning("%s: left out: %s", lr_folder, "; ".join(lr_images.skipped))
        yield Found(images, lr_images, layout, lr_folder)


@contextlib.contextmanager
def _named(root: Path) -> Iterator[None]:
    """Puts the name of a folder or .zip file before an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{printable(root)}: {error}") from error


def _open(root: Path, *, with_lr: bool) -> ImageSet:
    """Opens a folder of images, with what lies beside it if it is one of HR images."""
    if is_archive(root):
        return not_empty(Archive(root))
    named = Path(os.path.abspath(root))  # a link keeps its name, unlike with resolve()
    top, said = named, read_folder_name(named.name)
    if said.describes and read_folder_name(named.parent.name).role == "hr":
        top, said = named.parent, read_folder_name(named.parent.name)
    beside = _lr_beside(top, said) if with_lr and said.role == "hr" else []
    if beside or (said.describes and said.scale and "srf" in named.name.lower()):
        inside = named.relative_to(top.parent).as_posix()
        return not_empty(ImageSet(top.parent, [inside, *beside]))
    return open_images(root)


def _lr_beside(folder: Path, said: FolderName) -> list[str]:
    """Returns the folders of LR images beside one of HR images, by their names."""
    try:
        others = sorted(path.name for path in folder.parent.iterdir() if path.is_dir())
    except OSError:
        return []
    named = [(other, read_folder_name(other)) for other in others]
    return [
        other
        for other, lr in named
        if lr.role == "lr" and (lr.stem == said.stem or not (lr.stem and said.stem))
    ]


def _tell(images: ImageSet, layout: Layout) -> None:
    """Warns of images that are not used."""
    root = printable(images.root)
    if left_out := [*images.skipped, *layout.left_out]:
        _logger.warning("%s: left out: %s", root, "; ".join(left_out))
    made = len(layout.hr) - len(layout.lr) - len(layout.missing)
    if layout.lr and made:
        _logger.warning(
            "%s: LR images of %d HR images are made, and those of the other %d read",
            *(root, made, len(layout.lr)),
        )
    if layout.unused and len(layout.lr) + len(layout.missing) < len(layout.hr):
        folders = [
            printable(folder) + (f" ({why})" if why else "")
            for folder, why in layout.unused.items()
        ]
        _logger.warning(
            "%s: LR images are made from HR, and not taken from %s", root, ", ".join(folders)
        )
