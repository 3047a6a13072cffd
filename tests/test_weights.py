"""Which network a state dict is of, and safetensors."""

import json
import re
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open
from small_networks import OPTIONS, PUBLISHED, assert_same, make_variables, published_shapes

import lnln_jax
from lnln_jax.config import ModelConfig
from lnln_jax.models import MODELS, create_model
from lnln_jax.safetensors_files import METADATA_KEY, load_safetensors, save_safetensors
from lnln_jax.torch_port import to_torch
from lnln_jax.torch_tables import NETWORKS
from lnln_jax.weights import from_state_dict


def config_of(name, scale=2):
    return ModelConfig(name, scale, dict(OPTIONS[name]))


def metadata_of(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


@pytest.fixture
def edsr(tmp_path):
    """A file with a small EDSR, and its variables."""
    variables = make_variables("edsr")
    save_safetensors(tmp_path / "edsr.safetensors", config_of("edsr"), variables, step=7)
    return tmp_path / "edsr.safetensors", variables


# ---- state dicts ----


@pytest.mark.parametrize("stem", PUBLISHED)
def test_published_checkpoints_are_recognised(stem, data_dir, tmp_path):
    name, scale = PUBLISHED[stem]
    state_dict = {
        key: np.broadcast_to(np.float32(0), shape)
        for key, shape in published_shapes(data_dir, stem).items()
    }
    network = ModelConfig(name).name
    state_dict |= NETWORKS[network].constants
    hint = {"scale": 2} if name == "vdsr" else {}
    weights = from_state_dict(state_dict, tmp_path, **hint)
    assert (weights.model.name, weights.model.scale) == (network, scale)
    assert weights.module() == create_model(name, scale)
    leaves = jax.tree.leaves(weights.variables)
    assert {leaf.dtype.name for leaf in leaves} == {"float32"}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", OPTIONS)
def test_hyper_parameters_show(name, scale, tmp_path):
    variables = make_variables(name, scale)
    state_dict = to_torch(variables, name=name, step=9)
    hint = {"scale": scale} if name == "vdsr" else {}
    weights = from_state_dict(state_dict, tmp_path, **hint)
    assert (weights.model.name, weights.model.scale) == (name, scale)
    assert weights.model.options == OPTIONS[name]
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
    ],
)
def test_hyper_parameters_of_the_smallest_networks_show(name, options, tmp_path):
    variables = make_variables(name, **options)
    hint = {"scale": 2} if name == "vdsr" else {}
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
            mark = re.compile(re.escape(network.mark).replace(r"\*", r"\d+"))
            assert any(mark.match(key) for key in keys) == (name == other)


@pytest.mark.parametrize(("n_feats", "res_scale"), [(256, 0.1), (64, 1.0), (8, 1.0)])
def test_the_res_scale_is_the_authors_for_the_width(n_feats, res_scale, tmp_path):
    state_dict = to_torch(make_variables("edsr", n_resblocks=1, n_feats=n_feats), name="edsr")
    assert from_state_dict(state_dict, tmp_path).model.options["res_scale"] == res_scale
    weights = from_state_dict(state_dict, tmp_path, res_scale=0.5)
    assert weights.module().res_scale == 0.5


# ---- damaged state dicts ----


def misfits(name, state_dict):
    """The keys that the one error lists, with what it says of them."""
    with pytest.raises(ValueError, match=f"taken for {name} x2 ") as error:
        from_state_dict(state_dict, Path("x.pt"), scale=2 if name == "vdsr" else None)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


# The first and the last arrays, and those of the first block, the attention and the upsampler.
MISSHAPEN = {
    "lnln": ["head.0.pointwise.weight", "tail.0.0.pointwise.weight", "non_local.g.weight"],
    "drca": ["head.0.weight", "tail.0.0.weight", "body.0.body.0.body.0.weight"],
    "rcan": ["head.0.weight", "tail.0.0.weight", "body.0.body.0.body.3.conv_du.0.weight"],
    "edsr": ["head.0.weight", "tail.0.0.weight", "body.0.body.0.weight", "tail.1.weight"],
    "vdsr": ["input.weight", "residual_layer.0.conv.weight", "output.weight"],
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
    first = "input." if name == "vdsr" else "head."
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
        ("drca", "body.2.body.0.body.0.weight"),
        ("drca", "body.0.body.0.body.3.conv_du.0.weight"),  # RCAN's
        ("rcan", "body.12.body.0.body.0.weight"),
        ("rcan", "body.1.body.2.body.0.weight"),
        ("rcan", "body.0.body.0.body.3.weight"),  # DRCA's
        ("edsr", "body.12.body.0.weight"),
        ("edsr", "body.3.body.0.weight"),
        ("edsr", "body.99999999.body.0.weight"),
        ("vdsr", "residual_layer.12.conv.weight"),
        ("vdsr", "residual_layer.1.conv.bias"),
    ],
)
def test_an_extra_array_is_listed_alone(name, key):
    state_dict = to_torch(make_variables(name), name=name)
    extra = {key: np.zeros((8, 8, 3, 3), np.float32)}
    assert misfits(name, state_dict | extra) == [f"unexpected {key}"]


def test_a_missing_block_is_listed_alone():
    state_dict = to_torch(make_variables("edsr"), name="edsr")
    block = [key for key in state_dict if key.startswith("body.1.body.")]
    rest = {key: value for key, value in state_dict.items() if key not in block}
    assert misfits("edsr", rest) == [f"missing {key}" for key in sorted(block)]


# ---- safetensors: there and back ----


@pytest.mark.parametrize("name", OPTIONS)
def test_round_trips_are_exact(name, tmp_path):
    path, variables = tmp_path / "new" / "x.safetensors", make_variables(name, 3)
    save_safetensors(path, config_of(name, 3), variables, step=123)
    weights = load_safetensors(path)
    assert weights.model == config_of(name, 3)
    assert (weights.step, weights.dtype) == (123, "float32")
    assert weights.module() == create_model(name, 3, **OPTIONS[name])
    assert_same(weights.variables, variables)
    again = tmp_path / "again.safetensors"
    save_safetensors(again, weights.model, weights.variables, step=weights.step)
    assert again.read_bytes() == path.read_bytes()


def test_the_format(edsr):
    """A public format: it must not change but for its number."""
    path, variables = edsr
    arrays = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(
        arrays["params/blocks/conv_1/kernel"], variables["params"]["blocks"]["conv_1"]["kernel"]
    )
    (entry,) = metadata_of(path).items()
    assert entry[0] == "lnln_jax"
    assert json.loads(entry[1]) == {
        "format": 1,
        "version": lnln_jax.__version__,
        "name": "edsr",
        "scale": 2,
        "options": {"n_resblocks": 3, "n_feats": 8, "res_scale": 1.0},
        "step": 7,
        "dtype": "float32",
    }


def test_the_dtype_of_the_computation_is_kept(edsr):
    path, variables = edsr
    save_safetensors(path, config_of("edsr"), variables, dtype="bfloat16")
    weights = load_safetensors(path)
    assert weights.dtype == "bfloat16"
    assert weights.module().dtype == jnp.bfloat16
    assert_same(weights.variables, variables)
    with pytest.raises(ValueError, match=r"dtype is 'int8'; it must be one of float32, bfloat16"):
        save_safetensors(path, config_of("edsr"), variables, dtype="int8")


def test_a_file_that_names_no_dtype_is_float32(edsr):
    path, variables = edsr
    metadata = json.loads(metadata_of(path)[METADATA_KEY])
    del metadata["dtype"]
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(arrays, path, {METADATA_KEY: json.dumps(metadata)})
    weights = load_safetensors(path)
    assert (weights.dtype, weights.step) == ("float32", 7)
    assert_same(weights.variables, variables)


def test_published_hyper_parameters_are_spelled_out(tmp_path):
    variables = make_variables("vdsr", n_layers=20, n_feats=64)
    config = ModelConfig("vdsr", 2, {"unroll": 3})  # how it is compiled is no part of a network
    save_safetensors(tmp_path / "x.safetensors", config, variables)
    options = {"n_layers": 20, "n_feats": 64, "n_colors": 1}
    assert load_safetensors(tmp_path / "x.safetensors").model == ModelConfig("vdsr", 2, options)


def test_arrays_on_a_device_and_of_other_dtypes_are_saved(tmp_path):
    variables = make_variables("edsr")
    halves = jax.tree.map(lambda a: jnp.asarray(a).astype(jnp.bfloat16), variables)
    save_safetensors(tmp_path / "x.safetensors", config_of("edsr"), halves)
    expected = jax.tree.map(lambda a: a.astype(ml_dtypes.bfloat16).astype(np.float32), variables)
    assert_same(load_safetensors(tmp_path / "x.safetensors").variables, expected)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_dtypes_become_float32(dtype, edsr):
    path, variables = edsr
    arrays = {key: a.astype(dtype) for key, a in safetensors.numpy.load_file(path).items()}
    safetensors.numpy.save_file(arrays, path, metadata_of(path))
    expected = jax.tree.map(lambda a: a.astype(dtype).astype(np.float32), variables)
    assert_same(load_safetensors(path).variables, expected)


# ---- safetensors of others ----


@pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
@pytest.mark.parametrize("name", ["drca", "vdsr"])
def test_a_state_dict_in_safetensors_is_loaded(name, metadata, prefix, tmp_path):
    path, variables = tmp_path / "x.safetensors", make_variables(name)
    arrays = to_torch(variables, name=name, step=5)
    safetensors.numpy.save_file({prefix + key: a for key, a in arrays.items()}, path, metadata)
    weights = load_safetensors(path, scale=2)
    assert weights.module() == create_model(name, 2, **OPTIONS[name])
    assert weights.step == (5 if name == "drca" else 0)
    assert_same(weights.variables, variables)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a.weight": np.zeros(3, np.float32)}, "no known network .*: a.weight; rename them as"),
        ({"params/head/kernel": np.zeros(3, np.float32)}, "no known network"),
        ({}, "no known network .*: no keys;"),
        ({"head.0.weight": np.zeros(3, np.int8)}, "no weights.*\n  head.0.weight has dtype I8"),
    ],
)
def test_other_safetensors_are_refused(arrays, message, tmp_path):
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=rf"(?s)x\.safetensors.*{message}"):
        load_safetensors(tmp_path / "x.safetensors")


def test_a_dtype_that_numpy_has_not_is_refused(tmp_path):
    header = {"head.0.weight": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0")
    with pytest.raises(ValueError, match=r"no weights.*\n  head\.0\.weight has dtype F8_E4M3"):
        load_safetensors(path)


# ---- safetensors that do not fit ----


def test_what_does_not_fit_is_listed(edsr):
    path, _ = edsr
    arrays = safetensors.numpy.load_file(path)
    del arrays["params/head/bias"]
    arrays["params/neck/bias"] = np.zeros(3, np.float32)
    arrays["params/tail/bias"] = np.zeros(4, np.float32)
    safetensors.numpy.save_file(arrays, path, metadata_of(path))
    with pytest.raises(ValueError, match=r"does not hold the edsr x2 \(n_resblocks 3, ") as error:
        load_safetensors(path)
    assert str(error.value).splitlines()[1:] == [
        "  missing params/head/bias",
        "  params/tail/bias has shape (4,) instead of (3,)",
        "  unexpected params/neck/bias",
    ]


def test_variables_of_another_network_are_not_saved(tmp_path):
    variables = make_variables("edsr")
    for config in (config_of("edsr", 3), config_of("rcan"), ModelConfig("edsr")):
        with pytest.raises(ValueError, match="these are not the variables of"):
            save_safetensors(tmp_path / "x.safetensors", config, variables)
    assert list(tmp_path.iterdir()) == []


def test_scale_and_res_scale_are_checked(edsr):
    path, _ = edsr
    assert load_safetensors(path, scale=2, res_scale=1.0).model == config_of("edsr")
    with pytest.raises(ValueError, match=r"edsr\.safetensors enlarges x2, not x4"):
        load_safetensors(path, scale=4)
    with pytest.raises(ValueError, match=r"res_scale is 0\.1, but .* has 1\.0; leave it out"):
        load_safetensors(path, res_scale=0.1)


# ---- damage ----


def test_a_damaged_file_is_named(edsr):
    path, _ = edsr
    content = path.read_bytes()
    headers = [
        b"",
        b"PK",
        b"no safetensors",
        content[:100],
        content[:-1],
        content + b"\0",
        struct.pack("<Q", 2**40) + content[8:],
        struct.pack("<Q", 10) + b'{"a": true' + content,
    ]
    for header in headers:
        path.write_bytes(header)
        with pytest.raises(ValueError, match=r"edsr\.safetensors is damaged, incomplete or no"):
            load_safetensors(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2, "version": "9.1"}, "format 2, written by lnln_jax 9.1, is not known"),
        ({"format": None}, "format None"),
        ({"name": "san"}, "name is 'san'; the networks are"),
        ({"name": ["edsr"]}, "unhashable"),
        ({"scale": 5}, "scale is 5; it must be one of"),
        ({"scale": "2"}, "'str' object"),
        ({"scale": 2.0}, "'float' object"),
        ({"options": {"n_feats": 0}}, "n_feats is 0; it must be a whole number"),
        ({"options": {"n_feats": True}}, "options has n_feats=True"),
        ({"options": {"dtype": "float64"}}, "options has dtype='float64'"),
        ({"options": {"unroll": 10**9}}, "options has unroll=1000000000"),
        ({"options": {"reduction": 4}}, "options has reduction=4"),
        ({"options": [1]}, "TypeError"),
        ({"step": -1}, "step is -1"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"dtype": ["float32"]}, r"dtype is \['float32'\]"),
        ({"step": 2**63}, "step is 9223372036854775808"),
        ({"comment": "x" * 10**6}, "it is 1000[0-9]{3} characters long"),
    ],
)
def test_other_metadata_is_refused(changes, message, edsr):
    path, _ = edsr
    arrays = safetensors.numpy.load_file(path)
    metadata = json.loads(metadata_of(path)[METADATA_KEY]) | changes
    safetensors.numpy.save_file(arrays, path, {METADATA_KEY: json.dumps(metadata)})
    with pytest.raises(ValueError, match=rf"edsr\.safetensors has metadata that .*{message}"):
        load_safetensors(path)


@pytest.mark.parametrize("text", ["", "{", "3", "null", "{}", "[" * 9000, "9" * 9000])
def test_metadata_that_is_no_json_of_ours_is_refused(text, edsr):
    path, _ = edsr
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(arrays, path, {METADATA_KEY: text})
    with pytest.raises(ValueError, match=r"edsr\.safetensors has metadata that .* cannot read"):
        load_safetensors(path)


def test_what_cannot_be_written_leaves_nothing(edsr, tmp_path):
    _, variables = edsr
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="too long"):
        save_safetensors(tmp_path / ("x" * 300), config_of("edsr"), variables)
    assert sorted(tmp_path.iterdir()) == before
