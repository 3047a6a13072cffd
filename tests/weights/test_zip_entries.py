"""Zip archives whose directory lies: nothing is taken for what an archive only claims."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from lnln_jax.weights.memory_budget import Budget
from lnln_jax.weights.zip_entries import ZipArchive

DATA = np.random.default_rng(0).bytes(5000)
MEBIBYTE = 2**20


def packed(entries, compression=zipfile.ZIP_STORED, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data, **options)
    return file.getvalue()


def archive_of(content, budget=MEBIBYTE):
    return ZipArchive(memoryview(content), Budget(budget))


def refused(content, name="a"):
    """The message of an archive, or of an entry of it, that cannot be read; it costs nothing."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as error:  # noqa: PT011 (the caller looks at the message)
            archive_of(content).read(name)
        assert tracemalloc.get_traced_memory()[1] < len(content) + MEBIBYTE
    finally:
        tracemalloc.stop()
    return str(error.value)


def directory_entry(content, index=0):
    """Where an entry of the directory begins."""
    at = -1
    for _ in range(index + 1):
        at = content.index(b"PK\x01\x02", at + 1)
    return at


def with_field(content, at, layout, value):
    changed = bytearray(content)
    struct.pack_into(layout, changed, at, value)
    return bytes(changed)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 10], ids=["zip", "zip64"])
def test_entries_are_read(compression, limit, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    content = packed({"a": DATA, "folder/é": b"", "c": DATA[:7]}, compression)
    assert (b"PK\x06\x07" in content) == (limit == 10)
    archive = archive_of(content)
    assert list(archive.entries) == ["a", "folder/é", "c"]
    assert [bytes(archive.read(name)) for name in archive.entries] == [DATA, b"", DATA[:7]]


def test_what_is_not_compressed_is_not_copied():
    content = packed({"a": DATA})
    read = np.frombuffer(archive_of(content).read("a"), np.uint8)
    assert np.shares_memory(read, np.frombuffer(content, np.uint8))


def test_other_kinds_of_entries_are_refused():
    assert refused(packed({"a": DATA}), "b") == "its archive lacks b"
    assert refused(packed({"a": DATA}, zipfile.ZIP_BZIP2)) == "a is compressed by method 12"
    content = packed({"a": DATA})
    at = directory_entry(content)
    assert refused(with_field(content, at + 8, "<H", 1)) == "a is encrypted"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_bit_is_seen(compression):
    content = packed({"a": DATA}, compression)
    changed = bytearray(content)
    changed[2000] ^= 4
    assert refused(bytes(changed)) in (
        "a has another checksum than it should have",
        "a cannot be unpacked",
    )


@pytest.mark.parametrize("size", [5001, 4999, 2**31, 0])
def test_sizes_that_are_not_true(size):
    content = packed({"a": DATA}, zipfile.ZIP_DEFLATED)
    message = refused(with_field(content, directory_entry(content) + 24, "<L", size))
    assert message.startswith(("a does not unpack to the", "it would take far more memory"))
    content = packed({"a": DATA, "b": DATA})
    message = refused(with_field(content, directory_entry(content) + 24, "<L", size))
    assert message == "a is not where the zip directory says"


def test_a_bomb_is_not_unpacked():
    bomb = packed({"a": bytes(10**8)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10**5
    assert refused(bomb) == "it would take far more memory than its size"
    modest = with_field(bomb, directory_entry(bomb) + 24, "<L", len(bomb))
    assert refused(modest) == f"a does not unpack to the {len(bomb)} bytes that it should"


def test_several_entries_cannot_unpack_more_than_one_could():
    content = packed(dict.fromkeys("abcdef", bytes(1000)), zipfile.ZIP_DEFLATED)
    archive = archive_of(content)
    archive.read("a")
    with pytest.raises(ValueError, match="far more memory"):
        [archive.read(name) for name in "bcdef"]


def test_entries_that_share_bytes_are_refused():
    content = packed({"a": DATA, "b": DATA})
    first, second = (directory_entry(content, i) for i in (0, 1))
    place = struct.unpack_from("<L", content, first + 42)[0]
    changed = with_field(content, second + 42, "<L", place)
    assert refused(changed) == "its zip entries overlap"
    doubled = content.replace(b"b", b"a")
    assert refused(doubled) == "its zip directory has two entries of one name"


def test_a_directory_of_nothing_takes_no_memory():
    """A million entries of 46 bytes that all name the same place."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 16)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *[0] * 10)
    content = local + entry * 10**5
    content += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 46 * 10**5, 30, 0)
    assert "two entries" in refused(content) or "damaged" in refused(content)
    names = [struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 9, 4, *[0] * 6) for _ in range(60000)]
    named = b"".join(e + f"{i:04x}".encode() for i, e in enumerate(names))
    content = local + named
    content += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 60000, 60000, len(named), 30, 0)
    assert refused(content) == "it would take far more memory than its size"


@pytest.mark.parametrize("place", [2**63 - 1, 2**64 - 1])
def test_a_place_behind_all_memory_is_refused(place):
    content = packed({"a": DATA})
    start, end = directory_entry(content), content.index(b"PK\x05\x06")
    entry = content[start:end] + struct.pack("<2HQ", 1, 8, place)
    entry = with_field(with_field(entry, 42, "<L", 2**32 - 1), 30, "<H", 12)
    tail = with_field(content[end:], 12, "<L", len(entry))
    assert refused(content[:start] + entry + tail) == "its zip archive is cut off"


def test_names_are_held_to_the_budget():
    """One wide character makes all of them so."""
    content = packed({"\U0001f600" + "a" * 60_000: b""})
    with pytest.raises(ValueError, match="far more memory"):
        archive_of(content, 10**5)


def test_every_truncation_is_refused():
    content = packed({"a": DATA[:50], "b": DATA[:20]})
    for length in range(len(content)):
        assert refused(content[:length])


def test_archives_without_checksums_are_read():
    """PyTorch writes them, if it is told to."""
    content = packed({"a": DATA, "b": DATA[:9]})
    for index in (0, 1):
        content = with_field(content, directory_entry(content, index) + 16, "<L", 0)
    assert bytes(archive_of(content).read("a")) == DATA
