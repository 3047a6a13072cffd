"""The two formats of `torch.save`: what a file holds, with arrays that have not been read.

A zip archive has a pickle in `NAME/data.pkl`, the bytes of storages in `NAME/data/KEY`, and their
byte order in `NAME/byteorder`. The older format is a row of pickles (a magic number, the version of
the format, facts about the system, the contents, the keys of storages) and, after them, for each
key the count of its numbers in 8 bytes and the numbers, least byte first.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from lnln_jax.runtime.files import excerpt, printable
from lnln_jax.weights.memory_budget import Budget
from lnln_jax.weights.pickle_machine import Unpickler
from lnln_jax.weights.torch_tensors import CALLS, Storage, load_storage
from lnln_jax.weights.zip_entries import ZipArchive

_MAPPED_BYTES = 2**20  # of a file from which on it is mapped
_ALLOWANCE = 2**25  # bytes that the objects of a small file may take: ten thousand arrays
_LONGEST_REASON = 200  # characters
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
      tree: objects of the file; arrays are `torch_tensors.Tensor`.
      first_unknown: first name that the file wants called and that is not called, or None.
      budget: memory that is left to what is made of the objects.
    """

    tree: Any
    first_unknown: str | None
    budget: Budget


def read_contents(path: Path) -> Contents:
    """Reads what a file of `torch.save` holds.

    Args:
      path: file, which is mapped if it is large: it must not be written to as long as its arrays
        are used.

    Raises:
      ValueError: it is empty, damaged or of another kind.
    """
    data = _map_file(path)
    budget = Budget(len(data) + _ALLOWANCE)
    if not len(data):
        raise ValueError(f"{printable(path)} is empty; download it again")
    if bytes(data[:2]) == b"PK":
        return _read_zip(path, data, budget)
    if bytes(data[:1]) != b"\x80" and not bytes(data[:30]).startswith(b"L%dL\n" % _MAGIC):
        raise ValueError(
            f"{printable(path)} is not a PyTorch file; it begins with {bytes(data[:20])!r}"
        )
    return _read_legacy(path, data, budget)


def damaged(path: Path, reason: object) -> ValueError:
    """Returns what to raise for a file that cannot be read."""
    text = excerpt(str(reason), _LONGEST_REASON)  # may quote the file
    return ValueError(f"{printable(path)} is damaged or incomplete ({text}); download it again")


def _map_file(path: Path) -> memoryview:
    """Returns a file's bytes, which are read when they are asked for if they are many."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) >= _MAPPED_BYTES:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        file.seek(0)
        return memoryview(file.read())


# ---- zip ----


class _ZipSource:
    """The storages of a zip archive."""

    def __init__(self, archive: ZipArchive, folder: str) -> None:
        self._archive, self._folder = archive, folder
        self._contents: dict[str, memoryview] = {}
        order = f"{folder}byteorder"
        self.big_endian = order in archive.entries and bytes(archive.read(order)) == b"big"

    def content(self, key: str) -> memoryview:
        """Returns the bytes of a storage (see `torch_tensors.Source`)."""
        if key not in self._contents:
            self._contents[key] = self._archive.read(f"{self._folder}data/{key}")
        return self._contents[key]


def _read_zip(path: Path, data: memoryview, budget: Budget) -> Contents:
    try:
        archive = ZipArchive(data, budget)
    except ValueError as error:
        raise damaged(path, error) from error
    folders = {name.rpartition("/")[2]: name.rpartition("/")[0] for name in archive.entries}
    if "constants.pkl" in folders:
        raise ValueError(
            f"{printable(path)} is a TorchScript archive, which holds a program; load it with "
            'torch.jit.load, torch.save(model.state_dict(), "weights.pt"), and take that'
        )
    if "data.pkl" not in folders:
        raise ValueError(f"{printable(path)} is a zip archive, but not one that torch.save wrote")
    folder = f"{folders['data.pkl']}/" if folders["data.pkl"] else ""
    try:
        source = _ZipSource(archive, folder)
        unpickler = Unpickler(
            archive.read(f"{folder}data.pkl"),
            budget,
            calls=CALLS,
            persistent=lambda saved: load_storage(source, saved),
        )
        return Contents(unpickler.load(), unpickler.first_unknown, budget)
    except ValueError as error:
        raise damaged(path, error) from error


# ---- the older format ----


class _LegacySource:
    """The storages behind the pickles of an older file."""

    big_endian = False  # whatever the system that wrote it

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._widths: dict[str, int] = {}
        self._contents: dict[str, memoryview] = {}

    def load(self, saved: Any) -> Any:
        """Returns what stands for a persistent id, and keeps how wide a storage's numbers are."""
        loaded = load_storage(self, saved)
        if isinstance(loaded, Storage):
            width = self._widths.setdefault(loaded.key, loaded.dtype.itemsize)
            if width != loaded.dtype.itemsize:
                raise ValueError(f"storage {loaded.key} has two dtypes")
        return loaded

    def locate(self, keys: Any, at: int) -> None:
        """Finds the storages.

        Args:
          keys: keys of storages in their order, as the file has them.
          at: where the first one begins.
        """
        if not isinstance(keys, list):
            raise ValueError("its storages have no keys")
        for key in keys:
            if not isinstance(key, str) or key not in self._widths:
                raise ValueError("it has storages that no array is in")
            (count,) = struct.unpack_from("<q", self._data, at)
            end = at + 8 + count * self._widths[key]
            if not at + 8 <= end <= len(self._data):
                raise ValueError("its storages end behind the end of the file")
            self._contents[key] = self._data[at + 8 : end]
            at = end

    def content(self, key: str) -> memoryview:
        """Returns the bytes of a storage (see `torch_tensors.Source`)."""
        if key not in self._contents:
            raise ValueError(f"storage {key} is missing")
        return self._contents[key]


def _read_legacy(path: Path, data: memoryview, budget: Budget) -> Contents:
    source = _LegacySource(data)
    unpickler = Unpickler(data, budget, calls=CALLS, persistent=source.load)
    try:
        magic = unpickler.load()
        if magic == _MAGIC:
            if unpickler.load() != _VERSION:
                raise ValueError("its format is unknown")
            unpickler.load()  # facts about the system
            tree = unpickler.load()
            first_unknown = unpickler.first_unknown
            source.locate(unpickler.load(), unpickler.position)
            return Contents(tree, first_unknown, budget)
    except (ValueError, struct.error) as error:
        raise damaged(path, error) from error
    raise ValueError(
        f"{printable(path)} is a pickle, but not one that torch.save wrote; load it where it is "
        'from, torch.save(model.state_dict(), "weights.pt"), and take that'
    )
