"""Networks within dictionaries, under prefixes and in whole modules, as training scripts save."""

import argparse
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.weights.inert_pickles import Inert
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.memory_budget import Budget
from lnln_jax.weights.nesting import flatten, select_network
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables
from tests.support.torch_files import Made, edsr_state, module, save


@pytest.fixture(scope="module")
def edsr():
    return edsr_state()


def prefixed(prefix, state_dict):
    return {prefix + key: value for key, value in state_dict.items()}


def other(state_dict):
    """The same network with other weights."""
    return {key: value if "mean" in key else 0 * value for key, value in state_dict.items()}


DISCRIMINATOR = {
    "discriminator.0.weight": np.ones((3, 3), "f4"),
    "discriminator.0.bias": np.ones(3, "f4"),
}
OPTIMIZER = {"state": {0: {"exp_avg": np.ones(3, "f4")}}, "param_groups": [{"lr": 1e-4}]}
SILENT = {
    "a loss": lambda sd: {"model": sd, "epoch": 3, "loss": [0.5]},
    "state_dict": lambda sd: {"state_dict": sd},
    "optimizer": lambda sd: {"model_state_dict": sd, "optimizer_state_dict": OPTIMIZER},
    "params": lambda sd: {"params": sd},
    "nested": lambda sd: {"model": {"state_dict": {"params": sd}}},
    "net": lambda sd: {"net": sd, "optimizer": OPTIMIZER, "epoch": 3},
    "weights": lambda sd: {"weights": sd},
    "any other name": lambda sd: {"my_sr": {"best": sd}},
    "DataParallel": lambda sd: prefixed("module.", sd),
    "a module around it": lambda sd: prefixed("model.", sd),
    "both": lambda sd: {"state_dict": prefixed("model.module.", sd)},
    "torch.compile": lambda sd: prefixed("_orig_mod.", sd),
    "torch.compile in DDP": lambda sd: prefixed("module._orig_mod.", sd),
    "three": lambda sd: prefixed("module._orig_mod.net_g.", sd),
    "in another order": lambda sd: prefixed("model.net_g._orig_mod.module.", sd),
    "a compiled part": lambda sd: {k.replace("body.0.", "body.0._orig_mod."): sd[k] for k in sd},
    "generator": lambda sd: prefixed("generator.", sd),
    "Parameters": lambda sd: {
        key: Made("torch._utils", "_rebuild_parameter", value, True, {})
        for key, value in sd.items()
    },
    "AveragedModel": lambda sd: prefixed("module.", sd) | {"n_averaged": np.array(7)},
    "a count": lambda sd: prefixed("net.", sd) | {"step": np.array(7)},
}


@pytest.mark.parametrize("wrap", SILENT.values(), ids=list(SILENT))
def test_the_network_is_found(wrap, edsr, tmp_path, capfd):
    variables, state_dict = edsr
    assert_same(load_weights(save(tmp_path / "x.pth", wrap(state_dict))).variables, variables)
    assert capfd.readouterr().err == ""


WITH_MORE = {
    "EMA": (lambda sd: {"params": other(sd), "params_ema": sd}, "params_ema", "params"),
    "EMA first": (lambda sd: {"ema": sd, "model": other(sd)}, "ema", "model"),
    "g_ema": (lambda sd: {"g_ema": sd, "g": other(sd)}, "g_ema", "g"),
    "EMA of a wrapped module": (
        lambda sd: {
            "state_dict": prefixed("module.", other(sd)),
            "state_dict_ema": prefixed("module.", sd),
        },
        "state_dict_ema.module",
        "state_dict",
    ),
    "EMA of a Lightning module": (
        lambda sd: {"state_dict": prefixed("net.", other(sd)) | prefixed("ema_model.module.", sd)},
        "state_dict.ema_model.module",
        "state_dict.net",
    ),
    "GAN": (
        lambda sd: {"state_dict_g": sd, "state_dict_d": {"a.weight": np.ones(3, "f4")}},
        "state_dict_g",
        "state_dict_d",
    ),
    "Lightning GAN": (
        lambda sd: {
            "state_dict": prefixed("generator.", sd)
            | DISCRIMINATOR
            | {"loss.vgg": np.ones(3, "f4")},
            "hyper_parameters": {"lr": 1e-4},
            "optimizer_states": [OPTIMIZER],
        },
        "state_dict.generator",
        "state_dict.discriminator, state_dict.loss",
    ),
    "several": (lambda sd: {"params": sd, "best": other(sd)}, "params", "best"),
    "stochastic average": (
        lambda sd: {"model": other(sd), "swa_model": prefixed("module.", sd)},
        "swa_model.module",
        "model",
    ),
}


@pytest.mark.parametrize(("wrap", "taken", "left"), WITH_MORE.values(), ids=list(WITH_MORE))
def test_what_is_left_out_is_told(wrap, taken, left, edsr, tmp_path, capfd):
    variables, state_dict = edsr
    assert_same(load_weights(save(tmp_path / "x.ckpt", wrap(state_dict))).variables, variables)
    expected = f"{tmp_path / 'x.ckpt'}: {taken} is taken; left out: {left}\n"
    assert capfd.readouterr().err == expected


def test_several_networks_of_equal_right_are_refused(edsr, tmp_path):
    tree = {"state_dict": prefixed("student.", edsr[1]) | prefixed("teacher.", edsr[1])}
    message = r"x\.pt: there are several networks: state_dict\.student, state_dict\.teacher; save"
    with pytest.raises(ValueError, match=message):
        load_weights(save(tmp_path / "x.pt", tree))


def test_the_state_of_an_optimizer_is_no_network(tmp_path, capfd):
    """Fully sharded training keeps it under the names of the arrays."""
    state_dict = to_torch(make_variables("drca"), name="drca")
    moments = {key: {"exp_avg": value, "exp_avg_sq": value} for key, value in state_dict.items()}
    tree = {"net": state_dict, "optimizer": {"state": moments}}
    weights = load_weights(save(tmp_path / "x.pt", tree))
    assert_same(weights.variables, make_variables("drca"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", OPTIONS)
def test_no_network_is_found_within_another(name):
    arrays = to_torch(make_variables(name), name=name)
    assert select_network(arrays, Path("x.pt")) == arrays
    found = select_network({f"a.b.{key}": value for key, value in arrays.items()}, Path("x.pt"))
    assert found.keys() == arrays.keys()


# ---- what is joined ----


def test_keys_are_joined_in_their_order():
    part = {"x": 1}
    tree = {"a": {"b": 1, "c": {"d": 2}}, "e": 3, 4: {"f": 5}, "g": part, "h": part}
    assert list(flatten(tree, Budget(2**20)).items()) == [
        ("a.b", 1),
        ("a.c.d", 2),
        ("e", 3),
        ("g.x", 1),
    ]


def test_joined_keys_are_held_to_the_budget():
    """A long key before many short ones would take more than all of them in the file."""
    tree = {"a" * 10**4: {str(i): 0 for i in range(10**4)}}
    with pytest.raises(ValueError, match="far more memory"):
        flatten(tree, Budget(10**6))


@pytest.mark.parametrize("depth", [12, 13])
def test_a_module_in_many_places_is_visited_once(depth):
    whole = Inert("nets.Net")
    parts = {"_modules": {}, "_parameters": {str(i): None for i in range(10_000)}}
    whole.state = parts
    tree = {str(i): whole for i in range(10_000)}
    for _ in range(depth - 1):
        tree = {"a": tree}
    start = time.perf_counter()
    assert flatten(tree, Budget(2**24)) == {}
    assert time.perf_counter() - start < 1


def test_modules_that_share_their_parameters_are_held_to_the_budget():
    shared = dict.fromkeys(map(str, range(1000)))
    modules = {str(i): Inert("nets.Net") for i in range(1000)}
    for of in modules.values():
        of.state = {"_modules": {}, "_parameters": shared}
    with pytest.raises(ValueError, match="far more memory"):
        flatten(modules, Budget(2**24))


def test_what_repeats_a_mark_is_one_prefix(tmp_path):
    """A longer prefix for each would take the square of the key's length."""
    key = "residual_layer.1.conv." * 2000
    tracemalloc.start()
    try:
        assert select_network({key: 0}, tmp_path) == {key: 0}
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_a_long_prefix_is_cut_in_the_message(edsr, capfd, tmp_path):
    select_network(prefixed("a" * 10**5 + ".", edsr[1]) | {"b": np.ones(3)}, tmp_path)
    assert len(capfd.readouterr().err) < 1000


def test_a_deep_tree_ends():
    tree = {"deep": {}, "a": 1}
    inner = tree["deep"]
    for _ in range(10**5):
        inner["x"] = {}
        inner = inner["x"]
    inner["y"] = 2
    assert flatten(tree, Budget(2**20)) == {"a": 1}


# ---- files that hold more than tensors ----


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "more",
    [
        {"args": argparse.Namespace(lr=1e-4)},
        {"best": np.float64(3), "folder": Path("x")},
        {"hyper_parameters": {"net": module()}},
        {"device": Made("torch", "device", "cuda"), "shape": Made("torch", "Size", (3, 4))},
    ],
    ids=["Namespace", "NumPy", "module", "PyTorch"],
)
def test_what_is_beside_the_network_need_not_be_understood(more, zipped, edsr, tmp_path):
    variables, state_dict = edsr
    path = save(tmp_path / "x.ckpt", {"state_dict": state_dict, **more}, zipped=zipped)
    assert_same(load_weights(path).variables, variables)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_whole_network_is_read_without_its_class(prefix, zipped, edsr, tmp_path):
    def nested(state_dict):
        """Modules in each other as the dots in the keys are."""
        names = dict.fromkeys(key.partition(".")[0] for key in state_dict)
        parts = {}
        for name in names:
            inner = {k[len(name) + 1 :]: v for k, v in state_dict.items() if k.startswith(name)}
            parts[name] = inner[""] if "" in inner else nested(inner)
        return module(**parts)

    tree = {"epoch": 50, "model": nested(prefixed(prefix, edsr[1]))}
    assert_same(load_weights(save(tmp_path / "x.pt", tree, zipped=zipped)).variables, edsr[0])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_no_code_beside_the_network_runs(zipped, edsr, tmp_path):
    marker = tmp_path / "marker"
    tree = {"model": edsr[1], "args": Made("io", "open", str(marker), "x")}
    path = save(tmp_path / "x.pt", tree, zipped=zipped)
    assert_same(load_weights(path).variables, edsr[0])
    assert not marker.exists()


def test_half_of_a_compiled_lightning_checkpoint_upscales(edsr, tmp_path):
    tensors = {key: value.astype(np.float16) for key, value in edsr[1].items()}
    tree = {"state_dict": prefixed("net_g._orig_mod.", tensors), "epoch": 3}
    model = load_model(save(tmp_path / "Best.CKPT", tree))
    assert (model.name, model.scale) == ("Best", 2)
    assert model.upscale(np.zeros((6, 5, 3), np.uint8)).shape == (12, 10, 3)
