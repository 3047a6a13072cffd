import hashlib
import itertools
import os
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
from tests.support.http_server import MIB, Server, serving


def bytes_of(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


CONTENT = bytes_of("archive", 300_000)
OTHER = bytes_of("another", 300_000)
SIZE = len(CONTENT)


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server():
    with serving(CONTENT) as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waiting before retries, and no proxy to this machine's own servers."""
    monkeypatch.setattr("lnln_jax.data.prepare.download._BACKOFF", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manual" / "DIV2K.zip"


def partial_of(path: Path) -> Path:
    return path.with_name("DIV2K.zip.partial")


def assert_whole(path: Path, content: bytes = CONTENT) -> None:
    assert sha256_of(path.read_bytes()) == sha256_of(content)
    assert list(path.parent.iterdir()) == [path]


def fetch(server: Server, path: Path, **options: object) -> None:
    """Downloads what the server has, whose size and checksum are known."""
    known = {"size": len(server.content), "sha256": sha256_of(server.content)}
    download(server.url, path, **known | options)


def leave_partial(server: Server, path: Path, size: int) -> None:
    """Has a download cut, and the log of it forgotten."""
    server.cuts = [size]
    with pytest.raises(DownloadError, match=f"it goes on from {size} of"):
        fetch(server, path, attempts=1)
    assert partial_of(path).read_bytes() == server.content[:size]
    assert not path.exists()
    server.asked.clear()


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
