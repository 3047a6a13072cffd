import jax
import numpy as np
import pytest

from lnln_jax.models import scales_of
from lnln_jax.weights.torch_port import from_torch, to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables


@pytest.fixture
def tiny():
    """LNLN's smallest network: its variables and its state dict."""
    variables = make_variables("lnln", n_resgroups=1, n_resblocks=1)
    return variables, to_torch(variables, name="lnln")


@pytest.mark.parametrize("name", OPTIONS)
def test_layouts_and_dtypes(name):
    state_dict = to_torch(make_variables(name), name=name)
    assert all(array.flags.c_contiguous for array in state_dict.values())
    integers = (".num_batches_tracked", ".relative_position_index")
    counts = {key for key in state_dict if key.endswith(integers)}
    assert bool(counts) == (name in ("lnln", "drca", "swinir_light"))
    for key, array in state_dict.items():
        assert array.dtype == ("int64" if key in counts else "float32")


@pytest.mark.parametrize(
    ("name", "scale"), [(n, scale) for n in OPTIONS for scale in (2, max(scales_of(n)))]
)
def test_reference_has_the_same_keys(name, scale):
    pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")
    from lnln_jax import torch_reference

    expected = torch_reference.NETWORKS[name](scale, **OPTIONS[name]).state_dict()
    state_dict = to_torch(make_variables(name, scale), name=name)
    shapes = [(key, array.shape) for key, array in state_dict.items()]
    assert shapes == [(key, tuple(tensor.shape)) for key, tensor in expected.items()]


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
    mean = np.float32(255) * np.float32([0.4488, 0.4371, 0.4040])  # as in EDSR's code
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
    [(1, "unexpected body.1.body.0.body.0.weight"), (3, "missing body.2.body.0.body.4.weight")],
)
def test_other_depths_do_not_fit(n_resgroups, problem):
    state_dict = to_torch(make_variables("drca", n_resgroups=2, n_resblocks=2), name="drca")
    other = make_variables("drca", n_resgroups=n_resgroups, n_resblocks=2)
    with pytest.raises(ValueError, match=problem):
        from_torch(state_dict, name="drca", like=other)


def test_a_long_list_is_cut(tiny):
    variables, state_dict = tiny
    extra = {f"extra.{i}": np.zeros(1, np.float32) for i in range(25)}
    with pytest.raises(ValueError, match="does not fit this lnln") as error:
        from_torch(state_dict | extra, name="lnln", like=variables)
    lines = str(error.value).splitlines()
    assert (len(lines), lines[1], lines[-1]) == (22, "  unexpected extra.0", "  and 5 more")


def test_what_the_authors_never_use_is_written_as_zeros_and_not_read():
    variables = make_variables("san")
    state_dict = to_torch(variables, name="san")
    unused = {key: array for key, array in state_dict.items() if not array.any()}
    others = [f"RG.{group}.gamma" for group in range(OPTIONS["san"]["n_resgroups"])]
    arrays = [f"{part}.{kind}" for part in ("0", "2") for kind in ("weight", "bias")]
    others += ["conv_last.weight", "conv_last.bias"]
    assert unused.keys() == {*others, *(f"non_local.soca.conv_du.{array}" for array in arrays)}
    moved = {key: array + 1 for key, array in unused.items()}
    assert_same(from_torch(state_dict | moved, name="san", like=variables), variables)
    used = {key: array for key, array in state_dict.items() if key not in unused}
    assert_same(from_torch(used, name="san", like=variables), variables)


def test_mean_shift_may_differ_in_the_last_bit(tiny):
    variables, state_dict = tiny
    state_dict["add_mean.bias"] = np.float32([0.4488 * 255, 0.4371 * 255, 0.4040 * 255])
    assert (state_dict["add_mean.bias"] != -state_dict["sub_mean.bias"]).any()
    assert_same(from_torch(state_dict, name="lnln", like=variables), variables)


def test_variables_of_another_network_are_refused(tiny):
    variables, _ = tiny
    with pytest.raises(ValueError, match="no PyTorch key for params/non_local/g/bias"):
        to_torch(variables, name="drca")
    with pytest.raises(ValueError, match="missing collection batch_stats"):
        to_torch({"params": variables["params"]}, name="lnln")
    unknown = "name is 'srcnn'; there are tables for .*drca, edsr, .*lnln, .*vdsr"
    with pytest.raises(ValueError, match=unknown):
        to_torch(variables, name="srcnn")
    with pytest.raises(ValueError, match=unknown):
        from_torch({}, name="srcnn", like=variables)
