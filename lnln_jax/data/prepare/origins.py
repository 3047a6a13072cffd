"""Where the images of a dataset come from: a folder, or an archive that is never unpacked."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lnln_jax.data.image_sets import ImageSet, open_image_set


class Origin(NamedTuple):
    """One image file.

    Attributes:
      name: path in its folder or archive, as reports and records call it.
      stamp: text that changes with the file: size and time, or the archive's checksum of it.
      container: folder or .zip file.
    """

    name: str
    stamp: str
    container: str

    def read(self) -> np.ndarray:
        """Reads the image, uint8 `H W 3`.

        Raises:
          ImageFileError: as `lnln_jax.images.files.read_rgb` raises it.
        """
        return _opened(self.container).read(self.name)

    def shape(self) -> tuple[int, int]:
        """Reads height and width from the file's header; (0, 0) where that can't be read."""
        return _opened(self.container).size(self.name) or (0, 0)


@functools.lru_cache(maxsize=4)
def _opened(container: str) -> ImageSet:
    """Opens a folder or .zip file once in a process: a large archive takes a while to list."""
    return open_image_set(Path(container))


def origins_of(images: ImageSet, names: Iterable[str]) -> list[Origin]:
    """Returns images of a folder or .zip file."""
    container = str(images.root.resolve())
    return [Origin(name, images.stamp(name), container) for name in names]


def every_nth(origins: Sequence[Origin], n: int) -> tuple[list[Origin], list[Origin]]:
    """Splits off every n-th image, from the middle of the first n on; none where n is 0."""
    if not n:
        return list(origins), []
    rest = [origin for i, origin in enumerate(origins) if i % n != n // 2]
    return rest, list(origins[n // 2 :: n])
