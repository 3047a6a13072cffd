"""The benchmark of attention at toy size."""

import pytest

from tests.support.checkout import run_script

pytestmark = pytest.mark.slow


def test_both_sides_of_each_ratio_are_printed():
    arguments = ("--sizes", "4", "6", "--batches", "1", "--rounds", "2", "--dense-gib", "1e-6")
    done = run_script("benchmarks.attention", *arguments)
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line[:1] == "|"]
    header, _, *rows = lines
    assert [row[:3] for row in rows] == [
        [size, "1", kind] for size in ("4x4", "6x6") for kind in ("forward", "gradient")
    ]
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        dense, auto = (cells[side].split()[0] for side in ("dense", "auto"))
        assert float(auto) >= 0
        assert float(cells["chunked"].split()[0]) >= 0
        # The scores of 6x6 pixels are 1296 bytes, more than the 1073 that were allowed.
        assert (dense == "-") == (cells["map"] == "6x6") == (cells["auto / dense"] == "-")
        if dense != "-":
            low, high = cells["auto / dense"].split("(")[1].strip(")").split("-")
            assert 0 < float(low) <= float(high)
