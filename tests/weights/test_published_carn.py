"""The published weights of CARN-M, of three scales in one file, give its authors' results."""

import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.cli import main
from lnln_jax.weights.load import load_weights
from tests.support.commands import fails
from tests.support.published_weights import check_against_the_authors, published_file
from tests.support.small_networks import assert_same


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.slow
def test_carn_m_on_set5(published_dir, scale):
    check_against_the_authors(published_dir, published_file(published_dir, "carn_m.pt"), scale)


def test_the_scale_is_asked_for(published_dir, tmp_path, capsys):
    path = published_file(published_dir, "carn_m.pt")
    expected = "do not show the scale; give scale (--scale), one of 2, 3, 4"
    assert expected in fails(capsys, "convert", path, tmp_path / "x.safetensors")
    assert main(["convert", str(path), str(tmp_path / "x.safetensors"), "--scale", "2"]) == 0


def test_all_scales_stay_in_converted_files(published_dir, tmp_path):
    path, ours, back = (
        published_file(published_dir, "carn_m.pt"),
        *(tmp_path / name for name in ("x.safetensors", "back.pt")),
    )
    assert main(["convert", str(path), str(ours), "--scale", "2"]) == 0
    assert main(["convert", str(ours), str(back)]) == 0
    assert load_model(ours).scale == 2
    published = load_weights(path, scale=3).variables
    for file, scale in ((ours, 3), (ours, 4), (back, 3)):
        weights = load_weights(file, scale=scale)
        assert weights.module().scale == scale
        assert_same(weights.variables, published)
    lr = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    assert load_model(ours, scale=3).upscale(lr).shape == (15, 12, 3)
