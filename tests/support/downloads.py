"""What the tests of downloads share: a server's contents, and what a download leaves."""

import hashlib
from pathlib import Path

import pytest

from lnln_jax.data.prepare.download import DownloadError, download
from tests.support.http_server import Server, serving


def bytes_of(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


CONTENT = bytes_of("archive", 300_000)
OTHER = bytes_of("another", 300_000)
SIZE = len(CONTENT)


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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
