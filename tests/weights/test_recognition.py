"""Which network a state dict is of."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from lnln_jax.config import ModelConfig
from lnln_jax.models import MODELS, create_model
from lnln_jax.weights.recognition import from_state_dict
from lnln_jax.weights.tables import NETWORKS
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import (
    OPTIONS,
    PUBLISHED,
    assert_same,
    make_variables,
    published_shapes,
)

SCALELESS = ("vdsr", "carn_multi", "carn_m_multi", "pan")  # whose files do not show the scale


@pytest.mark.parametrize(
    "stem",
    # At x3 the keys are those of x2.
    [pytest.param(s, marks=[pytest.mark.slow] if s.endswith("_x3") else []) for s in PUBLISHED],
)
def test_published_checkpoints_are_recognised_and_written_in_their_order(stem, tmp_path):
    name, scale = PUBLISHED[stem]
    shapes = published_shapes(stem)
    state_dict = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    network = ModelConfig(name).name
    state_dict |= NETWORKS[network].constants
    hint = {"scale": scale} if name in SCALELESS else {}
    weights = from_state_dict(state_dict, tmp_path, **hint)
    assert (weights.model.name, weights.model.scale) == (network, scale)
    assert weights.module() == create_model(name, scale)
    leaves = jax.tree.leaves(weights.variables)
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}
    written = to_torch(weights.variables, name=network)
    assert [(key, array.shape) for key, array in written.items()] == list(shapes.items())


@pytest.mark.parametrize(
    ("name", "scale", "options"),
    [
        *((name, 2, {}) for name in OPTIONS),
        *(
            (name, scale, {"n_resgroups": groups, "n_resblocks": blocks})
            for name in ("lnln", "drca", "rcan", "san")
            for scale, groups, blocks in [(2, 1, 2), (3, 1, 1), (4, 3, 1)]
        ),
        *(("edsr", scale, {"n_resblocks": blocks}) for scale, blocks in [(3, 1), (4, 2)]),
        *((name, 8, {}) for name in ("lnln", "drca", "rcan", "edsr")),
        *(("vdsr", 2, {"n_layers": n, "n_colors": c}) for n, c in [(3, 1), (4, 3)]),
        *((name, scale, {}) for name in ("carn", "carn_m") for scale in (3, 4)),
        *((name, 3, {"n_scales": 3}) for name in ("carn", "carn_m")),
        *(("pan", scale, {"n_resblocks": n}) for scale, n in [(2, 3), (3, 1), (4, 2)]),
        *(
            ("swinir_light", scale, {"n_heads": n, "n_resblocks": n})
            for scale, n in [(3, 1), (4, 4)]
        ),
        *(
            (name, scale, {"n_resblocks": n})
            for name in ("rlfn", "rfdn", "imdn")
            for scale, n in [(3, 1), (4, 2)]
        ),
        *(("rdn", scale, {"n_resblocks": n, "n_layers": n}) for scale, n in [(3, 1), (4, 3)]),
        *(
            (name, scale, {"n_resblocks": n})
            for name in ("msrn", "wdsr_a", "wdsr_b", "wdsr_reloaded")
            for scale, n in [(3, 1), (4, 3)]
        ),
    ],
)
def test_hyper_parameters_show_and_round_trips_are_exact(name, scale, options, tmp_path):
    variables = make_variables(name, scale, **options)
    state_dict = to_torch(variables, name=name, step=9)
    hint = {"scale": scale} if name in SCALELESS or "n_scales" in options else {}
    weights = from_state_dict(state_dict, tmp_path, **hint)
    assert (weights.model.name, weights.model.scale) == (name, scale)
    assert weights.model.options == {**OPTIONS[name], **options}
    assert weights.step == (9 if name in ("lnln", "drca") else 0)
    assert_same(weights.variables, variables)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lnln", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 9, "reduction": 4}),
        ("drca", {"n_resgroups": 3, "n_resblocks": 1, "n_feats": 10, "reduction": 1}),
        ("rcan", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 6, "reduction": 6}),
        ("rcan", {"n_resgroups": 1, "n_resblocks": 3}),
        ("edsr", {"n_resblocks": 1, "n_feats": 5}),
        ("vdsr", {"n_layers": 3, "n_feats": 1, "n_colors": 3}),
        ("carn", {"n_feats": 1}),
        ("carn_m", {"n_feats": 1, "groups": 1}),
        ("carn_m", {"n_feats": 6, "groups": 6}),
        ("pan", {"n_resblocks": 1, "n_feats": 2, "n_upsampler_feats": 1}),
        ("san", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 9, "reduction": 4}),
        ("swinir_light", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 1, "n_heads": 1}),
        ("rlfn", {"n_resblocks": 1, "n_feats": 1, "n_mid_feats": 2, "n_attention_feats": 1}),
        ("rfdn", {"n_resblocks": 1, "n_feats": 4}),
        ("imdn", {"n_resblocks": 1, "n_feats": 4, "reduction": 1}),
        ("rdn", {"n_resblocks": 1, "n_layers": 1, "growth_rate": 1, "n_feats": 2}),
        ("msrn", {"n_resblocks": 1, "n_feats": 1}),
        ("wdsr_a", {"n_resblocks": 1, "n_feats": 2, "block_feats": 1}),
        ("wdsr_b", {"n_resblocks": 1, "n_feats": 1, "block_feats": 2, "low_rank_feats": 1}),
        ("wdsr_reloaded", {"n_resblocks": 1, "n_feats": 1, "block_feats": 2}),
    ],
)
def test_hyper_parameters_of_the_smallest_networks_show(name, options, tmp_path):
    variables = make_variables(name, **options)
    hint = {"scale": 2} if name in SCALELESS else {}
    weights = from_state_dict(to_torch(variables, name=name), tmp_path, **hint)
    expected = {**OPTIONS[name], **options}
    if "reduction" in expected:  # 9 // 4 = 9 // 3: what shows is as good
        squeezed = expected["n_feats"] // expected.pop("reduction")
        assert expected["n_feats"] // weights.model.options["reduction"] == squeezed
    assert weights.model.options.items() >= expected.items()
    assert_same(weights.variables, variables)


def test_every_network_has_a_mark_of_its_own():
    assert NETWORKS.keys() == MODELS.keys()
    for name in NETWORKS:
        keys = to_torch(make_variables(name), name=name)
        for other, network in NETWORKS.items():
            # WDSR-B has the keys of A, and more of them that are marks.
            marked = name == other or {name, other} == {"wdsr_a", "wdsr_b"}
            assert any(re.match(network.mark, key) for key in keys) == marked


def test_a_network_of_like_keys_is_not_taken_for_another():
    keys = ("head.0", "body.0.body.0", "body.0.body.2", "tail.0")
    parts = ("bias", "weight_orig", "weight_u")  # with PyTorch's spectral normalisation
    state_dict = {f"{key}.{part}": np.zeros(3, np.float32) for key in keys for part in parts}
    with pytest.raises(ValueError, match=r"no known network .*: head\.0\.bias, "):
        from_state_dict(state_dict, Path("x.pt"))


@pytest.mark.parametrize(("n_feats", "res_scale"), [(256, 0.1), (64, 1.0), (8, 1.0)])
def test_the_res_scale_is_the_authors_for_the_width(n_feats, res_scale, tmp_path):
    state_dict = to_torch(make_variables("edsr", n_resblocks=1, n_feats=n_feats), name="edsr")
    assert from_state_dict(state_dict, tmp_path).model.options["res_scale"] == res_scale
    weights = from_state_dict(state_dict, tmp_path, res_scale=0.5)
    assert weights.module().res_scale == 0.5


@pytest.mark.parametrize(("name", "scales"), [("pan", "2, 3"), ("vdsr", "2, 3, 4")])
def test_the_scales_that_a_file_may_be_of_are_named(name, scales, tmp_path):
    state_dict = to_torch(make_variables(name), name=name)
    with pytest.raises(ValueError, match=f"give scale .--scale., one of {scales}$"):
        from_state_dict(state_dict, tmp_path)
