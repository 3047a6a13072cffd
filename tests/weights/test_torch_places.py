"""Where the arrays of each network stand in its PyTorch state dict."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import make_variables


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        (
            "rcan",
            {
                "body.2.body.1.body.0.weight": ("groups/blocks/conv_1/kernel", (2, 1)),
                "body.0.body.1.body.2.bias": ("groups/blocks/conv_2/bias", (0, 1)),
                "body.1.body.0.body.3.conv_du.2.bias": (
                    "groups/blocks/attention/excite/bias",
                    (1, 0),
                ),
                "body.2.body.2.weight": ("groups/conv/kernel", (2,)),
                "body.3.bias": ("body/bias", ()),
            },
        ),
        (
            "edsr",
            {
                "body.2.body.0.weight": ("blocks/conv_1/kernel", (2,)),
                "body.1.body.2.bias": ("blocks/conv_2/bias", (1,)),
                "body.3.weight": ("body/kernel", ()),
            },
        ),
        (
            "san",
            {
                "gamma": ("gamma", ()),
                "sub_mean.weight": ("sub_mean/kernel", ()),
                "RG.2.rcab.1.conv_first.0.weight": ("groups/blocks/conv_1/kernel", (2, 1)),
                "RG.0.rcab.1.conv_first.2.bias": ("groups/blocks/conv_2/bias", (0, 1)),
                "RG.1.soca.conv_du.2.weight": ("groups/attention/excite/kernel", (1,)),
                "RG.2.conv_last.bias": ("groups/conv/bias", (2,)),
                "non_local.non_local.phi.0.weight": ("non_local/phi/kernel", ()),
            },
        ),
        (
            "vdsr",
            {
                "input.weight": ("first/conv/kernel", ()),
                "residual_layer.2.conv.weight": ("layers/conv/kernel", (2,)),
                "output.weight": ("last/kernel", ()),
            },
        ),
        (
            "carn",
            {
                "b1.b3.body.2.weight": ("block_1/unit_3/conv_2/kernel", ()),
                "b3.c2.body.0.bias": ("block_3/fuse_2/bias", ()),
                "c3.body.0.weight": ("fuse_3/kernel", ()),
                "upsample.up.body.0.weight": ("upsampler/conv_1/kernel", ()),
            },
        ),
        (
            "carn_m",
            {
                "b2.b1.body.2.weight": ("block_2/unit/conv_2/kernel", ()),
                "b2.b1.body.4.bias": ("block_2/unit/pointwise/bias", ()),
            },
        ),
        (
            "pan",
            {
                "SCPA_trunk.1.conv1_b.weight": ("blocks/split_b/kernel", (1,)),
                "SCPA_trunk.0.PAConv.k2.bias": ("blocks/conv_b/attention/bias", (0,)),
                "SCPA_trunk.1.PAConv.k4.weight": ("blocks/conv_b/conv_2/kernel", (1,)),
                "att1.conv.weight": ("upsampler/block_1/attention/conv/kernel", ()),
            },
        ),
        (
            "rlfn",
            {
                "conv_1.bias": ("head/bias", ()),
                "block_2.c3_r.weight": ("blocks/conv_3/kernel", (1,)),
                "block_3.esa.conv_f.weight": ("blocks/attention/skip/kernel", (2,)),
                "conv_2.weight": ("body/kernel", ()),
                "upsampler.0.weight": ("upsampler/kernel", ()),
            },
        ),
        (
            "rfdn",
            {
                "fea_conv.bias": ("head/bias", ()),
                "B2.c3_d.weight": ("blocks/distill_3/kernel", (1,)),
                "B1.c3_r.bias": ("blocks/refine_3/bias", (0,)),
                "B3.c4.weight": ("blocks/distill_4/kernel", (2,)),
                "B3.esa.conv_max.weight": ("blocks/attention/coarse_1/kernel", (2,)),
                "B3.esa.conv3.weight": ("blocks/attention/coarse_2/kernel", (2,)),
                "B3.esa.conv3_.weight": ("blocks/attention/coarse_3/kernel", (2,)),
                "c.0.weight": ("fusion/kernel", ()),
            },
        ),
        (
            "imdn",
            {
                "IMDB1.c2.weight": ("blocks/conv_2/kernel", (0,)),
                "IMDB3.c5.bias": ("blocks/fuse/bias", (2,)),
                "IMDB2.cca.conv_du.0.weight": ("blocks/attention/squeeze/kernel", (1,)),
                "c.0.bias": ("fusion/bias", ()),
                "LR_conv.weight": ("body/kernel", ()),
            },
        ),
        (
            "rdn",
            {
                "SFENet2.weight": ("shallow_2/kernel", ()),
                "RDBs.1.convs.2.conv.0.weight": ("blocks/conv_3/kernel", (1,)),
                "RDBs.0.LFF.bias": ("blocks/fusion/bias", (0,)),
                "GFF.0.weight": ("fusion_1/kernel", ()),
                "UPNet.2.weight": ("upsampler/conv_2/kernel", ()),
            },
        ),
        (
            "msrn",
            {
                "sub_mean.weight": ("sub_mean/kernel", ()),
                "add_mean.bias": ("add_mean/bias", ()),
                "body.1.conv_5_2.weight": ("blocks/conv_5_2/kernel", (1,)),
                "body.0.confusion.bias": ("blocks/fusion/bias", (0,)),
                "tail.1.weight": ("conv/kernel", ()),
            },
        ),
        (
            "wdsr_b",
            {
                "head.0.bias": ("head/bias", ()),
                "body.2.body.3.bias": ("blocks/conv/bias", (2,)),
                "skip.0.bias": ("skip/bias", ()),
            },
        ),
        (
            "wdsr_reloaded",
            {
                "body.0.bias": ("head/bias", ()),
                "body.1.body.2.bias": ("blocks/shrink/bias", (0,)),
                "body.4.bias": ("tail/bias", ()),
            },
        ),
    ],
)
def test_arrays_of_other_networks_go_where_they_belong(name, pairs):
    variables = make_variables(name)
    state_dict = to_torch(variables, name=name)
    params = flatten_dict(variables["params"], sep="/")
    for key, (path, position) in pairs.items():
        expected = params[path][position]
        if key.endswith("weight"):
            expected = np.moveaxis(expected, (3, 2), (0, 1))
        np.testing.assert_array_equal(state_dict[key], expected, strict=True)
