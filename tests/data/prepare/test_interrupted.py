"""Builds of datasets that are killed, collide, or can't write: real processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.prepared import (
    build,
    contents,
    copy_images,
    find_dataset_or_error,
    find_unfinished,
)

SCRIPT = """
import sys
from pathlib import Path
from lnln_jax.data.prepare.recipes import prepare_folder
from lnln_jax.data.prepare.sub_images import Cut

if __name__ == "__main__":
    prepare_folder(
        Path(sys.argv[1]), "photos", data_dir=Path(sys.argv[2]), workers=int(sys.argv[3]),
        cut=Cut((2, 3), size=120, step=60, min_side=96), validation_every=4,
    )
"""


LIMITED = (
    """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
"""
    + SCRIPT
)


def start(
    images: Path, data_dir: Path, workers: int, tmp_path: Path, text: str = SCRIPT
) -> subprocess.Popen:
    script = tmp_path / "build.py"
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, script, images, data_dir, str(workers)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_and_loses_and_doubles_nothing(data_dir, tmp_path, workers):
    images = copy_images(data_dir, tmp_path / "images", 48)
    whole = build(images, tmp_path / "whole")
    data_dir, shards = tmp_path / "tfds", 0
    for _ in range(3):
        process = start(images, data_dir, workers, tmp_path)
        while process.poll() is None:
            complete = len(list(data_dir.glob("*/*/incomplete.*/shards/*.json")))
            if complete > shards:
                break
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() in (-signal.SIGKILL, 0)
        process.stderr.close()
        assert complete >= shards  # nothing was thrown away
        shards = complete
    assert shards
    assert find_dataset_or_error(data_dir) == "error"
    again = build(images, data_dir, workers=workers)
    assert contents(again.folder) == contents(whole.folder)
    assert not list(data_dir.rglob("*.tmp"))
    assert find_unfinished(data_dir) == []


@pytest.mark.slow
def test_two_builds_at_once(data_dir, tmp_path):
    images = copy_images(data_dir, tmp_path / "images", 48)
    first = start(images, tmp_path / "tfds", 1, tmp_path)
    while not list((tmp_path / "tfds").glob("*/*/incomplete.*/shards/*.json")):
        assert first.poll() is None
        time.sleep(0.01)
    with pytest.raises(ValueError, match="another process is building photos"):
        build(images, tmp_path / "tfds")
    assert first.communicate()[1] == ""
    before = {path: path.stat().st_ino for path in (tmp_path / "tfds").glob("*/*/1.0.0/*")}
    again = build(images, tmp_path / "tfds")
    assert before == {path: path.stat().st_ino for path in again.folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_write_that_fails_ends_the_build_and_complete_shards_stay(
    published_dir, tmp_path, workers
):
    images = copy_images(published_dir, tmp_path / "images", 24)
    for i in range(4):  # shards of their own that fit in a file of the largest size
        shutil.copy(published_dir / "Set5" / "HR" / "bird.png", images / f"{i}.png")
    whole = build(images, tmp_path / "whole")
    # Files may not become larger than 1 MB, which the operating system says as it says a full disk.
    process = start(images, tmp_path / "tfds", workers, tmp_path, LIMITED)
    error = process.communicate()[1]
    assert process.returncode == 1
    assert "OSError: a shard cannot be written: write() failed: File too large" in error
    assert "run the same command again, which goes on from here" in error
    assert not list((tmp_path / "tfds").rglob("*.tmp"))
    assert find_dataset_or_error(tmp_path / "tfds") == "error"
    kept = {path.stat().st_ino for path in (tmp_path / "tfds").rglob("train-*") if not path.suffix}
    assert workers == 2 or kept
    again = build(images, tmp_path / "tfds")
    assert contents(again.folder) == contents(whole.folder)
    assert kept <= {path.stat().st_ino for path in again.folder.iterdir()}
