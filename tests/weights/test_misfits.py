"""State dicts that do not fit the network that they are of: all that is wrong is listed alone."""

from pathlib import Path

import numpy as np
import pytest

from lnln_jax.weights.recognition import from_state_dict
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, make_variables

SCALELESS = ("vdsr", "pan")  # whose files do not show the scale


def misfits(name, state_dict):
    """The keys that the one error lists, with what it says of them."""
    with pytest.raises(ValueError, match=f"taken for {name} x2 ") as error:
        from_state_dict(state_dict, Path("x.pt"), scale=2 if name in SCALELESS else None)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


# The first and the last arrays, and those of the first block, the attention and the upsampler.
MISSHAPEN = {
    "lnln": ["head.0.pointwise.weight", "tail.0.0.pointwise.weight", "non_local.g.weight"],
    "drca": ["head.0.weight", "tail.0.0.weight", "body.0.body.0.body.0.weight"],
    "rcan": ["head.0.weight", "tail.0.0.weight", "body.0.body.0.body.3.conv_du.0.weight"],
    "edsr": ["head.0.weight", "tail.0.0.weight", "body.0.body.0.weight", "tail.1.weight"],
    "vdsr": ["output.weight"],
    "carn": ["entry.weight", "b1.b1.body.0.weight", "b2.c3.body.0.weight", "exit.weight"],
    "carn_m": ["entry.weight", "b1.b1.body.4.weight", "c1.body.0.weight", "exit.weight"],
    "pan": ["conv_first.weight", "SCPA_trunk.0.PAConv.k3.weight", "att1.conv.weight"],
    "san": ["head.0.weight", "tail.0.0.weight", "RG.0.soca.conv_du.0.weight"],
    "swinir_light": ["conv_first.weight", "upsample.0.weight", "layers.1.conv.weight"],
    "rlfn": ["conv_1.weight", "upsampler.0.weight", "block_1.c1_r.weight", "block_1.c5.weight"],
    "rfdn": ["fea_conv.weight", "upsampler.0.weight", "B1.c4.weight", "B1.esa.conv4.weight"],
    "imdn": ["fea_conv.weight", "upsampler.0.weight", "IMDB1.c4.weight", "c.0.weight"],
    "rdn": ["GFF.1.weight", "UPNet.0.weight", "RDBs.0.LFF.weight"],
    "msrn": ["head.0.weight", "sub_mean.weight", "body.0.conv_5_2.weight", "tail.1.weight"],
    "wdsr_a": ["head.0.weight_v", "body.0.body.2.weight_g", "tail.0.weight_v"],
    "wdsr_b": ["head.0.weight_v", "body.0.body.3.weight_g", "tail.0.weight_v"],
    "wdsr_reloaded": ["body.0.weight_v", "body.1.body.2.weight_g", "skip.0.weight_v"],
}
# How the keys of the first layer begin, where it is not the head.
FIRST = {
    "vdsr": "input.",
    "carn": "entry.",
    "carn_m": "entry.",
    "pan": "conv_first.",
    "swinir_light": "conv_first.",
    "rlfn": "conv_1.",
    "rfdn": "fea_conv.",
    "imdn": "fea_conv.",
    "rdn": "SFENet1.",
    "wdsr_reloaded": "skip.0.",
}


@pytest.mark.parametrize(
    ("name", "key"), [(n, key) for n, keys in MISSHAPEN.items() for key in keys]
)
def test_a_misshapen_array_is_listed_alone(name, key):
    state_dict = to_torch(make_variables(name), name=name)
    right = state_dict[key].shape
    for wrong in [(9, *right[1:]), (right[0], right[1] + 1, *right[2:]), (right[0],), ()]:
        damaged = state_dict | {key: np.zeros(wrong, np.float32)}
        assert misfits(name, damaged) == [f"{key} has shape {wrong} instead of {right}"]


@pytest.mark.parametrize("name", OPTIONS)
def test_missing_and_renamed_arrays_are_listed_alone(name):
    state_dict = to_torch(make_variables(name), name=name)
    first = FIRST.get(name, "head.")
    renamed = {key.replace(first, f"my_{first}"): value for key, value in state_dict.items()}
    keys = sorted(key for key in state_dict if key.startswith(first))
    unexpected = [f"unexpected my_{key}" for key in keys]
    assert misfits(name, renamed) == [f"missing {key}" for key in keys] + unexpected
    for key in MISSHAPEN[name]:
        rest = {other: value for other, value in state_dict.items() if other != key}
        assert misfits(name, rest) == [f"missing {key}"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("lnln", "body.0.body.7.body.0.pointwise.weight"),
        ("drca", "body.0.body.0.body.3.conv_du.0.weight"),  # RCAN's
        ("rcan", "body.12.body.0.body.0.weight"),
        ("rcan", "body.1.body.2.body.0.weight"),
        ("rcan", "body.0.body.0.body.3.weight"),  # DRCA's
        ("edsr", "body.12.body.0.weight"),
        ("edsr", "body.99999999.body.0.weight"),
        ("vdsr", "residual_layer.12.conv.weight"),
        ("vdsr", "residual_layer.1.conv.bias"),
        ("carn", "b1.b4.body.0.weight"),
        ("carn", "b1.b1.body.4.weight"),  # CARN-M's
        ("carn_m", "b1.b1.body.6.weight"),
        ("carn_m", "c4.body.0.weight"),
        ("pan", "SCPA_trunk.7.conv3.weight"),
        ("pan", "upconv1.conv.weight"),
        ("san", "RG.12.rcab.0.conv_first.0.weight"),
        ("san", "RG.1.rcab.7.conv_first.0.weight"),
        ("san", "RG.12.gamma"),
        ("swinir_light", "conv_before_upsample.0.weight"),
        ("swinir_light", "layers.0.residual_group.blocks.2.attn_mask"),
        ("rlfn", "block_12.c5.weight"),
        ("rlfn", "block_1.esa.conv_max.weight"),  # RFDN's
        ("rfdn", "B12.c5.weight"),
        ("imdn", "IMDB12.c5.weight"),
        ("rdn", "RDBs.2.convs.7.conv.0.weight"),
        ("rdn", "RDBs.12.LFF.weight"),
        ("msrn", "body.12.conv_5_1.weight"),
        ("wdsr_a", "body.12.body.0.weight_v"),
        ("wdsr_b", "body.0.body.4.weight_v"),
        ("wdsr_reloaded", "body.12.weight_v"),
    ],
)
def test_an_extra_array_is_listed_alone(name, key):
    state_dict = to_torch(make_variables(name), name=name)
    extra = {key: np.zeros((8, 8, 3, 3), np.float32)}
    assert misfits(name, state_dict | extra) == [f"unexpected {key}"]


def test_a_missing_block_ends_the_count():
    state_dict = to_torch(make_variables("edsr"), name="edsr")
    rest = {key: value for key, value in state_dict.items() if not key.startswith("body.1.body.")}
    behind = [key for key in state_dict if key.startswith(("body.2.body.", "body.3."))]
    assert misfits("edsr", rest) == [
        *("missing body.1.bias", "missing body.1.weight"),
        *(f"unexpected {key}" for key in sorted(behind)),
    ]


def test_an_array_behind_the_last_block_counts_as_one():
    state_dict = to_torch(make_variables("edsr"), name="edsr")
    extra = {"body.3.body.0.weight": state_dict["body.2.body.0.weight"]}
    assert misfits("edsr", state_dict | extra) == [
        *(f"missing body.3.body.{key}" for key in ("0.bias", "2.bias", "2.weight")),
        *("missing body.4.bias", "missing body.4.weight"),
        *("unexpected body.3.bias", "unexpected body.3.weight"),
    ]


def test_arrays_of_another_upsampler_are_listed_where_no_scale_is_given(tmp_path):
    state_dict = to_torch(make_variables("swinir_light"), name="swinir_light")
    classical = {"conv_before_upsample.0.bias": (64,), "upsample.0.bias": (256,)}  # SwinIR's
    state_dict |= {key: np.zeros(shape, np.float32) for key, shape in classical.items()}
    message = "(?s)unexpected conv_before_upsample.0.bias.*upsample.0.bias has shape"
    with pytest.raises(ValueError, match=message):
        from_state_dict(state_dict, tmp_path)


def test_widths_that_disagree_are_refused():
    state_dict = to_torch(make_variables("vdsr"), name="vdsr")
    key = "residual_layer.0.conv.weight"  # the one that shows n_feats
    wrong = {key: np.zeros((9, 8, 3, 3), np.float32)}
    found = misfits("vdsr", state_dict | wrong)
    assert f"{key} has shape (9, 8, 3, 3) instead of (9, 9, 3, 3)" in found
    assert len(found) == len(state_dict)
