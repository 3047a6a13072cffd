"""The benchmark of all networks as a process of its own, at toy size."""

import json

import pytest

from tests.support.checkout import run_script

pytestmark = pytest.mark.slow
pytest.importorskip("torch", reason="nothing to compare with: install the torch extra")
pytest.importorskip("matplotlib", reason="nothing to plot with: install the compare extra")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ceilings")
    done = run_script(
        "benchmarks.ceilings",
        *("--models", "vdsr", "--set", "n_layers=4", "--set", "n_feats=8", "--batches", 2),
        *("--lr-patch-size", 8, "--rounds", 2, "--output", folder),
        *("--patience", 0),
        *("--variants", "jax-float32", "torch-eager"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "ceilings.json").read_text())
    assert results["ceilings"]["flop_per_s"] > 1e8
    assert results["ceilings"]["bytes_per_s"] > 1e8
    (network,) = results["networks"]
    return network


def test_the_work_is_counted(network):
    # The interpolation has no products; 3x3 kernels: 1 to 8, twice 8 to 8, 8 to 1; two images.
    pixels, products = 16 * 16, 9 * (8 + 64 + 64 + 8)
    assert network["work"]["flop"] == 2 * 2 * pixels * products
    moved = pixels * (1 + 8 + 8 + 8 + 8 + 8 + 8 + 1) + products
    assert network["work"]["bytes"] == 2 * 4 * moved


def test_both_sides_compute_the_same(network):
    assert network["work"]["from_cache_seconds"] > 0
    for row in network["variants"].values():
        assert row["error"] is None
        assert row["difference"] < 1e-5
        for kind in ("forward", "step"):
            assert len(row[kind]["seconds"]) == 2
            assert row[kind]["peak_mib"] > 0
