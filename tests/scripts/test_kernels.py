"""The benchmark of kernels at toy size."""

import pytest

from tests.support.checkout import run_script

pytestmark = pytest.mark.slow


def test_both_forms_are_measured():
    tiny = ("n_resgroups=1", "n_resblocks=1", "n_feats=16", "reduction=4")
    options = [f"--set={option}" for option in tiny]
    done = run_script("benchmarks.kernels", *options, "--lr-patch-size", 12, "--rounds", 2)
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line[:1] == "|"]
    header, _, *rows = lines
    assert [row[0] for row in rows] == ["tuned kernels", "plain kernels, shifted taps"]
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert float(cells["compile step, s"]) > 0
        low, high = cells["step, s"].split("(")[1].strip(")").split("-")
        assert 0 < float(low) <= float(high)
