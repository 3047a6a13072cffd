"""Memory that worker processes see as well: pickled, it is a reference and not a copy.

`multiprocessing.shared_memory` lies in /dev/shm, which is small in containers, and where the memory
of a killed process stays. This goes with the last process that holds it.
"""

import math
import mmap
import os
import secrets
import sys
import tempfile
from typing import Any

import numpy as np


class SharedMemory:
    """Bytes whose pages take room once they are written to, so there may be more than needed."""

    def __init__(self, size: int) -> None:
        """Reserves `size` bytes, zero."""
        self._size = max(size, 1)
        if sys.platform == "win32":  # which knows memory by name, and no file
            self._place = f"lnln-{secrets.token_hex(16)}"
        elif hasattr(os, "memfd_create"):
            self._file: Any = os.fdopen(os.memfd_create("lnln"), "r+b", buffering=0)
            self._file.truncate(self._size)
            self._place = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        else:  # other systems than Linux have a file, which goes with this object
            self._file = tempfile.NamedTemporaryFile(prefix="lnln-")  # noqa: SIM115
            self._file.truncate(self._size)
            self._place = self._file.name
        self._map()

    def _map(self) -> None:
        if sys.platform == "win32":
            memory = mmap.mmap(-1, self._size, tagname=self._place)
        else:
            memory = mmap.mmap(self._file.fileno(), self._size)
        self.bytes = np.frombuffer(memory, np.uint8)

    def array(self, start: int, shape: tuple[int, ...]) -> np.ndarray:
        """Returns a uint8 array in it, from byte `start` on."""
        size = math.prod(shape)
        return self.bytes[start : start + size].reshape(shape)

    def __getstate__(self) -> tuple[str, int]:
        return self._place, self._size

    def __setstate__(self, state: tuple[str, int]) -> None:
        self._place, self._size = state
        if sys.platform != "win32":
            self._file = open(self._place, "r+b", buffering=0)  # noqa: SIM115 (this object holds it)
        self._map()

    def __del__(self) -> None:
        # The mapping stays as long as arrays look into it.
        if hasattr(self, "_file"):
            self._file.close()
