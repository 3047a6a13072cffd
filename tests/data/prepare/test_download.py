"""Downloads that are killed, cut, refused or begun by another call."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lnln_jax.data.prepare.download import DownloadError, download
from tests.support import downloads
from tests.support.downloads import (
    CONTENT,
    OTHER,
    SIZE,
    assert_whole,
    bytes_of,
    fetch,
    leave_partial,
    partial_of,
    sha256_of,
)
from tests.support.http_server import MIB

server, path, quick = downloads.server, downloads.path, downloads.quick


# ---- a real process that is killed ----


def start_process(url: str, path: Path, size: int, sha256: str) -> subprocess.Popen:
    program = (
        "from pathlib import Path; from lnln_jax.data.prepare.download import download; "
        f"download({url!r}, Path({str(path)!r}), size={size}, sha256={sha256!r})"
    )
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


def test_a_killed_process_is_gone_on_from_by_the_next(server, path):
    server.content = content = bytes_of("large", 8 * MIB)
    server.pace = (MIB // 16, 0.01)
    server.cuts, server.ending = [6 * MIB], "hang"  # however slow this machine is, it can't finish
    arguments = (server.url, path, len(content), sha256_of(content))
    with start_process(*arguments) as first:
        while not partial_of(path).exists() or partial_of(path).stat().st_size < 2 * MIB:
            assert first.poll() is None, first.stderr.read()
            time.sleep(0.005)
        with pytest.raises(DownloadError, match=r"another process is downloading to .*\.partial"):
            fetch(server, path)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    kept = partial_of(path).stat().st_size
    assert 2 * MIB <= kept < len(content)
    assert not path.exists()

    server.pace = None
    with start_process(*arguments) as second:
        assert second.wait() == 0, second.stderr.read()
    assert_whole(path, content)
    assert server.asked == [None, f"bytes={kept}-"]
    assert server.served < len(content) + MIB


# ---- connections and servers that fail ----


def test_a_download(server, path):
    download(server.url, path, size=SIZE, sha256=sha256_of(CONTENT).upper())
    assert_whole(path)
    assert server.asked == [None]


def test_answers_that_are_cut_cost_no_byte(server, path):
    server.cuts = [1000, 2000, 50_000, 1, 7]  # more than there may be attempts without progress
    fetch(server, path, attempts=2)
    assert_whole(path)
    starts = (1000, 3000, 53_000, 53_001, 53_008)
    assert server.asked == [None, *(f"bytes={start}-" for start in starts)]
    assert server.served == SIZE


@pytest.mark.parametrize("ending", ["reset", "hang"])
def test_connections_that_break(server, path, ending):
    server.cuts = [100_000, 100_000]
    server.ending = ending
    fetch(server, path, timeout=0.2)
    assert_whole(path)
    assert len(server.asked) >= 3


def test_an_answer_that_ends_early_without_telling(server, path):
    server.framing = "close"
    server.cuts = [1000]
    fetch(server, path)
    assert_whole(path)
    assert server.asked == [None, "bytes=1000-"]


def test_no_answer(server, path):
    server.statuses = [0]
    fetch(server, path, timeout=0.2)
    assert_whole(path)
    assert server.asked == [None, None]


def test_the_waits_between_attempts(server, path, monkeypatch):
    waits = []
    monkeypatch.setattr("lnln_jax.data.prepare.download._BACKOFF", 1.0)
    clock = SimpleNamespace(sleep=waits.append, monotonic=time.monotonic)
    monkeypatch.setattr("lnln_jax.data.prepare.download.time", clock)
    server.statuses = [500, 503, 429, 500]
    server.cuts = [1000]
    fetch(server, path)
    assert waits == [1, 2, 4, 8, 1]  # the fifth attempt had got 1000 bytes
    assert_whole(path)


def test_a_server_that_stays_busy(server, path):
    leave_partial(server, path, 1000)
    server.statuses = [503] * 3
    reason = "HTTP 503 Service Unavailable; run the same command again: it goes on from 1000 of"
    message = re.escape(f"cannot download {server.url}: {reason} {SIZE} bytes")
    with pytest.raises(DownloadError, match=message):
        fetch(server, path, attempts=3)
    assert len(server.asked) == 3
    fetch(server, path)
    assert_whole(path)
    assert server.asked[3:] == ["bytes=1000-"]


def test_no_server(path):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and doesn't listen
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        with pytest.raises(DownloadError, match=f"{url}: .*refused.*; run the same command again"):
            download(url, path, size=SIZE, sha256="00")
    assert not path.exists()


@pytest.mark.parametrize("status", [403, 404])
def test_what_cannot_be_had_is_asked_for_once(server, path, status):
    leave_partial(server, path, 1000)
    server.statuses = [status]
    with pytest.raises(DownloadError, match=f"{server.url}: HTTP {status} .*check the address"):
        fetch(server, path)
    assert len(server.asked) == 1
    assert partial_of(path).stat().st_size == 1000


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.zip", "a.zip", "http://"])
def test_no_address(path, url):
    with pytest.raises(DownloadError, match=f"cannot download {url}: .*check the address"):
        download(url, path, size=SIZE, sha256="00")


# ---- bytes of an earlier call ----


def test_bytes_of_another_file_are_fetched_once_more(server, path):
    leave_partial(server, path, 1000)
    server.content = OTHER
    fetch(server, path)
    assert_whole(path, OTHER)
    assert server.asked == ["bytes=1000-", None]
    path.unlink()
    leave_partial(server, path, 1000)
    with pytest.raises(DownloadError, match=r"sent has SHA-256 .*, and was removed"):
        fetch(server, path, sha256=sha256_of(CONTENT))
    assert server.asked == ["bytes=1000-", None]
    assert list(path.parent.iterdir()) == []


def test_ranges_that_begin_elsewhere_are_not_taken(server, path):
    leave_partial(server, path, 1000)
    server.ranges = "shifted"
    fetch(server, path, attempts=1)
    assert_whole(path)
    assert server.asked == ["bytes=1000-", None]


def test_a_server_without_ranges(server, path):
    server.ranges = False
    leave_partial(server, path, 1000)
    server.cuts = [500, 2000]
    fetch(server, path)
    assert_whole(path)
    assert server.asked == ["bytes=1000-", "bytes=500-", "bytes=2000-"]


def test_a_server_without_ranges_that_cuts_every_answer_is_not_asked_for_ever(server, path):
    server.ranges = False
    server.cuts = [1000] * 100
    with pytest.raises(DownloadError, match="1000 of"):
        fetch(server, path, attempts=3)
    assert len(server.asked) == 3


@pytest.mark.parametrize("more", [b"", b"more"])
def test_a_partial_that_is_whole_or_too_long(server, path, more):
    leave_partial(server, path, 1000)
    partial_of(path).write_bytes(CONTENT + more)
    fetch(server, path, attempts=1)
    assert_whole(path)
    assert server.asked == ([None] if more else [])
