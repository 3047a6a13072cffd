"""Safetensors files, ours and others."""

import json
import struct

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

import lnln_jax
from lnln_jax.config import ModelConfig
from lnln_jax.models import create_model
from lnln_jax.weights.safetensors_files import METADATA_KEY, load_safetensors, save_safetensors
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables


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


# ---- there and back ----


@pytest.mark.parametrize("name", OPTIONS)
def test_round_trips_are_exact(name, tmp_path):
    path, variables = tmp_path / "new" / "x.safetensors", make_variables(name, 3)
    save_safetensors(path, config_of(name, 3), variables, step=123)
    weights = load_safetensors(path)
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
    config = ModelConfig("vdsr", 2)
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


# ---- of others ----


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
        ({"head.0.weight": np.zeros(3, np.int8)}, "not weights.*\n  head.0.weight has dtype I8"),
    ],
)
def test_other_safetensors_are_refused(arrays, message, tmp_path):
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=rf"(?s)x\.safetensors.*{message}"):
        load_safetensors(tmp_path / "x.safetensors")


def test_index_tables_are_read_and_whole_numbers_are_no_weights(tmp_path):
    """SwinIR's files have tables of positions."""
    path, variables = tmp_path / "x.safetensors", make_variables("swinir_light")
    arrays = to_torch(variables, name="swinir_light")
    assert any(array.dtype == np.int64 and array.ndim for array in arrays.values())
    safetensors.numpy.save_file(arrays, path)
    assert_same(load_safetensors(path).variables, variables)
    arrays["conv_first.weight"] = arrays["conv_first.weight"].astype(np.int64)
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(ValueError, match=r"\n  conv_first\.weight has dtype int64, which weights"):
        load_safetensors(path)


def test_a_dtype_that_numpy_has_not_is_refused(tmp_path):
    header = {"head.0.weight": {"dtype": "F8_E8M0", "shape": [2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0\0")
    with pytest.raises(ValueError, match=r"not weights.*\n  head\.0\.weight has dtype F8_E8M0"):
        load_safetensors(path)


# ---- that do not fit ----


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
    with pytest.raises(ValueError, match=r"edsr\.safetensors upscales x2, not x4"):
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
        ({"format": 3, "version": "9.1"}, "format 3, written by lnln_jax 9.1, is not known"),
        ({"format": None}, "format None"),
        ({"name": "srcnn"}, "name is 'srcnn'; the networks are"),
        ({"name": ["edsr"]}, "unhashable"),
        ({"scale": 5}, "scale is 5; [a-z]+ has 2, 3, 4"),
        ({"scale": "2"}, "'str' object"),
        ({"scale": 2.0}, "'float' object"),
        ({"options": {"n_feats": 0}}, "n_feats is 0; it must be a whole number"),
        ({"options": {"n_feats": True}}, "options has n_feats=True"),
        ({"options": {"dtype": "float64"}}, "options has dtype='float64'"),
        ({"options": {"n_layers": 10**9}}, "options has n_layers=1000000000"),
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
