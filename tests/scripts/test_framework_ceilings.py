"""The benchmark of all networks as a process of its own, at toy size."""

import json
import os

import pytest

from tests.support.checkout import run_script

pytest.importorskip("torch", reason="nothing to compare with: install the torch extra")
pytest.importorskip("matplotlib", reason="nothing to plot with: install the compare extra")


def run(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return run_script("benchmarks.ceilings", *arguments, environment=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    done = run(
        *("--models", "vdsr", "--set", "n_layers=4", "--set", "n_feats=8", "--batches", 1, 2),
        *("--lr-patch-size", 8, "--rounds", 2, "--output", folder),
        *("--variants", "jax-float32", "torch-eager"),
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_work_is_counted(folder):
    one, two = json.loads((folder / "benchmark.json").read_text())["networks"]
    # The interpolation has no products; 8x16 pixels of 3x3 kernels: 1 to 8, twice 8 to 8, 8 to 1.
    pixels, products = 16 * 16, 9 * (8 + 64 + 64 + 8)
    assert one["work"]["flop"] == 2 * pixels * products
    moved = pixels * (1 + 8 + 8 + 8 + 8 + 8 + 8 + 1) + products
    assert one["work"]["bytes"] == 4 * moved
    assert two["work"]["flop"] == 2 * one["work"]["flop"]


def test_both_sides_are_in_the_table(folder):
    results = json.loads((folder / "benchmark.json").read_text())
    assert results["ceilings"]["flop_per_s"] > 1e9
    assert results["ceilings"]["bytes_per_s"] > 1e8
    for network in results["networks"]:
        assert network["work"]["from_cache_seconds"] > 0
        for row in network["variants"].values():
            assert row["error"] is None
            assert row["difference"] < 1e-5  # they compute the same
            for kind in ("forward", "step"):
                assert len(row[kind]["seconds"]) == 2
                assert row[kind]["peak_mib"] > 0
    table = (folder / "benchmark.md").read_text()
    for text in ("| forward |", "| step |", "| jax-float32 |", "| torch-eager |", "GFLOP/s in a"):
        assert text in table


def test_wrong_options_are_named():
    done = run("--models", "vdsr", "--set", "n_layers")
    assert done.returncode == 2
    assert "write it as n_resblocks=4" in done.stderr
