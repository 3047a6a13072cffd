"""Tests of the package installed without extras, in an environment that has nothing else."""

import filecmp
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.config import ModelConfig
from lnln_jax.images.files import read_rgb
from tests.support.checkout import ROOT
from tests.support.runs import CONFIG, read_metrics, save_pictures, write_config

pytestmark = pytest.mark.slow

ENVIRONMENT = ROOT / ".venv-core"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
# Runs several commands in one process, since each would import JAX anew.
DRIVER = """
import contextlib, io, json, sys
from lnln_jax.cli import main

for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def python():
    """Runs Python code in that environment, outside the checkout."""
    if not PYTHON.exists():
        pytest.skip(f"there is no {ENVIRONMENT.name}: `make test-slow` makes it")

    def run(code, *arguments, folder):
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        process = subprocess.run(
            [PYTHON, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=folder,
            env=environment | {"JAX_PLATFORMS": "cpu"},
        )
        assert process.returncode == 0, process.stderr
        return [json.loads(line) for line in process.stdout.splitlines()]

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images in a folder and a zip, a photo of 16 bits, and the config of a tiny EDSR."""
    folder = tmp_path_factory.mktemp("core")
    save_pictures(folder / "images", 2, 48)
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for path in (folder / "images").iterdir():
            archive.write(path, path.name)
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(deep).save(folder / "deep.png")
    data = replace(CONFIG.data, train=("images",), validation="images", dead_leaves=0)
    model = ModelConfig("edsr", 2, {"n_resblocks": 1, "n_feats": 8})
    write_config(folder, replace(CONFIG, model=model, data=data, steps=2, log_every=1))
    return folder


@pytest.fixture(scope="module")
def results(python, folder):
    """Status, stdout and stderr of each command, by its name here."""
    train = ["train", "experiment.py", "--output"]
    commands = {
        "train": [*train, "run"],
        "train on a zip": [*train, "zip", "data.train=images.zip"],
        "resume": [*train, "run", "steps=3"],
        "host": [*train, "host", "data.placement=host"],
        "data set": [*train, "set", "data.train=set"],
        "prepare": ["prepare", "folder", "images", "--name", "new", "--data-dir", "new"],
        "evaluate": ["evaluate", "run", "--data", "images", "--output", "report"],
        "convert": ["convert", "run", "run.safetensors"],
        "convert to PyTorch": ["convert", "run", "run.pt"],
        "export": ["export", "run.safetensors", "run.stablehlo"],
        "models": ["models", "lnln_light_x2", "vdsr"],
        "upscale": ["upscale", "images/0.png", "deep.png", "--output", "upscaled"],
    }
    about = folder / "set" / "x2" / "1.0.0"
    about.mkdir(parents=True)
    split = {"name": "train", "shardLengths": ["1"]}
    (about / "dataset_info.json").write_text(json.dumps({"name": "set", "splits": [split]}))
    metadata = {"format": 1, "scales": [2], "fingerprint": "0", "degradation": {"kind": "bicubic"}}
    metadata |= {"smallest_side": {"train": 48}, "largest": {"train": [48, 48]}}
    (about / "metadata.json").write_text(json.dumps(metadata))
    ended = python(DRIVER, json.dumps(list(commands.values())), folder=folder)
    return dict(zip(commands, ended, strict=True))


def files_of(root):
    """The files below a folder by their relative paths, without what Python compiles."""
    files = (path for path in root.rglob("*") if path.suffix not in ("", ".pyc"))
    return {path.relative_to(root): path for path in files}


def test_the_environment_has_the_core_alone_and_the_whole_package(python, folder):
    modules = ["grain", "imagecodecs", "tensorboardX", "tensorflow_datasets", "torch", "pytest"]
    code = """
import importlib.util, json, sys, lnln_jax
print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name)]))
print(json.dumps(lnln_jax.__file__))
"""
    found, file = python(code, *modules, folder=folder)
    assert found == []
    package = Path(file).parent
    assert package.is_relative_to(ENVIRONMENT)
    here = files_of(ROOT / "lnln_jax") | {
        Path("configs") / path: file for path, file in files_of(ROOT / "configs").items()
    }
    there = files_of(package)
    assert there.keys() == here.keys()
    stale = [path for path in here if not filecmp.cmp(here[path], there[path])]
    assert not stale, "`make test-slow` installs the package anew"


def test_training_from_a_folder_and_a_zip(results, folder):
    for name, run in (("train", "run"), ("train on a zip", "zip")):
        status, out, err = results[name]
        assert status == 0, err
        assert out == f"trained 2 steps; the run is in {run}\n"
        assert "2 images on the device" in err
        assert err.count("no TensorBoard events without tensorboardX: pip install") == 1
        assert 'pip install "lnln-jax[train]"\n' in err
        assert not (folder / run / "tensorboard").exists()
    folders, zips = ([row["train/loss"] for row in losses(folder / run)] for run in ("run", "zip"))
    assert zips == folders[:2]


def losses(run):
    return [row for row in read_metrics(run) if "train/loss" in row]


def test_a_run_goes_on(results, folder):
    status, out, err = results["resume"]
    assert status == 0, err
    assert out == "trained 3 steps; the run is in run\n"
    assert "going on from step 2" in err
    assert [row["step"] for row in losses(folder / "run")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("host", 'data.placement=host needs grain: pip install "lnln-jax[train]"'),
        ("data set", 'needs tensorflow_datasets: pip install "lnln-jax[prepare]"'),
        ("prepare", 'needs tensorflow_datasets: pip install "lnln-jax[prepare]"'),
        ("upscale", 'needs imagecodecs: pip install "lnln-jax[16bit]"'),
    ],
)
def test_what_needs_an_extra_names_it_in_one_line(results, name, error):
    status, out, err = results[name]
    assert status == 1
    lines = [line for line in (out + err).splitlines() if "pip install" in line]
    assert len(lines) == 1
    assert error in lines[0]
    assert "Traceback" not in err


def test_photos_are_enlarged(results, folder):
    out = results["upscale"][1]
    (path,) = (folder / "upscaled").iterdir()
    assert path.name.startswith("0")
    assert str(Path("upscaled", path.name)) in out
    assert read_rgb(path).shape == (96, 96, 3)


def test_evaluating(results, folder):
    status, out, err = results["evaluate"]
    assert status == 0, err
    assert "bicubic" in out.lower()
    report = json.loads((folder / "report" / "results.json").read_text())
    assert {row["model"] for row in report["results"]} >= {"run"}


def test_converting_and_exporting(results, folder):
    for name, file in (
        ("convert", "run.safetensors"),
        ("convert to PyTorch", "run.pt"),
        ("export", "run.stablehlo"),
    ):
        status, out, err = results[name]
        assert status == 0, err
        assert file in out
        assert (folder / file).stat().st_size > 1000


def test_the_trained_networks_are_listed(results):
    status, out, err = results["models"]
    assert status == 0, err
    assert "lnln_light_x2" in out


def test_loading_from_python(python, results, folder):
    code = """
import json, lnln_jax, numpy as np

lr = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
for source in ("run.safetensors", "run"):
    print(json.dumps(lnln_jax.load_model(source).upscale(lr).tolist()))
"""
    from_file, from_run = (np.array(sr, np.uint8) for sr in python(code, folder=folder))
    assert from_file.shape == (48, 48, 3)
    np.testing.assert_array_equal(from_file, from_run)
