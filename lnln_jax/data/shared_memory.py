"""Memory that worker processes see as well: pickled, it is a reference and not a copy.

`multiprocessing.shared_memory` lies in /dev/shm, which is small in containers, and where the memory
of a killed process stays. This goes with the last process that holds it.
"""

import math
import mmap
import os
import tempfile
from typing import Any

import numpy as np


class SharedMemory:
    """Bytes whose pages take room once they are written to, so there may be more than needed."""

    def __init__(self, size: int) -> None:
        """Reserves `size` bytes, zero."""
        if hasattr(os, "memfd_create"):
            self._file: Any = os.fdopen(os.memfd_create("lnln"), "r+b", buffering=0)
            self._path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        else:  # other systems than Linux have a file, which goes with this object
            self._file = tempfile.NamedTemporaryFile(prefix="lnln-")  # noqa: SIM115
            self._path = self._file.name
        self._file.truncate(max(size, 1))
        self._map()

    def _map(self) -> None:
        self.bytes = np.frombuffer(mmap.mmap(self._file.fileno(), 0), np.uint8)

    def array(self, start: int, shape: tuple[int, ...]) -> np.ndarray:
        """A uint8 array in it, from byte `start` on."""
        size = math.prod(shape)
        return self.bytes[start : start + size].reshape(shape)

    def __getstate__(self) -> str:
        return self._path

    def __setstate__(self, path: Any) -> None:
        self._path = path
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115 (held as long as this object)
        self._map()

    def __del__(self) -> None:
        # The mapping stays as long as arrays look into it.
        if hasattr(self, "_file"):
            self._file.close()
