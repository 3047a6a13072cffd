"""Tests of what works, and what is said, without the packages that extras bring."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.cli import main
from lnln_jax.data import dead_leaves_pairs, make_train_iterator
from lnln_jax.images.files import ImageFileError, read_rgb
from lnln_jax.runtime.extras import MissingExtraError, installed, require
from lnln_jax.runtime.processes import available_memory
from lnln_jax.training.log import RunReport
from lnln_jax.training.loop import train
from lnln_jax.training.profiling import memory_in_use
from tests.support.checkout import ROOT
from tests.support.runs import CONFIG, save_pictures

HEAVY = {
    *("absl", "grain", "imagecodecs", "optax", "orbax", "psutil", "requests"),
    *("tensorboardX", "tensorflow_datasets", "tensorstore", "torch"),
}


@pytest.fixture
def without(monkeypatch):
    """Hides modules, as if their packages were not installed."""
    return lambda *names: [monkeypatch.setitem(sys.modules, name, None) for name in names]


def test_a_module_that_is_missing(without):
    require("json", "train", "reading")
    without("grain")
    assert not installed("grain")
    with pytest.raises(MissingExtraError) as caught:
        require("grain", "train", "data.num_workers")
    assert str(caught.value) == 'data.num_workers needs grain: pip install "lnln-jax[train]"'


def test_requirements_name_the_core_and_all_extras_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras["all"] == ["lnln-jax[train,prepare,16bit]"]
    needed = [*project["dependencies"], *extras["train"], *extras["prepare"], *extras["16bit"]]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert sorted(line for line in lines if line[0] != "#") == sorted(needed)


@pytest.mark.slow
def test_a_photo_is_enlarged_without_what_training_needs(tmp_path):
    Image.fromarray(np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)).save(
        tmp_path / "photo.png"
    )
    code = (
        "import json, sys; from lnln_jax.cli import main; status = main(sys.argv[1:]); "
        "import lnln_jax.weights.convert, lnln_jax.evaluation.run, lnln_jax.inference.export; "
        "import lnln_jax.evaluation.model_sizes; "
        "print(json.dumps([status, [name.partition('.')[0] for name in sys.modules]]))"
    )
    photo, output = str(tmp_path / "photo.png"), str(tmp_path / "out")
    command = [sys.executable, "-c", code, "upscale", photo, "--output", output]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    status, modules = json.loads(process.stdout.splitlines()[-1])
    assert status == 0
    assert "jax" in modules
    # Flax brings absl's logging, which is small.
    assert HEAVY & set(modules) <= {"absl"}
    assert read_rgb(next((tmp_path / "out").iterdir())).shape == (40, 48, 3)


# ---- batches ----


def test_batches_that_nobody_makes_ahead_need_no_grain(without):
    sources = [dead_leaves_pairs(3, size=40, scale=2, seed=0)]
    options = {"lr_patch_size": 8, "batch_size": 4, "seed": 5}
    ahead = make_train_iterator(sources, **options, num_threads=2)
    expected = [next(ahead) for _ in range(5)]
    ahead.close()
    without("grain")
    stream = make_train_iterator(sources, **options, num_threads=0)
    stream.set_state({"next_step": 1})
    for batch in expected[1:]:
        for key, array in next(stream).items():
            np.testing.assert_array_equal(array, batch[key], strict=True)
    assert stream.get_state() == {"next_step": 5}
    with pytest.raises(MissingExtraError, match=r"num_workers\) needs grain: pip .*\[train\]"):
        next(make_train_iterator(sources, **options, num_workers=1))


@pytest.mark.parametrize("kind", ["data.placement=host", "parallel=pmap"])
def test_the_host_needs_grain_and_says_so_before_it_reads(without, tmp_path, kind):
    without("grain")
    data = replace(CONFIG.data, train=("nosuch",), validation="nosuch")
    if kind == "parallel=pmap":
        config = replace(CONFIG, data=data, parallel="pmap")
    else:
        config = replace(CONFIG, data=replace(data, placement="host"))
    with pytest.raises(MissingExtraError, match=rf'^{kind}.* needs grain: pip install ".*\[train'):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = replace(config, data=replace(config.data, num_threads=0))  # made when asked for
    with pytest.raises(ValueError, match=r"data\.validation names nosuch"):
        train(config, tmp_path / "run")


# ---- what a run writes ----


def test_a_run_without_events(without, tmp_path, capsys):
    without("tensorboardX", "lnln_jax.training.events")
    with RunReport(tmp_path, step=0, total_steps=2) as report:
        for step in (1, 2):
            report.write(step, {"loss": 1.5}, prefix="train")
            report.picture(step, "sample", np.zeros((4, 4, 3), np.uint8))
    said = capsys.readouterr().err
    assert said.count("no TensorBoard events without tensorboardX: pip install") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_memory_without_psutil(without):
    without("psutil")
    assert "host_memory_gib" not in memory_in_use()
    if sys.platform == "linux":
        total = next(
            int(line.split()[1])
            for line in Path("/proc/meminfo").read_text().splitlines()
            if line.startswith("MemTotal")
        )
        assert 0 < available_memory() < 1024 * total  # what the kernel calls available


# ---- other commands ----


def test_images_of_16_bits(without, tmp_path):
    samples = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    for name in ("gray.png", "gray.tif"):
        Image.fromarray(samples).save(tmp_path / name)
        assert read_rgb(tmp_path / name).shape == (8, 8, 3)
    without("imagecodecs")
    for name in ("gray.png", "gray.tif"):
        with pytest.raises(ImageFileError, match=rf"{name}: .* needs imagecodecs: pip .*\[16bit\]"):
            read_rgb(tmp_path / name)


def test_building_a_data_set(without, tmp_path, capsys):
    save_pictures(tmp_path / "images", 1, 96)
    for module in ("tensorflow_datasets", "array_record", "requests"):
        without(module)
        assert main(["prepare", "folder", str(tmp_path / "images"), "--name", "set"]) == 1
        assert f'needs {module}: pip install "lnln-jax[prepare]"\n' in capsys.readouterr().err
        del sys.modules[module]
    assert os.listdir(tmp_path) == ["images"]
