"""What is checked of a download, full disks, and progress."""

import itertools
import os
from types import SimpleNamespace

import pytest

from lnln_jax.data.prepare.download import DownloadError
from tests.support import downloads
from tests.support.downloads import (
    CONTENT,
    SIZE,
    assert_whole,
    fetch,
    leave_partial,
    partial_of,
    sha256_of,
)

server, path, quick = downloads.server, downloads.path, downloads.quick


# ---- verification ----


def test_a_file_that_is_there_is_not_fetched(server, path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    fetch(server, path)
    assert_whole(path)
    assert server.asked == []


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"size": 7}, f"has {SIZE} bytes, expected 7"),
        ({"sha256": "00"}, f"has SHA-256 {sha256_of(CONTENT)}, expected 00"),
    ],
)
def test_a_wrong_file_that_is_there_is_kept(server, path, expected, message):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    with pytest.raises(DownloadError, match=rf"manual/DIV2K\.zip {message}; remove it"):
        fetch(server, path, **expected)
    assert_whole(path)
    assert server.asked == []


def test_a_wrong_sha256_removes_what_was_sent(server, path):
    message = f"{server.url} sent has SHA-256 {sha256_of(CONTENT)}, expected 00, and was removed"
    with pytest.raises(DownloadError, match=message):
        fetch(server, path, sha256="00")
    assert list(path.parent.iterdir()) == []


def test_a_wrong_size_is_found_before_the_first_byte(server, path):
    leave_partial(server, path, 1000)
    with pytest.raises(DownloadError, match=f"it has {SIZE} bytes, expected 2000; check the"):
        fetch(server, path, size=2000)
    assert partial_of(path).stat().st_size == 1000


def test_an_answer_of_unknown_length(server, path):
    server.framing = "chunked"
    with pytest.raises(DownloadError, match=f"has {SIZE} bytes, expected 2000, and was removed"):
        fetch(server, path, size=2000)
    assert list(path.parent.iterdir()) == []
    calls = []
    fetch(server, path, progress=lambda *call: calls.append(call))
    assert_whole(path)
    assert {total for _, total in calls} == {SIZE}
    assert calls[-1] == (SIZE, SIZE)


# ---- disks ----


def test_too_little_space(server, path, monkeypatch):
    leave_partial(server, path, 1000)
    usage = SimpleNamespace(free=SIZE - 1001)
    monkeypatch.setattr("lnln_jax.data.prepare.download.shutil.disk_usage", lambda _: usage)
    message = f"{SIZE - 1000} bytes are needed in {path.parent}, {SIZE - 1001} are free; free some"
    with pytest.raises(DownloadError, match=message):
        fetch(server, path)
    assert partial_of(path).stat().st_size == 1000
    usage.free += 1
    fetch(server, path)
    assert_whole(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_disk_that_gets_full(server, path, monkeypatch):
    # The device is one for all: another run of this test may hold it.
    monkeypatch.setattr("lnln_jax.data.prepare.download.try_lock", lambda _: True)
    path.parent.mkdir()
    partial_of(path).symlink_to("/dev/full")
    message = f"No space left on device; free some space, and run the same .* 0 of {SIZE} bytes"
    with pytest.raises(DownloadError, match=message):
        fetch(server, path)
    assert partial_of(path).is_symlink()
    assert len(server.asked) == 1


# ---- progress ----


def test_progress_is_shown_from_where_it_goes_on(server, path, monkeypatch):
    monkeypatch.setattr("lnln_jax.data.prepare.download._PROGRESS_INTERVAL", 0.0)
    leave_partial(server, path, 1000)
    server.pace = (10_000, 0.001)
    calls = []
    fetch(server, path, progress=lambda *call: calls.append(call))
    assert calls[0][0] > 1000
    assert all(before < after for before, after in itertools.pairwise(calls))
    assert {total for _, total in calls} == {SIZE}
    assert calls[-1] == (SIZE, SIZE)


def test_progress_is_shown_now_and_then(server, path, monkeypatch):
    monkeypatch.setattr("lnln_jax.data.prepare.download._PROGRESS_INTERVAL", float("inf"))
    server.pace = (10_000, 0.001)
    calls = []
    fetch(server, path, progress=lambda *call: calls.append(call))
    assert len(calls) <= 2
    assert calls[-1] == (SIZE, SIZE)
