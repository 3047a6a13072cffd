"""Published files that serve several scales, or do not tell theirs."""

import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.cli import main
from lnln_jax.weights.load import load_weights
from tests.support.commands import fails
from tests.support.small_networks import assert_same


@pytest.fixture
def carn_m(published_weights):
    return published_weights / "carn_m.pt"


@pytest.fixture
def pan(published_weights):
    return published_weights / "pan_x2.pt"


def test_the_scale_is_asked_for(carn_m, tmp_path, capsys):
    expected = "do not show the scale; give scale (--scale), one of 2, 3, 4"
    assert expected in fails(capsys, "convert", carn_m, tmp_path / "x.safetensors")


def test_all_scales_stay_in_converted_files(carn_m, tmp_path):
    ours, back = (tmp_path / name for name in ("x.safetensors", "back.pt"))
    assert main(["convert", str(carn_m), str(ours), "--scale", "2"]) == 0
    assert main(["convert", str(ours), str(back)]) == 0
    assert load_model(ours).scale == 2
    published = load_weights(carn_m, scale=3).variables
    for file, scale in ((ours, 3), (ours, 4), (back, 3)):
        weights = load_weights(file, scale=scale)
        assert weights.module().scale == scale
        assert_same(weights.variables, published)
    lr = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    assert load_model(ours, scale=3).upscale(lr).shape == (15, 12, 3)


def test_the_scale_is_asked_for_where_two_have_the_same_shapes(pan, tmp_path, capsys):
    message = fails(capsys, "convert", pan, tmp_path / "x.safetensors")
    assert "the weights of this pan do not show the scale; give scale (--scale)" in message
    assert main(["convert", str(pan), str(tmp_path / "x.pt"), "--scale", "4"]) == 1
    assert "missing upconv2.weight" in capsys.readouterr().err
