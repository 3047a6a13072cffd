"""What a source means: names, folders of the same name, suffixes and contents."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from lnln_jax import load_model, pretrained
from lnln_jax.config import ModelConfig, TrainConfig
from lnln_jax.weights.convert import convert
from lnln_jax.weights.load import load_weights
from lnln_jax.weights.safetensors_files import save_safetensors
from tests.support.small_networks import OPTIONS, assert_same, make_variables, write_run
from tests.support.torch_files import edsr_state, save

NAME = "lnln_light_x2"
EDSR = ModelConfig("edsr", 2, OPTIONS["edsr"])


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- a folder that is called as a trained network ----


def test_a_folder_that_is_no_run_is_not_meant(here, capfd):
    (here / NAME).mkdir()
    (here / NAME / "photo.png").touch()
    (here / NAME / "checkpoints").mkdir()
    expected = pretrained.load(NAME).weights.variables
    assert_same(load_weights(NAME).variables, expected)
    convert(NAME, "x.safetensors")
    assert_same(load_weights("x.safetensors").variables, expected)
    assert load_model(NAME).name == NAME
    assert capfd.readouterr().err == ""


def test_a_file_of_the_name_is_not_meant(here):
    (here / NAME).write_text("no weights")
    assert load_weights(NAME).model.name == "lnln"


def test_a_run_of_the_name_is_meant_and_told(here, capfd):
    config = TrainConfig(model=EDSR)
    write_run(here / NAME, config, make_variables("edsr"), step=3)
    message = f"{NAME} is the folder of a training run here, not the trained network of that name"
    weights = load_weights(NAME)
    assert (weights.model.name, weights.step) == ("edsr", 3)
    assert message in capfd.readouterr().err
    convert(NAME, "x.safetensors")
    assert capfd.readouterr().err.count(message) == 1
    assert load_weights(f"./{NAME}").model.name == "edsr"
    assert capfd.readouterr().err == ""


def test_with_a_slash_it_is_a_path(here):
    with pytest.raises(ValueError, match=f"there is no model {NAME}"):
        load_weights(f"./{NAME}")
    (here / NAME).mkdir()
    with pytest.raises(ValueError, match=f"{NAME} holds no checkpoint"):
        load_weights(f"./{NAME}")


@pytest.mark.parametrize(
    ("source", "suggestion"),
    [
        ("lnln_ligth_x2", "; did you mean .*'lnln_light_x2'"),
        ("bicubik", r"; did you mean 'bicubic'\?"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(source, suggestion, here):
    with pytest.raises(ValueError, match=f"there is no model {source}; .*{suggestion}"):
        load_model(source)
    with pytest.raises(ValueError, match=r"no trained network 'lnln_ligth_x2'.*did you mean"):
        pretrained.load("lnln_ligth_x2")


# ---- suffixes and contents ----


@pytest.mark.parametrize("suffix", [".safetensors", ".SafeTensors", ".pt", ".PTH", ".ckpt", ".bin"])
def test_safetensors_are_known_by_their_contents(suffix, here):
    variables = make_variables("edsr")
    save_safetensors("x.safetensors", EDSR, variables)
    shutil.move("x.safetensors", f"y{suffix}")
    assert_same(load_weights(f"y{suffix}").variables, variables)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".pt", ".Pth", ".CKPT", ".bin", ".pth.tar", ".safetensors"])
def test_files_of_pytorch_are_known_by_their_contents(suffix, zipped, here):
    variables, state_dict = edsr_state()
    save(Path(f"y{suffix}"), state_dict, zipped=zipped)
    assert_same(load_weights(f"y{suffix}").variables, variables)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_printed(here):
    path = here / os.fsdecode(b"x\xff.safetensors")
    save_safetensors(path, EDSR, make_variables("edsr"))
    assert load_weights(path).model == EDSR
    told = str(convert(path, here / os.fsdecode(b"y\xff.safetensors")))
    assert r"y\xff.safetensors" in told
    with pytest.raises(ValueError, match=r"x\\xff\.safetensors upscales x2, not x4"):
        load_weights(path, scale=4)


def test_other_suffixes_are_refused(here):
    (here / "x.onnx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"x\.onnx has the suffix '\.onnx'; rename it"):
        load_weights("x.onnx")
    for suffix in (".ckpt", ".bin"):
        with pytest.raises(ValueError, match=r"its suffix must be one of \.pt, \.pth, \.safeten"):
            convert("x.onnx", f"y{suffix}")


# ---- numbers ----


@pytest.mark.parametrize("kind", [np.int64, np.array, np.float32])
def test_numbers_of_all_kinds(kind, here):
    variables = make_variables("edsr")
    config = ModelConfig("edsr", 2, OPTIONS["edsr"] | {"res_scale": 0.1})
    save_safetensors("x.safetensors", config, variables, step=kind(3))
    assert load_weights("x.safetensors", scale=kind(2)).step == 3
    assert load_weights("x.safetensors", res_scale=np.float32(0.1)).model == config
    assert pretrained.best(kind(2)) == pretrained.best(2)
    with pytest.raises(ValueError, match="scale is True; it must be a whole number of at least 1"):
        load_weights("x.safetensors", scale=True)
