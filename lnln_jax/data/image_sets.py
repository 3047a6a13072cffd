"""Image files that belong together: those of a folder, or of a .zip file that is never unpacked."""

import collections
import contextlib
import functools
import io
import threading
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import ZipInfo

import numpy as np
from PIL import Image

from lnln_jax.images.files import (
    IMAGE_SUFFIXES,
    ImageFileError,
    decode_photo,
    read_photo,
    read_rgb,
    to_rgb,
)
from lnln_jax.images.library import guarded
from lnln_jax.images.listing import PICTURE_SUFFIXES, Listing, list_images, skipped
from lnln_jax.images.photo import Photo
from lnln_jax.runtime.files import printable

_BYTES_PER_PIXEL = 8  # at most: four channels of 16 bits, uncompressed
_HEADER_BYTES = 2**20
_ORIENTATION = 0x0112  # of EXIF; from 5 on, height and width change places
_READ = frozenset(IMAGE_SUFFIXES)


class ImageSet(AbstractContextManager):
    """The image files of a folder and its sub-folders; several threads may read them.

    Attributes:
      root: folder of the files.
    """

    def __init__(self, root: Path, within: Sequence[str] = ("",)) -> None:
        """Takes a folder, or some folders in it, which are listed when they are asked for."""
        self.root = root
        self._within = within

    @functools.cached_property
    def names(self) -> list[str]:
        """Names of the files, as paths in the folder with slashes, sorted by path.

        Raises:
          ImageFileError: `root` is not a folder, or cannot be listed.
        """
        paths = sorted(path for listing in self._listings for path in listing.images)
        return [path.relative_to(self.root).as_posix() for path in paths]

    @property
    def skipped(self) -> list[str]:
        """What was left out, a phrase for each kind: ["3 .heic", "2 linked folders"]."""
        return skipped(self._listings)

    @functools.cached_property
    def _listings(self) -> list[Listing]:
        return [list_images(self.root / folder) for folder in self._within]

    def read(self, name: str) -> np.ndarray:
        """Reads an image as `lnln_jax.images.files.read_rgb` does: uint8 `H W 3`."""
        return read_rgb(self.root / name)

    def photo(self, name: str) -> Photo:
        """Reads an image as `lnln_jax.images.files.read_photo` does, without metadata."""
        return read_photo(self.root / name, metadata=False)

    def size(self, name: str) -> tuple[int, int] | None:
        """Returns height and width of an upright image by its header; None where it shows none."""
        try:
            with self._opened(name) as file:
                return header_size(file)
        except Exception:  # damaged files make decoders raise almost anything
            return None

    def stamp(self, name: str) -> str:
        """Returns text that changes with a file: its size and time."""
        try:
            stat = (self.root / name).stat()
            return f"{stat.st_size}-{stat.st_mtime_ns}"
        except OSError:  # a link to nowhere, which `read` will name
            return ""

    def _opened(self, name: str) -> IO[bytes]:
        return (self.root / name).open("rb")

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
                f"{printable(root)} cannot be read as a .zip file: {error}; fetch or make it again"
            ) from error
        self._lock = threading.Lock()  # ZipFile counts its open members without one

    @functools.cached_property
    def names(self) -> list[str]:
        """Names as in an `ImageSet`; listing them takes longer than reading one.

        Raises:
          ValueError: an image has a password, or a name that leads out of the archive.
        """
        return sorted(self._members, key=PurePosixPath)

    @functools.cached_property
    def _members(self) -> dict[str, ZipInfo]:
        """Entries of images by their names with slashes, which some programs write otherwise."""
        found = {}
        for member in self._file.infolist():
            name = member.filename.replace("\\", "/")
            if _is_image(name):
                _check(self.root, member)
                found[name] = member
        return found

    @property
    def skipped(self) -> list[str]:
        """What was left out, a phrase for each kind, as in an `ImageSet`."""
        paths = map(PurePosixPath, self._file.namelist())
        suffixes = [path.suffix.lower() for path in paths if _is_seen(path)]
        left_out = collections.Counter(s for s in suffixes if s in PICTURE_SUFFIXES - _READ)
        return skipped([Listing([], left_out, [], [])])

    def read(self, name: str) -> np.ndarray:
        """Reads an image as `lnln_jax.images.files.read_rgb` does: uint8 `H W 3`."""
        return to_rgb(self.photo(name))

    def photo(self, name: str) -> Photo:
        """Reads an image as `lnln_jax.images.files.read_photo` does, up to Pillow's limit."""
        return decode_photo(self._bytes(name), str(self.root / name))

    def stamp(self, name: str) -> str:
        """Returns text that changes with a file: its size, and the checksum in the archive."""
        member = self._members[name]
        return f"{member.file_size}-{member.CRC:08x}"

    def _opened(self, name: str) -> IO[bytes]:
        return io.BytesIO(self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        limit = Image.MAX_IMAGE_PIXELS
        size = self._members[name].file_size
        if limit is not None and size > limit * _BYTES_PER_PIXEL + _HEADER_BYTES:
            raise ImageFileError(
                f"{printable(self.root / name)}: cannot be read: it unpacks to {size} bytes, more "
                f"than an image of {limit} pixels has"
            )
        try:
            with self._lock:
                return self._file.read(self._members[name])
        except MemoryError:
            raise
        except Exception as error:  # damaged archives make decompressors raise almost anything
            raise ImageFileError(
                f"{printable(self.root / name)}: cannot be read: {error}"
            ) from error

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._file.close()


def open_images(root: Path) -> ImageSet:
    """Opens a folder or a .zip file of images, as a context.

    Raises:
      ValueError: as the two classes raise it; or there are no images.
    """
    return not_empty(open_image_set(root))


def open_image_set(root: Path) -> ImageSet:
    """Opens the same, with or without images."""
    return Archive(root) if is_archive(root) else ImageSet(root)


def not_empty(images: ImageSet) -> ImageSet:
    """Returns image files if there are any, and closes them otherwise.

    Raises:
      ValueError: there are none.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(images)
        if images.names:
            stack.pop_all()
            return images
        besides = f", only {', '.join(images.skipped)}" if images.skipped else ""
    where = "this .zip file" if isinstance(images, Archive) else "this folder or its sub-folders"
    raise ValueError(
        f"{printable(images.root)}: no images in {where}{besides}; expected files that end in "
        f"{', '.join(IMAGE_SUFFIXES)}"
    )


def reason_of(error: ImageFileError, path: Path) -> str:
    """Returns what is wrong with an image, without its path, which the error begins with."""
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{printable(path)}: ")


def header_size(file: IO[bytes]) -> tuple[int, int]:
    """Reads height and width of an upright image from the header of its file.

    Raises:
      Exception: it is damaged; decoders raise almost anything then.
    """
    # Whoever reads the image says what is wrong with it.
    with guarded(None, lambda warning: None), Image.open(file) as image:
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def may_hold_images(path: Path) -> bool:
    """Returns whether a path is a folder, or a file that ends in .zip."""
    return path.is_dir() or is_archive(path)


def is_archive(path: Path) -> bool:
    """Returns whether a path is a file that ends in .zip."""
    return path.suffix.lower() == ".zip" and path.is_file()


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _READ and not name.endswith("/") and _is_seen(path)


def _is_seen(path: PurePosixPath) -> bool:
    """Returns whether an entry is neither hidden nor of those that macOS adds."""
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    return not hidden and "__MACOSX" not in path.parts


def _check(archive: Path, member: ZipInfo) -> None:
    """Raises ValueError for an image that is not to be read."""
    parts = member.filename.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or parts[0].endswith(":"):
        raise ValueError(
            f"{printable(archive)} has an image named {printable(member.filename)}, which leads "
            "out of the archive; make it again with paths in its folder"
        )
    if member.flag_bits & 1:
        raise ValueError(
            f"{printable(archive)} has a password on {printable(member.filename)}; make it again "
            "without one"
        )
