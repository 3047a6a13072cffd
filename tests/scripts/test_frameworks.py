"""The comparison of JAX and PyTorch as a process of its own, at toy size."""

import json
import os

import numpy as np
import pytest

from tests.support.checkout import run_script

pytestmark = pytest.mark.slow
pytest.importorskip("torch", reason="nothing to compare with: install the torch extra")
pytest.importorskip("matplotlib", reason="nothing to plot with: install the compare extra")


def run(*arguments):
    environment = os.environ | {"CXX": "no-such-compiler"}  # for torch.compile to find
    return run_script("benchmarks.frameworks", *arguments, environment=environment)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What a comparison of a tiny VDSR, which compiles quickly, writes."""
    folder = tmp_path_factory.mktemp("comparison")
    variants = ("jax-float32", "torch-eager", "torch-compile")
    done = run(
        *("--model", "vdsr", "--set", "n_layers=4", "--set", "n_feats=8"),
        *("--batch", 2, "--lr-patch-size", 8, "--steps", 3, "--rounds", 1, "--patience", 0),
        *("--output", folder, "--variants", *variants),
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "comparison.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    report = (folder / "comparison.md").read_text()
    return json.loads((folder / "comparison.json").read_text()), report


def test_both_train_alike(results):
    training = results[0]["training"]
    losses = np.array([training[f"loss_{name}"] for name in ("jax", "torch", "torch_float64")])
    assert losses.shape == (3, 3)
    assert len(set(losses[0])) == 3  # another batch in each step
    np.testing.assert_allclose(losses[:2], losses[[2, 2]], rtol=1e-5)
    assert max(training["jax_to_truth"]) < 1e-3 * min(training["travelled"])
    assert training["travelled"][0] < training["travelled"][2]


def test_variants_do_the_same_work(results):
    numbers, report = results
    variants = numbers["variants"]
    assert variants["jax-float32"]["difference"] == 0
    assert 0 < variants["torch-eager"]["difference"] < 1e-6
    for name in ("jax-float32", "torch-eager"):
        for kind in ("forward", "step"):
            row = variants[name][kind]
            assert len(row["seconds"]) == len(row["cores_busy_elsewhere"]) == 1
            assert row["seconds"][0] > 0
            assert row["first_seconds"] > 0
            assert (row["planned_mib"] is None) == name.startswith("torch")
    median = 1000 * np.median(variants["torch-eager"]["step"]["seconds"])
    assert f"| torch-eager | {median:.1f} (" in report


def test_a_variant_that_fails_has_a_row_that_says_why(results):
    numbers, report = results
    assert "InvalidCxxCompiler" in numbers["variants"]["torch-compile"]["error"]
    assert report.count("| torch-compile | failed: ") == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("n_resblocks", "n_resblocks: write a hyper-parameter as n_resblocks=4"),
        ("n_blocks=3", "lnln has no hyper-parameter 'n_blocks'"),
    ],
)
def test_bad_options_are_refused(option, message, tmp_path):
    done = run("--set", option, "--output", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
