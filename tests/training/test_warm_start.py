"""A deeper network that starts as a trained one: training.warm_start, and init_from= with it."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from lnln_jax.config import DataConfig, ModelConfig, TrainConfig
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from lnln_jax.training.experiment import open_experiment
from lnln_jax.training.step import make_gradients
from lnln_jax.training.warm_start import GROWING, grow, transfer
from lnln_jax.weights.safetensors_files import save_safetensors
from lnln_jax.weights.torch_files import write_state_dict
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables

DEEPER = {"n_resgroups": 3, "n_resblocks": 5}


@pytest.mark.slow
@pytest.mark.parametrize("name", GROWING)
def test_the_grown_network_computes_what_the_trained_one_does(name):
    shallow = {"n_resblocks": 1} if name == "drca" else {}  # then there is no scan over blocks
    trained = make_variables(name, **shallow)
    for statistic in jax.tree.leaves(trained["batch_stats"]):
        np.abs(statistic, out=statistic)  # variances are not negative
    module = create_model(name, 2, **{**OPTIONS[name], **shallow})
    deeper = create_model(name, 2, **{**OPTIONS[name], **DEEPER})
    grown = grow(initialize(deeper, 0), trained)
    lr = np.random.default_rng(1).integers(0, 256, (2, 9, 8, 3)).astype(np.float32)

    def run(module, v, train):
        return jax.jit(lambda v: module.apply(v, lr, train=train, mutable=["batch_stats"])[0])(v)

    for train in (False, True):
        expected, result = run(module, trained, train), run(deeper, grown, train)
        # Zeros are added exactly; only the sums of the projection may run in another order.
        np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    assert np.abs(expected).max() > 1


@pytest.mark.slow
def test_all_that_is_new_learns_within_three_steps():
    options = OPTIONS["lnln"]
    deeper = create_model("lnln", 2, **{**options, **DEEPER})
    trained = initialize(create_model("lnln", 2, **options), 1)
    rng = np.random.default_rng(1)
    batch = {
        "lr": rng.integers(0, 256, (2, 6, 6, 3)).astype(np.uint8),
        "hr": rng.integers(0, 256, (2, 12, 12, 3)).astype(np.uint8),
    }
    gradients = jax.jit(make_gradients(deeper))
    params, statistics = (
        grow(initialize(deeper, 0), trained)[k] for k in ("params", "batch_stats")
    )
    for _ in range(3):  # the projection, then the scales, then the blocks of the new group
        gradient = gradients({"params": params, "batch_stats": statistics}, batch).params
        params = jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient)
    for path, leaf in flatten_dict(gradient["body"], sep="/").items():
        # The bias is taken away by the normalisation behind it; the gate's ReLUs may be off.
        if not path.endswith("/pointwise/bias") and "/attention/" not in path:
            blocks = leaf if "/blocks/" in path else leaf[None]
            assert np.all(np.any(blocks != 0, axis=tuple(range(1, blocks.ndim)))), path


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion", "hasty_compiler")
def test_a_training_grows_a_network_and_draws_the_tail_of_another_scale(tmp_path):
    shallow = ModelConfig("lnln", 2, OPTIONS["lnln"])
    trained = make_variables("lnln")
    path = tmp_path / "lnln.safetensors"
    save_safetensors(path, shallow, trained)
    config = TrainConfig(
        model=ModelConfig("lnln", 4, OPTIONS["lnln"] | DEEPER),
        data=DataConfig(dead_leaves=1, dead_leaves_size=64, lr_patch_size=8, batch_size=1),
        init_from=str(path),
    )
    params = open_experiment(config).start().variables["params"]
    blocks = params["body"]["group_2"]["blocks"]["conv_1"]["depthwise"]["kernel"]
    original = trained["params"]["body"]["group_2"]["blocks"]["conv_1"]["depthwise"]["kernel"]
    np.testing.assert_array_equal(blocks[: len(original)], original)
    fresh = initialize(create_model("lnln", 4, **config.model.options), config.seed)["params"]
    new = fresh["body"]["group_2"]["blocks"]["conv_1"]["depthwise"]["kernel"]
    np.testing.assert_array_equal(blocks[len(original) :], new[len(original) :])
    jax.tree.map(np.testing.assert_array_equal, params["upsampler"], fresh["upsampler"])

    shallower = replace(config, model=ModelConfig("lnln", 4, OPTIONS["lnln"] | {"n_resgroups": 1}))
    message = r"init_from is .*, a lnln with .*do not fit lnln with .*'n_resgroups': 1.*group_2"
    with pytest.raises(ValueError, match=message):
        open_experiment(shallower).start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_feats": 16}, r"norm_1/mean is \(2, 8\) and should be \(2, 16\)"),
        ({"n_resblocks": 2}, r"group_1/blocks/.* is \(2, .* and should be \(1, "),
        ({"n_resgroups": 1}, "body has group_2 besides"),
    ],
)
@pytest.mark.slow
def test_what_is_no_part_of_the_network_cannot_grow_into_it(options, message):
    deeper = create_model("lnln", 2, **{**OPTIONS["lnln"], **DEEPER, **options})
    with pytest.raises(ValueError, match=message):
        grow(initialize(deeper, 0), make_variables("lnln"))


def test_a_network_for_several_scales_keeps_them_all(tmp_path):
    several = OPTIONS["carn_m"] | {"n_scales": 3}
    trained = make_variables("carn_m", 3, n_scales=3)
    path = tmp_path / "carn_m.safetensors"
    save_safetensors(path, ModelConfig("carn_m", 3, several), trained)
    fresh = jax.tree.map(np.zeros_like, trained)
    assert_same(transfer(fresh, path, ModelConfig("carn_m", 2, several)), trained)


@pytest.mark.parametrize("scale", [2, 3])
def test_a_network_for_one_scale_takes_its_upsampler_of_several(scale, tmp_path):
    trained = make_variables("carn_m", 3, n_scales=3)
    path = tmp_path / "carn_m.safetensors"
    save_safetensors(path, ModelConfig("carn_m", 3, OPTIONS["carn_m"] | {"n_scales": 3}), trained)
    fresh = jax.tree.map(np.zeros_like, make_variables("carn_m", scale))
    started = transfer(fresh, path, ModelConfig("carn_m", scale, OPTIONS["carn_m"]))["params"]
    for part in ("head", "tail"):
        assert_same(started[part], trained["params"][part])
    assert_same(started["upsampler"], trained["params"]["upsampler"][f"x{scale}"])


def test_a_network_for_several_scales_draws_the_upsamplers_that_a_trained_one_lacks(tmp_path):
    trained = make_variables("carn_m")
    path = tmp_path / "carn_m.safetensors"
    save_safetensors(path, ModelConfig("carn_m", 2, OPTIONS["carn_m"]), trained)
    fresh = jax.tree.map(np.zeros_like, make_variables("carn_m", n_scales=3))
    model = ModelConfig("carn_m", 2, OPTIONS["carn_m"] | {"n_scales": 3})
    started = transfer(fresh, path, model)["params"]
    assert_same(started["head"], trained["params"]["head"])
    assert_same(started["upsampler"], fresh["params"]["upsampler"])


@pytest.mark.parametrize("scale", [3, 4])
def test_another_scale_starts_from_a_file_that_does_not_show_its_own(scale, tmp_path):
    trained = make_variables("pan")
    path = tmp_path / "pan.pt"
    write_state_dict(path, to_torch(trained, name="pan"))
    fresh = jax.tree.map(np.zeros_like, make_variables("pan", scale))
    started = transfer(fresh, path, ModelConfig("pan", scale, OPTIONS["pan"]))["params"]
    assert_same(started["body"], trained["params"]["body"])
    expected = trained if scale == 3 else fresh  # only x2 and x3 have the same arrays
    assert_same(started["upsampler"], expected["params"]["upsampler"])
