"""Folders for libraries that read more into a path than the system does.

Orbax takes `[a]` for a pattern and `/s3/runs` for a bucket, and TensorStore `\\` for a separator;
neither takes names that are not UTF-8.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lnln_jax.runtime.files import printable

_PLAIN = re.compile(r"[\w /.,+=@()-]*")
_BUCKETS = ("gs", "s3", "az", "hf")  # below the root, they stand for "gs://" and so on
_LONGEST = 3500  # characters, of the system's 4096; what is inside the folder comes on top
_OPEN_FOLDERS = Path("/proc/self/fd")


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Gives a folder, which is there, an absolute path that any library takes literally.

    It is its own where that will do. Else it is that of the open folder, on Linux, or of a link to
    it; both hold within the block.

    Raises:
      ValueError: neither can be had.
    """
    own = folder.resolve()
    if _is_plain(own):
        yield own
    elif sys.platform != "win32" and _OPEN_FOLDERS.is_dir():
        number = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield _OPEN_FOLDERS / str(number)
        finally:
            os.close(number)
    else:
        with contextlib.ExitStack() as stack:
            try:
                place = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
                (place / "folder").symlink_to(own, target_is_directory=True)
            except OSError:
                place = own
            if not _is_plain(place):
                raise ValueError(
                    f"the path {printable(own)} has characters that checkpoints cannot be written "
                    "under on this system; choose a folder named with letters, digits, - and _"
                )
            yield place / "folder"


def _is_plain(path: Path) -> bool:
    names = path.parts[1:]  # without a drive and its colon
    return (
        all(map(_PLAIN.fullmatch, names))
        and len(str(path)) <= _LONGEST
        and not (names and names[0] in _BUCKETS)
    )
