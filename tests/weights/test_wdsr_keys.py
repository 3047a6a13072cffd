"""WDSR's files: weight normalisation by the names of old and new PyTorch, within dictionaries."""

import numpy as np
import pytest

from lnln_jax.weights.convert import convert
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.nesting import table_of
from lnln_jax.weights.recognition import from_state_dict
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables
from tests.support.torch_files import save

NAMES = ("wdsr_a", "wdsr_b", "wdsr_reloaded")


def renamed(state_dict):
    """With the names that PyTorch gives since 2.0."""
    new = {"weight_g": "original0", "weight_v": "original1"}
    return {
        ".".join([layer, "parametrizations.weight", new[part]] if part in new else [layer, part]): a
        for key, a in state_dict.items()
        for layer, _, part in [key.rpartition(".")]
    }


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_names_of_newer_pytorch_are_read(name, scale, tmp_path):
    variables = make_variables(name, scale)
    state_dict = renamed(to_torch(variables, name=name))
    assert "parametrizations.weight.original0" in " ".join(state_dict)
    weights = from_state_dict(state_dict, tmp_path)
    assert (weights.model.name, weights.model.scale) == (name, scale)
    assert weights.model.options == OPTIONS[name]
    assert_same(weights.variables, variables)


@pytest.mark.parametrize("n_resblocks", [1, 5])
@pytest.mark.parametrize("name", NAMES)
def test_the_forms_are_told_apart(name, n_resblocks):
    state_dict = to_torch(make_variables(name, n_resblocks=n_resblocks), name=name)
    for keys in (state_dict, renamed(state_dict)):
        assert table_of(keys)[0] == name


def test_newer_names_are_pytorchs_own():
    torch = pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(2, 3, 3))
    old = {f"head.0.{key}": 0 for key in ("bias", "weight_g", "weight_v")}
    assert {f"head.0.{key}" for key in layer.state_dict()} == set(renamed(old))


def test_published_files_hold_the_dictionary_beside_others(tmp_path):
    variables = make_variables("wdsr_reloaded")
    state_dict = to_torch(variables, name="wdsr_reloaded")
    path = tmp_path / "wdsr.pt"
    momentum = {"state": {0: {"exp_avg": np.ones(3, "f4")}}, "param_groups": [{"lr": 1e-3}]}
    save(path, {"epoch": 30, "model_state_dict": state_dict, "optimizer_state_dict": momentum})
    weights = load_weights(path)
    assert weights.model.name == "wdsr_reloaded"
    assert_same(weights.variables, variables)
    convert(path, tmp_path / "x.safetensors")
    assert_same(load_weights(tmp_path / "x.safetensors").variables, variables)


def test_a_res_scale_must_be_told(tmp_path):
    state_dict = to_torch(make_variables("wdsr_b"), name="wdsr_b")
    assert from_state_dict(state_dict, tmp_path).module().res_scale == 1
    assert from_state_dict(state_dict, tmp_path, res_scale=0.1).module().res_scale == 0.1
    later = to_torch(make_variables("wdsr_reloaded"), name="wdsr_reloaded")
    with pytest.raises(ValueError, match=r"res_scale is 0\.1, but .* has none"):
        from_state_dict(later, tmp_path, res_scale=0.1)
