"""The published files are read to the last bit."""

import json

import numpy as np
import pytest

from lnln_jax.weights.nesting import flatten
from lnln_jax.weights.torch_containers import read_contents

NAMES = ["rlfn_x2", "rlfn_s_x4", "carn_m", "pan_x2", "rfdn_aim_x4", "vdsr"]


def read(path):
    contents = read_contents(path)
    flat = flatten(contents.tree, contents.budget)
    return {key: tensor.array() for key, tensor in flat.items()}


@pytest.mark.parametrize("name", NAMES)
def test_all_arrays_are_there(name, published_weights):
    about = json.loads((published_weights / "info.json").read_text())[name]
    arrays = read(published_weights / f"{name}.pt")
    assert len(arrays) == about["keys"]
    assert sum(array.size for array in arrays.values()) == about["numbers"]
    assert {array.dtype.name for array in arrays.values()} == {"float32"}
    assert all(np.isfinite(array).all() for array in arrays.values())


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_reads_the_same(name, published_weights):
    torch = pytest.importorskip("torch", reason="install the torch extra (make test TORCH=1)")
    arrays = read(published_weights / f"{name}.pt")
    tensors = torch.load(published_weights / f"{name}.pt", weights_only=True)
    assert list(arrays) == list(tensors)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(arrays[key], tensor.numpy(), key, strict=True)
