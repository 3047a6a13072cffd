"""PyTorch files out: the same bytes for the same arrays, and whole or not at all."""

import zipfile

import ml_dtypes
import numpy as np
import pytest

from lnln_jax.weights.load import load_weights
from lnln_jax.weights.torch_files import read_state_dict, write_state_dict
from tests.support.small_networks import assert_same
from tests.support.torch_files import MARK, edsr_state


def test_what_is_written_is_read(tmp_path):
    variables, arrays = edsr_state()
    write_state_dict(tmp_path / "new" / "folder" / "x.pt", arrays)
    path = tmp_path / "new" / "folder" / "x.pt"
    read = read_state_dict(path)
    assert list(read) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(read[key], array, strict=True)
    assert_same(load_weights(path).variables, variables)
    assert [file.name for file in path.parent.iterdir()] == ["x.pt"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int64", ">f4", ">i8"])
def test_dtypes_layouts_and_shapes(dtype, tmp_path):
    array = np.arange(60).astype(np.dtype(dtype)).reshape(3, 4, 5)
    arrays = {MARK: array, "b": array.T, "c": array[::2, 1:3], "d": array[1, 2, 3], "e": array[:0]}
    write_state_dict(tmp_path / "x.pt", arrays)
    for key, read in read_state_dict(tmp_path / "x.pt").items():
        expected = np.asarray(arrays[key]).astype(array.dtype.newbyteorder("="))
        np.testing.assert_array_equal(read, expected, strict=True)


def test_equal_arrays_make_equal_bytes(tmp_path):
    arrays = edsr_state()[1]
    write_state_dict(tmp_path / "x.pt", arrays)
    write_state_dict(tmp_path / "y.pth", {k: np.asfortranarray(v) for k, v in arrays.items()})
    assert (tmp_path / "x.pt").read_bytes() == (tmp_path / "y.pth").read_bytes()


def test_storages_begin_at_multiples_of_64(tmp_path):
    write_state_dict(tmp_path / "x.pt", edsr_state()[1])
    content = (tmp_path / "x.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            lengths = np.frombuffer(content, "<u2", 2, info.header_offset + 26)
            assert (info.header_offset + 30 + lengths.sum()) % 64 == 0


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e5m2, np.uint32, "U3"])
def test_other_dtypes_are_refused_before_anything_is_written(dtype, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"b has dtype .*, which PyTorch's files lack"):
        write_state_dict(tmp_path / "x.pt", {MARK: np.ones(3), "b": np.ones(3).astype(dtype)})
    assert (tmp_path / "x.pt").read_bytes() == b"mine"


def test_a_failure_on_the_way_keeps_what_was_there(tmp_path):
    resource = pytest.importorskip("resource", reason="this system has no limit of files")
    write_state_dict(tmp_path / "x.pt", {MARK: np.ones(3)})
    before = (tmp_path / "x.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_state_dict(tmp_path / "x.pt", {MARK: np.zeros(3), "b": np.zeros(9999)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "x.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
