"""The benchmark of edges at toy size."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.support.checkout import run_script

pytestmark = pytest.mark.slow


def test_edges_of_photos_and_of_what_is_transparent(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(noise).resize((64, 64)).save(tmp_path / "a.png")
    done = run_script("benchmarks.edges", str(tmp_path))
    assert done.returncode == 0, done.stderr
    numbers = [
        [float(number) for number in re.findall(r"\d+\.\d+", line)]
        for line in done.stdout.splitlines()
        if line.startswith(("| zeros", "| mirrored", "| disc"))
    ]
    zeros, mirrored, disc = numbers
    assert mirrored[0] > zeros[0]
    assert disc[2] > max(disc[:2])
