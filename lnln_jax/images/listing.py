"""Listing the image files of a folder, and what else a user may have meant by it."""

import collections
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lnln_jax.images.files import IMAGE_SUFFIXES, ImageFileError
from lnln_jax.runtime.files import printable

# Files that a user takes for pictures; those that can be read count as images.
_PICTURES = """
apng avif avifs bmp cur dds dib djvu exr fits flif gif hdr heic heics heif heifs hif icns ico j2c
j2k jfi jfif jp2 jpc jpe jpeg jpf jpg jph jpm jpx jxl jxr mng mpo pam pbm pcx pfm pgm png pnm ppm
qoi ras sgi tga tif tiff webp xbm xpm
3fr arw cr2 cr3 crw dcr dng erf iiq k25 kdc mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f
ai clip dcm emf eps kra ora pdf psb psd svg svgz wmf xcf
3gp avi m4v mkv mov mp4 mpeg mpg webm wmv
"""
# Files that a user takes for pictures: images, of cameras, of programs, videos.
PICTURE_SUFFIXES = frozenset(IMAGE_SUFFIXES) | {f".{name}" for name in _PICTURES.split()}
_MOST_NAMED = 3  # folders without permission that are told by name


class Listing(NamedTuple):
    """The images of a folder, and what was left out.

    Attributes:
      images: image files, sorted by path.
      left_out: number of files by the kind that is not read, such as ".heic".
      links: links to folders.
      unread: folders that cannot be listed, each with the reason.
    """

    images: list[Path]
    left_out: Mapping[str, int]
    links: list[Path]
    unread: list[tuple[Path, str]]


def list_images(root: Path) -> Listing:
    """Lists the image files in a folder and its sub-folders.

    Images are known by their suffix (`IMAGE_SUFFIXES`, in any case). Links to folders are not
    followed: they may lead out of the folder, or back. What begins with a dot, and files that do
    not look like pictures (`PICTURE_SUFFIXES`), are left out without a word.

    Raises:
      ImageFileError: `root` is not a folder, or cannot be listed.
    """
    images: list[Path] = []
    left_out: collections.Counter[str] = collections.Counter()
    links: list[Path] = []
    unread: list[tuple[Path, str]] = []
    folders = [Path(root)]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            reason = error.strerror or str(error)
            if folder == Path(root):
                raise ImageFileError(f"{printable(root)}: cannot be listed: {reason}") from error
            unread.append((folder, reason))
            continue
        for entry in found:
            path, kind = Path(entry.path), _kind(entry)
            suffix = path.suffix.lower()
            if kind == "folder":
                folders.append(path)
            elif kind == "link":
                links.append(path)
            elif suffix in IMAGE_SUFFIXES and kind == "file":
                images.append(path)
            elif suffix in IMAGE_SUFFIXES:
                left_out[f"{suffix} (not a file)"] += 1
            elif suffix in PICTURE_SUFFIXES:
                left_out[suffix] += 1
    return Listing(sorted(images), left_out, sorted(links), sorted(unread))


def find_images(root: Path) -> list[Path]:
    """Returns the images that `list_images` finds, sorted by path.

    Raises:
      ImageFileError: as for `list_images`.
    """
    return list_images(root).images


def skipped(listings: Sequence[Listing]) -> list[str]:
    """Returns what was left out, a phrase for each kind: ["3 .heic", "2 linked folders"]."""
    kinds: collections.Counter[str] = collections.Counter()
    for listing in listings:
        kinds.update(listing.left_out)
    phrases = [f"{number} {kind}" for kind, number in sorted(kinds.items())]
    if links := sum(len(listing.links) for listing in listings):
        phrases.append(f"{links} linked folder{'s' if links > 1 else ''}")
    unread = [each for listing in listings for each in listing.unread]
    phrases += [f"{printable(path)} ({reason})" for path, reason in unread[:_MOST_NAMED]]
    if more := len(unread[_MOST_NAMED:]):
        phrases.append(f"{more} more that cannot be listed")
    return phrases


def _kind(entry: os.DirEntry[str]) -> str:
    """Returns "folder", "link" (to a folder), "file", or "other", such as a pipe.

    A link that leads nowhere, or in a circle, counts as a file, so that reading it tells.
    """
    if sys.version_info >= (3, 12) and entry.is_junction():  # Windows' links to folders
        return "link"
    try:
        if entry.is_dir():
            return "folder" if entry.is_dir(follow_symlinks=False) else "link"
        return "file" if entry.is_file() or not os.path.exists(entry) else "other"
    except OSError:
        return "file"
