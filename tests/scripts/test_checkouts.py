"""The benchmark of two checkouts, of this one and itself, with small patches."""

import pytest

from tests.support.checkout import ROOT, run_script

pytestmark = pytest.mark.slow


def test_both_are_measured():
    sizes = ("--batch", 1, "--lr-patch-size", 8, "--rounds", 2)
    done = run_script("benchmarks.checkouts", ROOT, ROOT, "--models", "edsr_baseline", *sizes)
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line[:1] == "|"]
    *_, step, forward = lines
    assert (step[0], forward[0]) == ("edsr_baseline, step", "edsr_baseline, forward")
    for *_, ratio in (step, forward):
        assert float(ratio) > 0


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    done = run_script("benchmarks.checkouts", tmp_path, ROOT)
    assert done.returncode == 2
    assert f"{tmp_path} is not a checkout of lnln_jax" in done.stderr
