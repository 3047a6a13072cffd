import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax.models import create_model
from lnln_jax.torch_port import from_torch, to_torch

SMALL = {"n_feats": 8, "reduction": 4}


def shapes_of(name, scale=2, **options):
    module = create_model(name, scale, **options)
    return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def make_variables(name, scale=2, **options):
    """Variables of which no two numbers are the same."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
        shapes_of(name, scale, **SMALL, **options),
    )


def assert_same(tree, expected):
    jax.tree.map(np.testing.assert_array_equal, tree, expected)


@pytest.fixture
def tiny():
    """LNLN's smallest network: its variables and its state dict."""
    variables = make_variables("lnln", n_resgroups=1, n_resblocks=1)
    return variables, to_torch(variables, name="lnln")


@pytest.mark.parametrize("name", ["lnln", "drca"])
@pytest.mark.parametrize(
    ("scale", "n_resgroups", "n_resblocks"), [(2, 2, 3), (3, 1, 1), (4, 3, 1), (2, 1, 2)]
)
def test_round_trips_are_exact(name, scale, n_resgroups, n_resblocks):
    options = {"n_resgroups": n_resgroups, "n_resblocks": n_resblocks}
    variables = make_variables(name, scale, **options)
    state_dict = to_torch(variables, name=name, step=7)
    back = from_torch(state_dict, name=name, like=shapes_of(name, scale, **SMALL, **options))
    assert_same(back, variables)
    assert_same(to_torch(back, name=name, step=7), state_dict)
    assert all(array.flags.c_contiguous for array in state_dict.values())
    assert {str(array.dtype) for array in state_dict.values()} == {"float32", "int64"}


@pytest.mark.parametrize("scale", [2, 4])
def test_drca_has_the_published_keys(data_dir, scale):
    path = data_dir.parent / "reference" / "state_dicts" / f"drca_x{scale}.json"
    if not path.is_file():
        pytest.skip(f"no published keys: {path} is not there")
    published = json.loads(path.read_text())["state_dict"]
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes_of("drca", scale))
    state_dict = to_torch(zeros, name="drca")
    assert {key: list(array.shape) for key, array in state_dict.items()} == published


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["lnln", "drca"])
def test_reference_has_the_same_keys(name, scale):
    pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")
    import torch_reference

    network = {"lnln": torch_reference.LNLN, "drca": torch_reference.DRCA}[name]
    options = {"n_resgroups": 2, "n_resblocks": 2}
    expected = network(scale, **SMALL, **options).state_dict()
    state_dict = to_torch(make_variables(name, scale, **options), name=name)
    assert {k: a.shape for k, a in state_dict.items()} == {k: v.shape for k, v in expected.items()}


def test_lnln_format(tiny):
    """LNLN's keys are a public format: they must never change."""
    _, state_dict = tiny
    arrays_of = {
        "conv": ("weight", "bias"),
        "dsc": ("depthwise.weight", "depthwise.bias", "pointwise.weight", "pointwise.bias"),
        "norm": ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
    }
    layers = {
        "sub_mean": "conv",
        "add_mean": "conv",
        "head.0": "dsc",
        "non_local.theta": "conv",
        "non_local.phi": "conv",
        "non_local.g": "conv",
        "non_local.W": "conv",
        "body.0.body.0.body.0": "dsc",
        "body.0.body.0.body.1": "norm",
        "body.0.body.0.body.3": "dsc",
        "body.0.body.0.body.4": "norm",
        "body.0.body.0.body.5.conv_du.0": "conv",
        "body.0.body.0.body.5.conv_du.2": "conv",
        "body.0.body.0.proj.0": "conv",
        "body.1": "conv",
        "tail.0.0": "dsc",
        "tail.1": "conv",
    }
    keys = {f"{layer}.{array}" for layer, kind in layers.items() for array in arrays_of[kind]}
    assert state_dict.keys() == keys
    assert state_dict["head.0.depthwise.weight"].shape == (3, 1, 3, 3)
    assert state_dict["head.0.pointwise.weight"].shape == (8, 3, 1, 1)
    np.testing.assert_array_equal(state_dict["sub_mean.weight"][..., 0, 0], np.eye(3))
    mean = np.float32([0.4488 * 255, 0.4371 * 255, 0.4040 * 255])
    np.testing.assert_array_equal(state_dict["sub_mean.bias"], -mean)
    np.testing.assert_array_equal(state_dict["add_mean.bias"], mean)


def test_arrays_go_where_they_belong():
    variables = make_variables("lnln", scale=4, n_resgroups=2, n_resblocks=3)
    state_dict = to_torch(variables, name="lnln", step=5)
    body = variables["params"]["body"]
    first, blocks = body["group_1"]["first"], body["group_2"]["blocks"]
    stats = variables["batch_stats"]["body"]["group_2"]["blocks"]
    pairs = {
        "body.0.body.0.body.0.depthwise.weight": np.moveaxis(
            first["conv_1"]["depthwise"]["kernel"], 2, 0
        )[:, None],
        "body.0.body.0.proj.0.weight": first["skip"]["kernel"][0, 0].T[..., None, None],
        "body.1.body.2.body.4.running_var": stats["norm_2"]["var"][1],
        "body.1.body.1.body.5.conv_du.2.bias": blocks["attention"]["excite"]["bias"][0],
        "body.2.bias": body["projection"]["bias"],
        "tail.0.2.pointwise.bias": variables["params"]["upsampler"]["conv_2"]["pointwise"]["bias"],
        "tail.1.weight": np.moveaxis(variables["params"]["tail"]["kernel"], (3, 2), (0, 1)),
        "body.0.body.1.body.1.num_batches_tracked": np.array(5),
    }
    for key, expected in pairs.items():
        np.testing.assert_array_equal(state_dict[key], expected, strict=True)


def test_tensors_of_other_dtypes_become_float32(tiny):
    torch = pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")
    variables, state_dict = tiny
    tensors = {key: torch.from_numpy(array) for key, array in state_dict.items()}
    tensors["tail.1.bias"] = tensors["tail.1.bias"].double().requires_grad_()
    tensors["tail.1.weight"] = tensors["tail.1.weight"].bfloat16()
    back = from_torch(tensors, name="lnln", like=variables)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(back)} == {"float32"}
    np.testing.assert_array_equal(back["params"]["tail"]["bias"], state_dict["tail.1.bias"])
    error = back["params"]["tail"]["kernel"] - variables["params"]["tail"]["kernel"]
    assert 0 < np.abs(error).max() < 2**-6  # bfloat16 has 8 bits, the kernel's values are below 4


def test_counts_of_batches_may_be_absent(tiny):
    variables, state_dict = tiny
    state_dict = {key: a for key, a in state_dict.items() if "num_batches_tracked" not in key}
    assert_same(from_torch(state_dict, name="lnln", like=variables), variables)


def test_all_wrong_keys_are_listed(tiny):
    variables, state_dict = tiny
    del state_dict["head.0.depthwise.bias"], state_dict["sub_mean.weight"]
    state_dict["module.head"] = np.zeros(3)
    state_dict["tail.1.bias"] = np.zeros(4, np.float32)
    state_dict["add_mean.bias"] = np.float32([0.4488, 0.4371, 0.4040])
    with pytest.raises(ValueError, match="does not fit this lnln") as error:
        from_torch(state_dict, name="lnln", like=variables)
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert len(lines) == 5
    assert lines[0].startswith("add_mean.bias is [0.448")
    assert lines[1:] == [
        "missing head.0.depthwise.bias",
        "missing sub_mean.weight",
        "tail.1.bias has shape (4,) instead of (3,)",
        "unexpected module.head",
    ]


@pytest.mark.parametrize(
    ("n_resgroups", "problem"),
    [(1, "unexpected body.1.body.0.body.0.weight"), (3, "missing body.2.body.1.body.4.weight")],
)
def test_other_depths_do_not_fit(n_resgroups, problem):
    state_dict = to_torch(make_variables("drca", n_resgroups=2, n_resblocks=2), name="drca")
    other = make_variables("drca", n_resgroups=n_resgroups, n_resblocks=2)
    with pytest.raises(ValueError, match=problem):
        from_torch(state_dict, name="drca", like=other)


def test_mean_shift_may_differ_in_the_last_bit(tiny):
    variables, state_dict = tiny
    state_dict["add_mean.bias"] = np.float32(255) * np.float32([0.4488, 0.4371, 0.4040])
    assert_same(from_torch(state_dict, name="lnln", like=variables), variables)


def test_variables_of_another_network_are_refused(tiny):
    variables, _ = tiny
    with pytest.raises(ValueError, match="no PyTorch key for params/non_local/g/bias"):
        to_torch(variables, name="drca")
    with pytest.raises(ValueError, match="missing collection batch_stats"):
        to_torch({"params": variables["params"]}, name="lnln")
    with pytest.raises(ValueError, match="name is 'san'; there are tables for drca, lnln"):
        to_torch(variables, name="san")
    with pytest.raises(ValueError, match="name is 'san'; there are tables for drca, lnln"):
        from_torch({}, name="san", like=variables)
