"""The comparison script as a process of its own, at toy size."""

import json
import os

import numpy as np
import pytest

from tests.support.checkout import run_script

pytest.importorskip("torch", reason="nothing to compare with: install the torch extra")
pytest.importorskip("matplotlib", reason="nothing to plot with: install the compare extra")


def run(*arguments):
    # One thread each, and no C++ compiler for torch.compile to find.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CXX": "no-such-compiler"}
    return run_script("benchmarks.frameworks", *arguments, environment=environment)


@pytest.fixture(scope="module")
def folder(data_dir, tmp_path_factory):
    """What a comparison of a tiny VDSR, which compiles quickly, on real images writes."""
    folder = tmp_path_factory.mktemp("comparison")
    variants = ("jax-float32", "torch-eager", "torch-compile")
    done = run(
        *("--model", "vdsr", "--set", "n_layers=4", "--set", "n_feats=8"),
        *("--batch", 2, "--lr-patch-size", 8, "--steps", 3, "--rounds", 1),
        *("--data", data_dir / "Set5" / "HR", "--output", folder, "--variants", *variants),
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "comparison.json").read_text())


def test_both_train_alike(results):
    training = results["training"]
    losses = np.array([training[f"loss_{name}"] for name in ("jax", "torch", "torch_float64")])
    assert losses.shape == (3, 3)
    assert len(set(losses[0])) == 3  # another batch in each step
    np.testing.assert_allclose(losses[:2], losses[[2, 2]], rtol=1e-5)
    assert max(training["jax_to_truth"]) < 1e-3 * min(training["travelled"])
    assert training["travelled"][0] < training["travelled"][2]


def test_variants_do_the_same_work(results):
    variants = results["variants"]
    assert variants["jax-float32"]["difference"] == 0
    assert 0 < variants["torch-eager"]["difference"] < 1e-6
    for name in ("jax-float32", "torch-eager"):
        for kind in ("forward", "step"):
            row = variants[name][kind]
            assert len(row["seconds"]) == len(row["cores_busy_elsewhere"]) == 1
            assert row["seconds"][0] > 0
            assert row["first_seconds"] > 0
            assert (row["planned_mib"] is None) == name.startswith("torch")


def test_a_variant_that_fails_has_a_row_that_says_why(results, folder):
    assert "InvalidCxxCompiler" in results["variants"]["torch-compile"]["error"]
    table = (folder / "comparison.md").read_text()
    assert table.count("| torch-compile | failed: ") == 2


def test_report(results, folder):
    report = (folder / "comparison.md").read_text()
    assert results["command"] in report
    median = 1000 * np.median(results["variants"]["torch-eager"]["step"]["seconds"])
    assert f"| torch-eager | {median:.1f} (" in report
    assert (folder / "comparison.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert {path.name for path in folder.iterdir()} == {
        f"comparison.{suffix}" for suffix in ("json", "md", "png")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "n_resblocks"], "--set n_resblocks: write it as n_resblocks=4"),
        (["--set", "n_blocks=3"], "lnln has no hyper-parameter 'n_blocks'"),
    ],
)
def test_bad_options_are_refused(arguments, message, tmp_path):
    done = run(*arguments, "--output", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
