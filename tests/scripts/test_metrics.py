"""The benchmark of metrics and imresize, at toy size."""

import json

import numpy as np
import pytest

from tests.support.checkout import run_script


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "metrics.json"
    # A process of its own: the script pins itself to one core.
    options = ("--size", "24", "--image", "36x24", "--rounds", "2", "--json", str(path))
    done = run_script("benchmarks.metrics", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text()), done.stdout


def test_every_pair_is_measured(results):
    rows = results[0]["rows"]
    sides = [tuple(row["ms"]) for row in rows]
    metrics, resizing = ("ours", "scikit-image"), ("ours", "plain NumPy", "Pillow")
    assert sides == [metrics, metrics, ("ours",), *[resizing] * 6]
    for row in rows:
        for times in row["ms"].values():
            assert len(times) == 2
            assert min(times) > 0


def test_the_table_has_ratios_of_medians(results):
    numbers, table = results
    for row in numbers["rows"]:
        own, *others = row["ms"].values()
        for times in others:
            ratio = np.median(times) / np.median(own)
            cell = f"{np.median(times):.1f} ({min(times):.1f}-{max(times):.1f})"
            lines = [line for line in table.splitlines() if f"| {row['what']} |" in line]
            assert any(line.endswith(f"| {cell} | {ratio:.2f}x |") for line in lines)
