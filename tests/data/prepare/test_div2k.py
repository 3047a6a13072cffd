"""DIV2K from archives of its layout on a local server, through interruptions."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lnln_jax.data.prepare.download import DownloadError
from lnln_jax.data.prepare.recipes import DIV2K_ARCHIVES, DIV2K_URL, prepare_div2k
from lnln_jax.data.prepare.sub_images import Cut
from lnln_jax.data.records import RecordSource, find_dataset
from lnln_jax.images.files import read_rgb
from tests.support.http_server import serving

CUT = Cut((2,), size=120, step=60, min_side=96)


@pytest.fixture(scope="module")
def archives(data_dir):
    """Small archives with DIV2K's names: DIV2K_train_HR/0001.png."""
    paths = sorted((data_dir / "Set14" / "HR").iterdir())
    made = {}
    for name, chosen in (("DIV2K_train_HR", paths[:4]), ("DIV2K_valid_HR", paths[4:6])):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.mkdir(name)
            for i, path in enumerate(chosen, start=1):
                archive.write(path, f"{name}/{i:04d}.png")
        made[f"{name}.zip"] = file.getvalue()
    return made


@pytest.fixture
def server(archives, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        running.others = dict(archives)
        yield running


def known(archives):
    return {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in archives.items()}


def build(server, archives, data_dir, **options):
    url = f"http://127.0.0.1:{server.server_port}"
    return prepare_div2k(cut=CUT, data_dir=data_dir, url=url, archives=known(archives), **options)


def test_the_published_archives():
    assert DIV2K_URL.startswith("https://")
    stock = Path(tfds.__file__).parent / "datasets" / "div2k" / "checksums.tsv"
    rows = [line.split("\t") for line in stock.read_text().splitlines()]
    registered = {url: (int(size), sha256) for url, size, sha256, _ in rows}
    for name, (size, sha256) in DIV2K_ARCHIVES.items():
        assert registered[f"{DIV2K_URL}/{name}"] == (size, sha256)


def test_div2k(server, archives, data_dir, tmp_path):
    prepared = build(server, archives, tmp_path)
    assert prepared.folder == tmp_path / "div2k_sub" / "x2_120_60" / "1.0.0"
    assert find_dataset("div2k_sub", 2, tmp_path) == prepared.folder
    builder = tfds.builder_from_directory(prepared.folder)
    assert "Agustsson" in builder.info.citation
    assert "academic research only" in builder.info.redistribution_info.license
    (validation, *_), paths = (
        RecordSource(prepared.folder, scale=2, split="validation"),
        sorted((data_dir / "Set14" / "HR").iterdir()),
    )
    np.testing.assert_array_equal(validation[1], read_rgb(paths[4])[: validation[1].shape[0]])
    names = {record["image"].decode() for record in builder.as_data_source(split="train")}
    assert names == {f"DIV2K_train_HR/{i:04d}.png" for i in range(1, 5)}
    assert len(server.asked) == 2
    for path in (tmp_path / "downloads" / "manual").iterdir():
        path.unlink()
    again = build(server, archives, tmp_path)  # it is there, and the archives aren't needed
    assert again.examples == prepared.examples
    assert len(server.asked) == 2


def test_space_is_looked_at_before_anything_is_fetched(server, archives, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(OSError, match=r"not enough space .* of them for archives"):
        build(server, archives, tmp_path)
    assert server.asked == []


def test_archives_that_are_there_are_used(server, archives, tmp_path):
    downloads = tmp_path / "own"
    downloads.mkdir()
    for name, data in archives.items():
        (downloads / name).write_bytes(data)
    prepared = build(server, archives, tmp_path / "tfds", download_dir=downloads)
    assert prepared.examples["validation"] == 2
    assert server.asked == []


def test_a_damaged_archive_is_refused_and_kept(server, archives, tmp_path):
    downloads = tmp_path / "own"
    downloads.mkdir()
    damaged = bytearray(archives["DIV2K_train_HR.zip"])
    damaged[1000] ^= 1
    (downloads / "DIV2K_train_HR.zip").write_bytes(damaged)
    with pytest.raises(DownloadError, match=r"DIV2K_train_HR.zip has SHA-256 .* remove it"):
        build(server, archives, tmp_path / "tfds", download_dir=downloads)
    assert (downloads / "DIV2K_train_HR.zip").read_bytes() == damaged
    assert not list(tmp_path.rglob("*.array_record*"))


def test_a_download_that_is_not_div2k(server, archives, tmp_path):
    server.others["DIV2K_valid_HR.zip"] = archives["DIV2K_valid_HR.zip"][:-1] + b"x"
    with pytest.raises(DownloadError, match=r"DIV2K_valid_HR.zip sent has SHA-256"):
        build(server, archives, tmp_path)
    downloads = tmp_path / "downloads" / "manual"
    assert [path.name for path in downloads.iterdir()] == ["DIV2K_train_HR.zip"]


SCRIPT = """
import json, sys
from pathlib import Path
from lnln_jax.data.prepare.recipes import prepare_div2k
from lnln_jax.data.prepare.sub_images import Cut

if __name__ == "__main__":
    url, data_dir, archives = sys.argv[1:]
    prepare_div2k(
        cut=Cut((2,), size=120, step=60, min_side=96), data_dir=Path(data_dir), url=url,
        archives={name: tuple(known) for name, known in json.loads(archives).items()},
    )
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_the_download_it_goes_on(server, archives, tmp_path):
    server.pace = 20_000, 0.01
    script = tmp_path / "build.py"
    script.write_text(SCRIPT)
    url = f"http://127.0.0.1:{server.server_port}"
    command = [sys.executable, script, url, tmp_path / "tfds", json.dumps(known(archives))]
    process = subprocess.Popen(command, env=os.environ | {"NO_PROXY": "127.0.0.1"})
    partial = tmp_path / "tfds" / "downloads" / "manual" / "DIV2K_train_HR.zip.partial"
    while not partial.exists() or partial.stat().st_size < 400_000:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    here = partial.stat().st_size
    assert here < len(archives["DIV2K_train_HR.zip"])
    server.pace = None
    bars = []

    def progress_of(what):
        bars.append((what, []))
        return lambda done, total, calls=bars[-1][1]: calls.append((done, total))

    prepared = build(server, archives, tmp_path / "tfds", progress_of=progress_of)
    assert server.asked == [None, f"bytes={here}-", None]
    assert prepared.examples["validation"] == 2
    shown = dict(bars)
    assert [what for what, _ in bars if what.startswith("fetching")] == [
        f"fetching {name}" for name in archives
    ]
    size = len(archives["DIV2K_train_HR.zip"])
    assert all(here <= done <= size for done, _ in shown["fetching DIV2K_train_HR.zip"])
    assert shown["fetching DIV2K_train_HR.zip"][-1] == (size, size)
    assert shown["building div2k_sub"][-1] == (6, 6)
