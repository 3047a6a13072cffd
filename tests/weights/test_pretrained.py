"""The trained networks of the package: what their cards say is true of their files."""

import hashlib
import json
import shutil
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.cli import main
from lnln_jax.config import differences, from_dict, load_config
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.files import read_rgb
from lnln_jax.inference.photo_pixels import BORDER
from lnln_jax.training.resuming import with_length_of
from lnln_jax.weights import pretrained
from lnln_jax.weights.load import load_weights
from tests.support.checkout import ROOT

NAMES = pretrained.names()


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The networks in a folder that a test may damage."""
    folder = tmp_path / "pretrained_weights"
    shutil.copytree(pretrained.FOLDER, folder)
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder


def test_there_are_some_and_they_are_small():
    assert NAMES
    files = list(pretrained.FOLDER.iterdir())
    assert {path.name for path in files} == {"index.json", *(f"{n}.safetensors" for n in NAMES)}
    assert sum(path.stat().st_size for path in files) <= 10e6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_psnr_on_set5_is_that_of_the_card(name, published_dir):
    network = load_model(name)
    benchmark = open_benchmark(published_dir / "Set5", network.scale)
    assert network.name == name
    (result,) = evaluate([network], benchmark)
    psnr, ssim = pretrained.load(name).training["scores"]["Set5"]
    assert result.psnr == pytest.approx(psnr, abs=0.01)  # results are rounded to 8 bits
    assert result.ssim == pytest.approx(ssim, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_configs_in_the_repository_trained_it(name):
    for training in pretrained.load(name).stages:
        lnln, train, config, *options = training["command"].split()
        assert (lnln, train) == ("lnln", "train")
        overrides = [option for option in options if "=" in option]
        if not overrides:
            assert options == ([] if Path(config).stem == name else ["--output", f"runs/{name}"])
            assert training["curve"][-1][0] == load_config(ROOT / config).steps
        stored = from_dict(training["config"])
        ours = with_length_of(stored, load_config(ROOT / config, overrides))
        # What it runs on, how often it reports, and what it computes in once it is trained.
        free = {"data.placement", "devices", "log_every", "dtype"}
        assert differences(ours, stored).keys() <= free


@pytest.mark.slow
def test_pages_are_what_the_script_writes(monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install -e '.[compare]' brings matplotlib")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from scripts.recipes import pages as results

    networks = [pretrained.load(name) for name in NAMES]
    pages = results.pages(networks)
    assert {path.name for path in pages} == {"results.md", "README.md", *(f"{n}.md" for n in NAMES)}
    for path, text in pages.items():
        assert path.read_text() == text
    for network in networks:
        psnr, ssim = network.training["scores"]["Set5"]
        page = (ROOT / "docs" / "models" / f"{network.name}.md").read_text()
        assert f"| {network.name} | {psnr:.2f} / {ssim:.4f} |" in page
        assert hashlib.sha256(network.path.read_bytes()).hexdigest() in page


@pytest.mark.slow
def test_the_list_of_networks(capsys):
    assert main(["models", *NAMES]) == 0
    out = capsys.readouterr().out
    assert "Multiply-adds" not in out  # which nobody has asked for
    for name in NAMES:
        network = pretrained.load(name)
        psnr, ssim = network.training["scores"]["Set5"]
        (line,) = [line for line in out.splitlines() if line.startswith(f"| {name} ")]
        assert f"| x{network.scale} " in line
        assert f"| {psnr:.2f} / {ssim:.4f} " in line


@pytest.mark.slow
def test_upscale_without_a_model(tmp_path, data_dir, monkeypatch):
    (photo,) = (data_dir / "Set5" / "LRx2").glob("bird*")
    monkeypatch.chdir(tmp_path)
    network = load_model(pretrained.best(2))
    (tmp_path / network.name).mkdir()  # no run of that name is taken in its place
    assert main(["upscale", str(photo), "--tile", "none"]) == 0
    result = read_rgb(tmp_path / "upscaled" / f"{photo.stem}_x2.png")
    expected = network.upscale(read_rgb(photo), border=BORDER)
    np.testing.assert_array_equal(result, expected)


def test_the_files_are_in_the_package_data():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (pattern,) = [p for p in tool["package-data"]["lnln_jax"] if "pretrained" in p]
    assert set(pretrained.FOLDER.parent.glob(pattern)) == set(pretrained.FOLDER.iterdir())


def test_a_network_of_another_scale_is_called_by_its_name():
    with pytest.raises(
        ValueError, match=r"and lnln_light_x2 upscales x2; .* or take lnln_light_x4"
    ):
        load_model("lnln_light_x2", scale=4)
    with pytest.raises(ValueError, match="leave scale out, or take a model of your own"):
        load_model("lnln_light_x4", scale=3)


def test_a_scale_that_no_network_has(tmp_path, data_dir, capsys):
    photo = data_dir / "Set5" / "HR" / "bird.png"
    assert main(["upscale", str(photo), "--scale", "7", "--output", str(tmp_path)]) == 1
    assert "scale is 7, and the trained networks of this package have" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_names_work_wherever_weights_are_asked_for(tmp_path):
    name = NAMES[0]
    assert main(["convert", name, str(tmp_path / "copy.safetensors")]) == 0
    ours, copy = load_weights(name), load_weights(tmp_path / "copy.safetensors")
    assert ours.model == copy.model
    assert ours.training == copy.training
    np.testing.assert_array_equal(
        ours.variables["params"]["head"]["depthwise"]["kernel"],
        copy.variables["params"]["head"]["depthwise"]["kernel"],
    )
    with pytest.raises(ValueError, match=f"{name} upscales x{ours.model.scale}; leave"):
        load_model(name, scale=3)


def test_a_changed_bit_is_refused(copied):
    path = copied / f"{NAMES[0]}.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged: its SHA-256 is [0-9a-f]{64}, not"):
        load_model(NAMES[0])
    path.unlink()
    with pytest.raises(ValueError, match="is damaged: its SHA-256 is none, not"):
        load_model(NAMES[0])


def test_the_best_is_that_of_the_validation_images_unless_a_smaller_one_is_as_good(
    copied, monkeypatch
):
    index = {
        "small": {"scale": 2, "validation": 30.1, "bytes": 1},
        "medium": {"scale": 2, "validation": 31.0, "bytes": 2},
        "large": {"scale": 2, "validation": 31.09, "bytes": 3},
        "x4": {"scale": 4, "validation": 32.0, "bytes": 1},
        "x4 larger": {"scale": 4, "validation": 32.11, "bytes": 2},
        "x4 huge": {"scale": 4, "validation": 33.12, "bytes": 3},
    }
    (copied / "index.json").write_text(json.dumps(index))
    # On a CPU a larger network must gain a decibel.
    assert [pretrained.best(scale) for scale in (2, 4)] == ["small", "x4 huge"]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [pretrained.best(scale) for scale in (2, 4)] == ["medium", "x4 huge"]
    with pytest.raises(ValueError, match=r"scale is 3, and .* have 2, 4; choose one"):
        pretrained.best(3)


def test_a_damaged_index(copied):
    (copied / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index\.json is damaged .*; install lnln_jax again"):
        load_model(NAMES[0])


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match=f"a trained network \\(.*{NAMES[0]}"):
        load_model("lnln_x17")
