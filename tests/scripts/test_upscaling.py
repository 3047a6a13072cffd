"""The benchmark of upscaling, at tiny size."""

import numpy as np
import pytest
from PIL import Image

from scripts.benchmarks import upscaling as benchmark_inference

TINY = ["--options", "n_resgroups=1", "n_resblocks=1", "n_feats=16", "--rounds", "1"]


@pytest.fixture
def photos(tmp_path):
    for i, size in enumerate([(20, 30), (30, 20), (110, 9)]):
        noise = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    return tmp_path


def test_tiles(capsys):
    sweep = ["--tiles", "16", "24", "--batches", "1", "2", "--overlaps", "0", "8"]
    benchmark_inference.main(["tiles", *sweep, *TINY])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [[int(cell) for cell in row[:2]] for row in rows[2:]] == [
        [16, 1],
        [16, 2],
        [24, 1],
        [24, 2],
    ]
    for row in rows[2:]:
        none, half = (float(cell.split()[0]) for cell in row[4:])
        side = int(row[0])
        assert half / none == pytest.approx((side / (side - 8)) ** 2, rel=0.2)


def test_memory(photos, capsys):
    benchmark_inference.main(["memory", str(photos / "2.png"), "--model", "bicubic"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [row[0].strip() for row in rows[2:]] == ["9x110"]
    assert 100 < float(rows[2][4]) < 10_000
    assert len(list(photos.iterdir())) == 3


def test_folder(photos, capsys):
    benchmark_inference.inference._compile.cache_clear()
    benchmark_inference.main(["folder", str(photos), *TINY])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("three threads: ")
    assert lines[1].startswith("one thread: ")
    assert lines[2] == "3 photos of 3 sizes, 1 compilations"
