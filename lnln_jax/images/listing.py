"""Listing the image files of a folder."""

import os
from pathlib import Path

from lnln_jax.images.files import IMAGE_SUFFIXES, ImageFileError


def find_images(root: Path) -> list[Path]:
    """Lists the image files in a folder and its sub-folders, sorted by path.

    Files are known by their suffix (`IMAGE_SUFFIXES`, in any case). Names that begin with a dot
    are left out, and links to folders are not followed.

    Raises:
      ImageFileError: `root` is not a folder, or a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise ImageFileError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    found = []
    for folder, subfolders, names in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths = (Path(folder, name) for name in names if not name.startswith("."))
        found += [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(found)
