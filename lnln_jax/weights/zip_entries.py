"""The entries of a zip archive in memory, without a copy where they are not compressed.

Python's `zipfile` copies what it reads, and takes some hundred bytes for each entry that an archive
claims. Here an entry is checked against the archive before anything is taken for it, no two may
share bytes, and what is not compressed stays where it is.
"""

import struct
import zlib
from typing import NamedTuple

from lnln_jax.weights.memory_budget import Budget

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_LONGEST_COMMENT = 2**16
_FULL16, _FULL32 = 2**16 - 1, 2**32 - 1  # the number is among those of 64 bits
_STORED, _DEFLATED = 0, 8
_ENTRY_BYTES = 400  # that an entry takes here, without its name
_CHUNK = 2**20


class Entry(NamedTuple):
    """An entry of an archive.

    Attributes:
      method: how it is compressed.
      checksum: CRC-32 of its bytes; 0 where no entry has one.
      begin: where its bytes begin in the archive.
      end: where they end.
      size: number of its bytes when they are unpacked.
    """

    method: int
    checksum: int
    begin: int
    end: int
    size: int


class ZipArchive:
    """A zip archive in memory."""

    def __init__(self, data: memoryview, budget: Budget) -> None:
        """Reads the directory.

        Args:
          data: bytes of the file.
          budget: memory that is left to the directory. What is unpacked may take twice the size of
            the archive besides.

        Raises:
          ValueError: the archive is damaged.
        """
        self._data, self._budget = data, budget
        self._unpacked = Budget(2 * len(data))
        try:
            self.entries = self._read_directory()
        except (struct.error, OverflowError) as error:  # where a number of 64 bits points
            raise ValueError("its zip archive is cut off") from error
        self._checked = any(entry.checksum for entry in self.entries.values())

    def read(self, name: str) -> memoryview:
        """Returns the bytes of an entry.

        Raises:
          ValueError: there is no such entry, or it is damaged or encrypted.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise ValueError(f"its archive lacks {name}")
        content = self._data[entry.begin : entry.end]
        if entry.method != _STORED:
            content = self._unpack(name, entry, content)
        if self._checked and zlib.crc32(content) != entry.checksum:
            raise ValueError(f"{name} has another checksum than it should have")
        return content

    def _unpack(self, name: str, entry: Entry, packed: memoryview) -> memoryview:
        """Unpacks into as many bytes as the directory says, and not one more."""
        if entry.method != _DEFLATED:
            raise ValueError(f"{name} is compressed by method {entry.method}")
        self._unpacked.take(entry.size)
        content, filled = memoryview(bytearray(entry.size)), 0
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for start in range(0, len(packed), _CHUNK):
                rest: bytes | memoryview = packed[start : start + _CHUNK]
                while rest and filled <= entry.size:
                    part = unpacker.decompress(rest, min(_CHUNK, entry.size - filled + 1))
                    content[filled : filled + len(part)] = part[: entry.size - filled]
                    filled += len(part)
                    rest = unpacker.unconsumed_tail
        except zlib.error as error:
            raise ValueError(f"{name} cannot be unpacked") from error
        if not unpacker.eof or filled != entry.size:
            raise ValueError(f"{name} does not unpack to the {entry.size} bytes that it should")
        return content

    def _read_directory(self) -> dict[str, Entry]:
        count, size, start = self._find_directory()
        if start + size > len(self._data):
            raise ValueError("its zip archive is cut off")
        entries: dict[str, Entry] = {}
        spans = []
        at = start
        for _ in range(count):
            if at >= start + size:
                raise ValueError("its zip directory is cut off")
            name, entry, span, at = self._read_entry(at)
            if name in entries:
                raise ValueError("its zip directory has two entries of one name")
            entries[name] = entry
            spans.append(span)
        spans.sort()
        ends = [0, *(end for _, end in spans)]
        if any(begin < end for (begin, _), end in zip([*spans, (start, 0)], ends, strict=True)):
            raise ValueError("its zip entries overlap")
        return entries

    def _find_directory(self) -> tuple[int, int, int]:
        """Returns the number of entries, the bytes of the directory, and where it begins."""
        tail = max(0, len(self._data) - _LONGEST_COMMENT - 22)
        at = bytes(self._data[tail:]).rfind(_END)
        if at < 0:
            raise ValueError("its zip archive is cut off")
        at += tail
        _, _, _, count, size, start, _ = struct.unpack_from("<4H2LH", self._data, at + 4)
        if count == _FULL16 or _FULL32 in (size, start):
            signature, _, place, _ = struct.unpack_from("<4sLQL", self._data, max(0, at - 20))
            if signature != _LOCATOR64 or bytes(self._data[place : place + 4]) != _END64:
                raise ValueError("its zip archive is damaged")
            count, size, start = struct.unpack_from("<3Q", self._data, place + 32)
        return count, size, start

    def _read_entry(self, at: int) -> tuple[str, Entry, tuple[int, int], int]:
        """Reads an entry of the directory; also where its bytes lie, and where the next entry."""
        fields = struct.unpack_from("<4s6H3L5H2L", self._data, at)
        signature, flags, method, checksum = fields[0], fields[3], fields[4], fields[7]
        packed, size, lengths, place = fields[8], fields[9], fields[10:13], fields[16]
        if signature != _CENTRAL:
            raise ValueError("its zip directory is damaged")
        self._budget.take(_ENTRY_BYTES + 4 * lengths[0])  # as many as a character may take
        name = str(self._data[at + 46 : at + 46 + lengths[0]], "utf-8", "replace")
        if flags & 1:
            raise ValueError(f"{name} is encrypted")
        if _FULL32 in (packed, size, place):
            extra = self._data[at + 46 + lengths[0] : at + 46 + lengths[0] + lengths[1]]
            size, packed, place = _wide(extra, size, packed, place)
        local = struct.unpack_from("<4s5H3L2H", self._data, place)
        begin = place + 30 + local[9] + local[10]
        end = begin + packed
        if local[0] != _LOCAL or end > len(self._data) or (method == _STORED and packed != size):
            raise ValueError(f"{name} is not where the zip directory says")
        entry = Entry(method, checksum, begin, end, size)
        return name, entry, (place, end), at + 46 + sum(lengths)


def _wide(extra: memoryview, *numbers: int) -> list[int]:
    """Returns numbers with those of 64 bits in place of the full ones."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{min(length, 24) // 8}Q", extra, at + 4))
            return [next(wide, number) if number == _FULL32 else number for number in numbers]
        at += 4 + length
    return list(numbers)
