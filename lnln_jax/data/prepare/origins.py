"""Where the images of a dataset come from: a folder, or an archive that is never unpacked."""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from lnln_jax.data.image_sets import Archive
from lnln_jax.images.files import IMAGE_SUFFIXES, read_rgb
from lnln_jax.images.listing import find_images


class Origin(NamedTuple):
    """One image file.

    Attributes:
      name: path in its folder or archive, as reports and records call it.
      stamp: text that changes with the file: size and time, or the archive's checksum of it.
      container: folder or .zip file.
      archived: whether the container is a .zip file.
    """

    name: str
    stamp: str
    container: str
    archived: bool = False

    def read(self) -> np.ndarray:
        """Reads the image, uint8 `H W 3`.

        Raises:
          ImageFileError: as `lnln_jax.images.files.read_rgb` raises it.
        """
        if not self.archived:
            return read_rgb(Path(self.container, self.name))
        with Archive(Path(self.container)) as archive:
            return archive.read(self.name)

    def shape(self) -> tuple[int, int]:
        """Reads height and width from the file's header; (0, 0) where that can't be read."""
        try:
            if not self.archived:
                return _shape(Path(self.container, self.name))
            with zipfile.ZipFile(self.container) as archive, archive.open(self.name) as file:
                return _shape(file)
        except Exception:  # damaged files make decoders raise almost anything
            return 0, 0


def in_folder(folder: Path, root: Path | None = None) -> list[Origin]:
    """Lists the images of a folder and its sub-folders, sorted; names are paths in `root`.

    Raises:
      ValueError: no such folder, or no images in it.
    """
    paths = find_images(folder)
    if not paths:
        raise ValueError(f"{folder} holds no images; give a folder of {', '.join(IMAGE_SUFFIXES)}")
    root = root or folder
    origins = []
    for path in paths:
        try:
            stat = path.stat()
            stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
        except OSError:  # a link to nowhere, which `read` will name
            stamp = ""
        origins.append(Origin(path.relative_to(root).as_posix(), stamp, str(root.resolve())))
    return origins


def in_archive(path: Path) -> list[Origin]:
    """Lists the images of a .zip file, sorted.

    Raises:
      ValueError: as `Archive` raises it; or there are no images.
    """
    with Archive(path) as archive:
        members = archive.members
    if not members:
        raise ValueError(f"{path} holds no images; it must hold {', '.join(IMAGE_SUFFIXES)}")
    return [
        Origin(member.filename, f"{member.file_size}-{member.CRC:08x}", str(path.resolve()), True)
        for member in members
    ]


def every_nth(origins: Sequence[Origin], n: int) -> tuple[list[Origin], list[Origin]]:
    """Splits off every n-th image, from the middle of the first n on; none where n is 0."""
    if not n:
        return list(origins), []
    rest = [origin for i, origin in enumerate(origins) if i % n != n // 2]
    return rest, list(origins[n // 2 :: n])


def _shape(file: Path | IO[bytes]) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever reads the image says what is wrong with it
        with Image.open(file) as image:
            return image.height, image.width
