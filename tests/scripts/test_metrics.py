"""The benchmark of metrics and imresize at toy size."""

import json

import numpy as np
import pytest

from tests.support.checkout import run_script

pytestmark = pytest.mark.slow


def test_ratios_are_of_medians(tmp_path):
    path = tmp_path / "metrics.json"
    # A process of its own: the script pins itself to one core.
    options = ("--size", "24", "--image", "36x24", "--rounds", "2", "--json", str(path))
    done = run_script("benchmarks.metrics", *options)
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text())["rows"]
    sides = [tuple(row["ms"]) for row in rows]
    metrics, resizing = ("ours", "scikit-image"), ("ours", "plain NumPy", "Pillow")
    assert sides == [metrics, metrics, ("ours",), *[resizing] * 6]
    for row in rows:
        own, *others = row["ms"].values()
        for times in others:
            assert min(times) > 0
            ratio = np.median(times) / np.median(own)
            cell = f"{np.median(times):.1f} ({min(times):.1f}-{max(times):.1f})"
            lines = [line for line in done.stdout.splitlines() if f"| {row['what']} |" in line]
            assert any(line.endswith(f"| {cell} | {ratio:.2f}x |") for line in lines)
