"""PyTorch files in: formats, wrappers, dtypes, and what is refused."""

import gc
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from lnln_jax import load_model
from lnln_jax.models import create_model
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.torch_files import read_state_dict
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import OPTIONS, assert_same, make_variables
from tests.support.torch_files import MARK, edsr_state, save


@pytest.fixture(scope="module")
def edsr():
    return edsr_state()


# ---- what is read ----


DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name, name))
    for name in ("float16", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2")
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_of_another_dtype_loads_as_float32(dtype, zipped, edsr, tmp_path):
    arrays = {key: value.astype(DTYPES[dtype]) for key, value in edsr[1].items()}
    path = save(tmp_path / "x.pt", arrays, zipped=zipped)
    assert {array.dtype.name for array in read_state_dict(path).values()} == {dtype}
    files = [path]
    if not dtype.startswith("float8"):  # which safetensors does not take from NumPy
        save_file(arrays, tmp_path / "x.safetensors")
        files.append(tmp_path / "x.safetensors")
    for file in files:
        kernel = load_weights(file).variables["params"]["tail"]["kernel"]
        expected = arrays["tail.1.weight"].astype(np.float32)
        np.testing.assert_array_equal(kernel, np.moveaxis(expected, (0, 1), (3, 2)), strict=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_that_were_half_for_a_while_load(dtype, edsr, tmp_path):
    arrays = {key: value.astype(DTYPES[dtype]).astype("f4") for key, value in edsr[1].items()}
    assert load_weights(save(tmp_path / "x.pt", arrays)).model.name == "edsr"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_storages_may_be_shared_and_strides_of_any_kind(zipped, edsr, tmp_path):
    row = np.arange(100, dtype=np.float32)
    square = row.reshape(10, 10)
    arrays = {
        MARK: square.T,
        "part": square[2:5, 1:9:3],
        "row": row[40:],
        "repeated": np.broadcast_to(row[7:8], (3, 5)),
        "transposed": edsr[1]["head.0.weight"].transpose(3, 1, 0, 2),
        "empty": row[:0],
        "number": row[3:4].reshape(()),
        "count": np.array(2**40),
    }
    path = save(tmp_path / "x.pt", arrays, zipped=zipped)
    assert path.stat().st_size < 4 * 100 + 4 * edsr[1]["head.0.weight"].size + 2500
    read = read_state_dict(path)
    assert list(read) == list(arrays)
    for key, expected in arrays.items():
        np.testing.assert_array_equal(read[key], expected, strict=True)
        assert not read[key].flags.writeable or not read[key].size
    assert np.shares_memory(read[MARK], read["row"])


@pytest.mark.parametrize("dtype", ["float32", "int64", *DTYPES])
def test_numbers_of_a_system_with_another_byte_order(dtype, tmp_path):
    array = np.arange(12).reshape(3, 4).astype(DTYPES.get(dtype, dtype))
    path = save(tmp_path / "x.pt", {MARK: array}, order="big")
    np.testing.assert_array_equal(read_state_dict(path)[MARK], array, strict=True)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_large_file_is_mapped(zipped, tmp_path):
    """Of what is not of the network nothing is read."""
    tree = {
        "model": {MARK: np.arange(300, dtype=np.float32)},
        "optimizer": np.ones(10**6, np.float32),
    }
    path = save(tmp_path / "x.pt", tree, zipped=zipped)
    gc.disable()
    tracemalloc.start()
    try:
        read = read_state_dict(path)
        assert tracemalloc.get_traced_memory()[1] < 10**5
        np.testing.assert_array_equal(read[MARK], tree["model"][MARK], strict=True)
        del read
        if sys.platform == "linux":  # the file is let go of at once
            assert str(path) not in Path("/proc/self/maps").read_text()
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 10], ids=["zip", "zip64"])
def test_an_archive_that_was_packed_again(compression, limit, edsr, tmp_path, monkeypatch):
    path = save(tmp_path / "x.pt", edsr[1])
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(tmp_path / "y.pt", "w", compression) as new,
    ):
        new.comment = b"by hand"
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name))
    packed = (tmp_path / "y.pt").read_bytes()
    assert (b"PK\x06\x06" in packed) == (limit == 10)
    assert_same(load_weights(tmp_path / "y.pt").variables, edsr[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    ("factor", "key", "message"),
    [
        (1.05, "_mean.bias", r"add_mean\.bias is .* instead of \[114"),
        (0.5, "_mean.weight", r"sub_mean\.weight is \[0\.5, .* instead of \[1, 0, "),
    ],
)
def test_another_mean_shift_is_refused(factor, key, message, dtype, edsr, tmp_path):
    tensors = {
        name: (value * factor if name.endswith(key) else value).astype(DTYPES.get(dtype, dtype))
        for name, value in edsr[1].items()
    }
    with pytest.raises(ValueError, match=rf"(?s)taken for edsr x2.*{message}"):
        load_weights(save(tmp_path / "x.pt", tensors))


def test_counts_of_batches_tell_the_step_and_may_be_absent(tmp_path):
    variables = make_variables("drca")
    tensors = to_torch(variables, name="drca", step=7)
    weights = load_weights(save(tmp_path / "x.pt", tensors))
    assert weights.step == 7
    tensors = {key: v for key, v in tensors.items() if not key.endswith("num_batches_tracked")}
    weights = load_weights(save(tmp_path / "y.pt", tensors))
    assert weights.step == 0
    assert_same(weights.variables, variables)


# ---- what cannot be seen in the file ----


def test_the_scale_of_vdsr_is_an_argument(tmp_path):
    path = save(tmp_path / "x.pt", to_torch(make_variables("vdsr"), name="vdsr"))
    assert load_model(path, scale=3).module == create_model("vdsr", 3, **OPTIONS["vdsr"])
    with pytest.raises(
        ValueError, match=r"x\.pt: the weights of .*vdsr do not show the scale; give scale"
    ):
        load_model(path)
    assert load_weights(path, default_scale=4).model.scale == 4
    assert load_weights(path, scale=3, default_scale=4).model.scale == 3
    with pytest.raises(ValueError, match=r"x\.pt, taken for vdsr x5 .*: scale is 5; "):
        load_model(path, scale=5)
    with pytest.raises(ValueError, match=r"res_scale is 0\.1, but .*x\.pt has none; leave it out"):
        load_model(path, scale=2, res_scale=0.1)


def test_a_default_scale_does_not_overrule_what_shows(edsr, tmp_path):
    path = save(tmp_path / "x.pt", edsr[1])
    assert load_weights(path, default_scale=4).model.scale == 2


def test_the_res_scale_of_edsr_is_an_argument(edsr, tmp_path):
    path = save(tmp_path / "x.pt", edsr[1])
    assert load_model(path).module.res_scale == 1.0
    assert load_model(path, res_scale=0.1).module.res_scale == 0.1
    with pytest.raises(ValueError, match=r"res_scale is -1(\.0)?; it must be a number above 0"):
        load_model(path, res_scale=-1)
    with pytest.raises(ValueError, match=r"x\.pt upscales x2, not x4"):
        load_model(path, scale=4)


# ---- what does not fit ----


def test_what_does_not_fit_is_listed(edsr, tmp_path):
    tensors = dict(edsr[1])
    del tensors["body.1.body.0.bias"], tensors["tail.0.0.weight"], tensors["head.0.weight"]
    tensors["tail.1.bias"] = np.zeros(4, "f4")
    tensors["tail.2.bias"] = np.zeros(4, "f4")
    path = save(tmp_path / "x.pt", tensors)
    found = r"x\.pt, taken for edsr x2 \(n_resblocks 3, n_feats 8, res_scale 1\.0\): "
    with pytest.raises(ValueError, match=found) as error:
        load_weights(path)
    assert str(error.value).splitlines()[1:] == [
        "  missing body.1.body.0.bias",
        "  missing head.0.weight",
        "  missing tail.0.0.weight",
        "  tail.1.bias has shape (4,) instead of (3,)",
        "  unexpected tail.2.bias",
    ]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"conv_first.weight": np.zeros((8, 3, 3, 3), "f4")},
            "no known network .*: conv_first.weight;",
        ),
        (
            {str(i): np.zeros(1, "f4") for i in range(9)},
            r"no known network .*: 0, 1, 2, 3, 4 and 4 more;",
        ),
        ({"epoch": 3, "net": {"a": np.zeros(1, "f4")}}, r"no known network .*: epoch, net\.a;"),
        ({MARK: np.ones(3, np.int8)}, rf"not an array .* \({MARK}\); save"),
        ({MARK: np.ones(3, np.complex64)}, rf"not an array .* \({MARK}\); save"),
        ({MARK: np.ones(3, "f4"), "epoch": 3}, r"not an array .* \(epoch\); save"),
        (
            {MARK: np.ones(3, "f4"), **{f"body.{i}\n": i for i in range(9)}},
            r"not an array .* \(body\.0\\n, .*, body\.4\\n and 4 more\); save",
        ),
        ({3: np.zeros(1, "f4")}, "holds no state dict but a dict"),
        (np.zeros(3, "f4"), "holds no state dict but a Tensor; save model.state_dict()"),
        ([np.zeros(3, "f4")], "holds no state dict but a list; save model.state_dict()"),
        ({"state_dict": {}}, "holds no state dict but a dict; save model.state_dict()"),
        (
            {MARK: np.broadcast_to(np.zeros(1, "f4"), 10**9)},
            "smaller than the arrays that it claims .* or they share memory and must be cloned",
        ),
    ],
)
def test_other_contents_are_refused(tree, message, tmp_path):
    path = save(tmp_path / "x.pt", tree)
    with pytest.raises(ValueError, match=rf"(?s)x\.pt.*{message}"):
        load_model(path)


def test_a_key_is_one_line_and_not_a_long_one(edsr, tmp_path):
    path = save(tmp_path / "x.pt", edsr[1] | {"a\n\x1b[31m": np.zeros(1, "f4")})
    with pytest.raises(ValueError, match=r"\n  unexpected a\\n\\x1b\[31m$"):
        load_model(path)
    path = save(tmp_path / "x.pt", edsr[1] | {"a" * 10**5: np.zeros(1, "f4")})
    with pytest.raises(ValueError, match=r"unexpected aaa") as error:
        load_model(path)
    assert len(str(error.value)) < len(str(path)) + 1000


def test_a_dictionary_in_itself_ends(tmp_path):
    tree = {}
    tree["model"] = tree["net"] = tree
    with pytest.raises(ValueError, match="holds no state dict but a dict"):
        load_model(save(tmp_path / "x.pt", tree))


def test_a_huge_index_is_not_believed(edsr, tmp_path):
    extra = {"body.99999999.body.0.weight": np.zeros(1, "f4")}
    with pytest.raises(ValueError, match=r"n_resblocks 3.*\n  unexpected body\.99999999\."):
        load_model(save(tmp_path / "x.pt", edsr[1] | extra))


# ---- without PyTorch ----


def test_nothing_needs_pytorch(edsr, tmp_path):
    path = save(tmp_path / "x.pt", edsr[1])
    code = f"""
import sys
sys.modules["torch"] = None  # an import of torch fails
from lnln_jax.weights.convert import convert
from lnln_jax.inference.loading import load_model
path = {str(path)!r}
convert(path, path.replace("x.pt", "y.pt"))
print(load_model(path).name, load_model(path.replace("x.pt", "y.pt")).name)
"""
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.stderr == ""
    assert process.stdout.split() == ["x", "y"]
