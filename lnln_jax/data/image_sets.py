"""Image files that belong together: those of a folder, or of a .zip file that is never unpacked."""

import contextlib
import functools
import threading
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from zipfile import ZipInfo

import numpy as np
from PIL import Image

from lnln_jax.images.files import IMAGE_SUFFIXES, ImageFileError, decode_rgb, read_rgb
from lnln_jax.images.listing import find_images

_BYTES_PER_PIXEL = 8  # at most: four channels of 16 bits, uncompressed
_HEADER_BYTES = 2**20


class ImageSet(AbstractContextManager):
    """The image files of a folder and its sub-folders; several threads may read them.

    Attributes:
      root: folder of the files.
    """

    def __init__(self, root: Path) -> None:
        """Takes a folder, which is listed when it is asked for."""
        self.root = root

    @functools.cached_property
    def names(self) -> list[str]:
        """Names of the files, as paths in the folder with slashes, sorted by path.

        Raises:
          ImageFileError: `root` is not a folder, or cannot be listed.
        """
        return [path.relative_to(self.root).as_posix() for path in find_images(self.root)]

    def read(self, name: str) -> np.ndarray:
        """Reads an image as `lnln_jax.images.files.read_rgb` does: uint8 `H W 3`."""
        return read_rgb(self.root / name)

    def __exit__(self, *_: object) -> None:
        """Closes nothing."""


class Archive(ImageSet):
    """The image files in a .zip file; several threads may read them.

    They are those that `find_images` would find if it were unpacked, in that order, except what
    macOS puts into `__MACOSX`.

    Attributes:
      root: .zip file.
    """

    def __init__(self, root: Path) -> None:
        """Opens the file.

        Raises:
          ValueError: it is not a .zip file, or is damaged.
        """
        self.root = root
        try:
            self._file = zipfile.ZipFile(root)
        # NotImplementedError: of a version, or in parts, that zipfile does not know.
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{root} cannot be read as a .zip file: {error}; fetch or make it again"
            ) from error
        self._lock = threading.Lock()  # ZipFile counts its open members without one

    @functools.cached_property
    def members(self) -> list[ZipInfo]:
        """Entries of the images in the archive, in the order of `names`.

        Raises:
          ValueError: an image has a password, or a name that leads out of the archive.
        """
        found = {member.filename: member for member in self._file.infolist() if _is_image(member)}
        members = sorted(found.values(), key=lambda member: PurePosixPath(member.filename))
        for member in members:
            _check(self.root, member)
        return members

    @functools.cached_property
    def names(self) -> list[str]:
        """Names as in an `ImageSet`; listing them takes longer than reading one."""
        return [member.filename for member in self.members]

    def read(self, name: str) -> np.ndarray:
        """Reads an image as `lnln_jax.images.files.read_rgb` does: uint8 `H W 3`."""
        return decode_rgb(self._bytes(name), str(self.root / name))

    def _bytes(self, name: str) -> bytes:
        limit = Image.MAX_IMAGE_PIXELS
        size = self._file.getinfo(name).file_size
        if limit is not None and size > limit * _BYTES_PER_PIXEL + _HEADER_BYTES:
            raise ImageFileError(
                f"{self.root / name}: cannot be read: it unpacks to {size} bytes, more than an "
                f"image of {limit} pixels has"
            )
        try:
            with self._lock:
                return self._file.read(name)
        except MemoryError:
            raise
        except Exception as error:  # damaged archives make decompressors raise almost anything
            raise ImageFileError(f"{self.root / name}: cannot be read: {error}") from error

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._file.close()


def open_images(root: Path) -> ImageSet:
    """Opens a folder or a .zip file of images, as a context.

    Raises:
      ValueError: as the two classes raise it; or there are no images.
    """
    images = Archive(root) if is_archive(root) else ImageSet(root)
    with contextlib.ExitStack() as stack:
        stack.enter_context(images)
        if images.names:
            stack.pop_all()
            return images
    where = "this .zip file" if is_archive(root) else "this folder or its sub-folders"
    raise ValueError(f"{root}: no images in {where}; expected PNG, JPEG, BMP, WebP or TIFF files")


def is_archive(path: Path) -> bool:
    """Returns whether a path is a file that ends in .zip."""
    return path.suffix.lower() == ".zip" and path.is_file()


def _is_image(member: ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    return (
        path.suffix.lower() in IMAGE_SUFFIXES
        and not member.is_dir()
        and "__MACOSX" not in path.parts
        and not any(part.startswith(".") and part != ".." for part in path.parts)
    )


def _check(archive: Path, member: ZipInfo) -> None:
    """Raises ValueError for an image that is not to be read."""
    parts = member.filename.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or parts[0].endswith(":"):
        raise ValueError(
            f"{archive} has an image named {member.filename}, which leads out of the archive; make "
            "it again with paths in its folder"
        )
    if member.flag_bits & 1:
        raise ValueError(
            f"{archive} has a password on {member.filename}; make it again without one"
        )
