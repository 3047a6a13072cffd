"""Models by name, run folder and file; what the files hold is tested beside their readers."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lnln_jax import load_model
from lnln_jax.config import ModelConfig, TrainConfig
from lnln_jax.images.resize import imresize
from lnln_jax.models import create_model
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.safetensors_files import save_safetensors
from tests.support.small_networks import OPTIONS, assert_same, make_variables, write_run


@pytest.fixture
def edsr_run(tmp_path):
    """The folder of a run of a small EDSR, and its variables at step 3."""
    variables = make_variables("edsr", res_scale=0.3)
    model = ModelConfig("edsr", 2, OPTIONS["edsr"] | {"res_scale": 0.3})
    write_run(tmp_path / "run", TrainConfig(model=model, dtype="bfloat16"), variables, step=3)
    return tmp_path / "run", variables


@pytest.fixture
def edsr_file(tmp_path):
    path = tmp_path / "edsr_x2.safetensors"
    config = ModelConfig("edsr", 2, OPTIONS["edsr"])
    save_safetensors(path, config, make_variables("edsr"))
    return path


def test_bicubic(data_dir):
    with Image.open(sorted((data_dir / "Set5" / "LRx2").iterdir())[0]) as image:
        lr = np.asarray(image.convert("RGB"))
    for arguments, scale in [({}, 2), ({"scale": 3}, 3)]:
        model = load_model("bicubic", **arguments)
        assert (model.name, model.scale, model.module) == ("bicubic", scale, None)
        np.testing.assert_array_equal(model.upscale(lr), imresize(lr, scale))


def test_a_run(edsr_run):
    folder, variables = edsr_run
    for path, name in [(folder, "run"), (folder / "checkpoints" / "3", "run@3")]:
        model = load_model(path, scale=2, res_scale=0.3)
        assert (model.name, model.scale) == (name, 2)
        expected = OPTIONS["edsr"] | {"res_scale": 0.3, "dtype": jax.numpy.dtype("bfloat16")}
        assert model.module == create_model("edsr", 2, **expected)
        assert_same(jax.tree.map(np.asarray, model.variables), variables)
    weights = load_weights(folder)
    assert (weights.step, weights.dtype) == (3, "bfloat16")


def test_a_file(edsr_file, data_dir):
    model = load_model(edsr_file)
    assert (model.name, model.scale) == ("edsr_x2", 2)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model.variables))
    with Image.open(sorted((data_dir / "Set5" / "LRx2").iterdir())[0]) as image:
        lr = np.asarray(image.convert("RGB"))[:20, :30]
    sr = model.upscale(lr)
    assert (sr.shape, sr.dtype) == ((40, 60, 3), np.uint8)
    upper = shutil.copy(edsr_file, edsr_file.with_name("copy.SafeTensors"))
    np.testing.assert_array_equal(load_model(str(upper)).upscale(lr), sr)


def test_what_does_not_fit_the_arguments_is_refused(edsr_run, edsr_file):
    folder, _ = edsr_run
    for source in (folder, edsr_file):
        with pytest.raises(ValueError, match=f"{source} upscales x2, not x4"):
            load_model(source, scale=4)
        with pytest.raises(ValueError, match=f"res_scale is 0.1, but {source} has .*; leave it"):
            load_model(source, res_scale=0.1)
    with pytest.raises(ValueError, match=r"res_scale is 0\.1, but bicubic has none; leave it out"):
        load_model("bicubic", res_scale=0.1)
    for scale in (np.int64(2), np.array(2), jnp.array(2)):
        assert load_model("bicubic", scale=scale).scale == 2
        assert load_model(edsr_file, scale=scale).scale == 2
    for scale in (0, -2, 2.5, "2", True):
        with pytest.raises(ValueError, match="it must be a whole number of at least 1"):
            load_model(edsr_file, scale=scale)


def test_what_is_not_there_is_named(tmp_path, edsr_file):
    for path in (tmp_path / "none", tmp_path / "none.pt"):
        with pytest.raises(ValueError, match=f'there is no model {path}; give "bicubic", a tr'):
            load_model(path)
    with pytest.raises(ValueError, match=f"{tmp_path} holds no checkpoint"):
        load_model(tmp_path)
    for suffix in (".npz", ".onnx", ""):
        path = edsr_file.rename(tmp_path / f"edsr_x2{suffix}")
        with pytest.raises(ValueError, match=rf"{path} has the suffix '{suffix}'; rename it"):
            load_model(path)
        path.rename(edsr_file)
