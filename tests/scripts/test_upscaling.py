"""The benchmark of upscaling at toy size."""

import numpy as np
import pytest
from PIL import Image

from scripts.benchmarks import upscaling

pytestmark = pytest.mark.slow

TINY = ["--options", "n_resgroups=1", "n_resblocks=1", "n_feats=16", "--rounds", "1"]


@pytest.fixture
def photos(tmp_path):
    for i, size in enumerate([(20, 30), (30, 20), (110, 9)]):
        noise = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    return tmp_path


def test_tiles(call):
    sweep = ["--tiles", "16", "24", "--batches", "1", "2", "--overlaps", "0", "8"]
    status, out, _ = call(upscaling, "tiles", *sweep, *TINY)
    assert status == 0
    rows = [line.split("|")[1:-1] for line in out.splitlines()[2:]]
    assert [(int(side), int(batch)) for side, batch, *_ in rows] == [
        (side, batch) for side in (16, 24) for batch in (1, 2)
    ]
    for row in rows:
        none, half = (float(cell.split()[0]) for cell in row[4:])
        side = int(row[0])
        assert half / none == pytest.approx((side / (side - 8)) ** 2, rel=0.2)


def test_memory(photos, call):
    status, out, _ = call(upscaling, "memory", photos / "2.png", "--model", "bicubic")
    assert status == 0
    (row,) = [line.split("|")[1:-1] for line in out.splitlines()[2:]]
    assert row[0].strip() == "9x110"
    assert 100 < float(row[4]) < 10_000
    assert len(list(photos.iterdir())) == 3


def test_folder(photos, call):
    status, out, _ = call(upscaling, "folder", photos, *TINY)
    assert status == 0
    three, one, count = out.splitlines()
    assert three.startswith("three threads: ")
    assert one.startswith("one thread: ")
    assert count == "3 photos of 3 sizes"
