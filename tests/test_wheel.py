"""The wheel, installed outside the checkout: what README.md shows works there."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.config.shipped import config_names
from lnln_jax.version import __version__
from lnln_jax.weights import pretrained
from tests.support.checkout import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def test_every_package_is_in_the_wheel():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = [path.parent for path in (ROOT / "lnln_jax").rglob("__init__.py")]
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(tool["packages"]) == packages | {"lnln_jax.configs"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `python` and `lnln` where the wheel and this environment's packages are."""
    folder = tmp_path_factory.mktemp("wheel")
    pytest.importorskip("setuptools", minversion="77", reason="it builds the wheel")
    for name in ("configs", "lnln_jax"):
        shutil.copytree(
            ROOT / name, folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / "copy")
    build = ["wheel", folder / "copy", "--no-deps", "--no-build-isolation", "-w", folder / "dist"]
    subprocess.run([*PIP, *map(str, build)], check=True, capture_output=True)
    (wheel,) = (folder / "dist").iterdir()

    venv.create(folder / "venv", symlinks=os.name != "nt")
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = ["--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run([*PIP, *map(str, install)], check=True, capture_output=True)
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    # What a .pth file appends is searched last, and .pth files there, such as an editable
    # installation's, are not read.
    Path(site, "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def run(programs: Path, tmp_path: Path) -> Run:
    """Runs a program of the environment in an empty folder; returns the process."""

    def run(program: str, *arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [str(programs / program), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture
def photo(tmp_path: Path) -> np.ndarray:
    """Pixels of `photos/photo.png`."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "photo.png")
    return pixels


@pytest.mark.slow
def test_versions_and_lists(run: Run):
    assert run("lnln", "--version").stdout == f"lnln {__version__}\n"
    assert run("python", "-m", "lnln_jax", "--version").stdout == f"lnln {__version__}\n"
    listed = run("lnln", "models", *pretrained.names(), "vdsr").stdout
    assert all(f"| {name} " in listed for name in pretrained.names())
    listed = run("lnln", "config").stdout.splitlines()
    assert [line.split()[0] for line in listed] == config_names()


@pytest.mark.slow
def test_the_machine_is_examined(run: Run):
    assert "advice" in run("lnln", "doctor").stdout.lower()


@pytest.mark.slow
def test_configs_by_name(run: Run, programs: Path):
    path, *rest = run("lnln", "config", "lnln_x2", "model.scale=4").stdout.splitlines()
    assert Path(path).is_relative_to(programs.parent)
    assert any(re.match(r"model\.scale=4 +int +", line) for line in rest)
    assert "one of the names" in run("lnln", "train", "lnln_x5", status=1).stderr


@pytest.mark.slow
def test_a_photo_is_upscaled(run: Run, tmp_path: Path, photo: np.ndarray):
    run("lnln", "upscale", "photos/photo.png", "--tile", "none")
    with Image.open(tmp_path / "upscaled" / "photo_x2.png") as image:
        assert image.size == (128, 96)


@pytest.mark.slow
def test_networks_are_evaluated(run: Run, tmp_path: Path, photo: np.ndarray):
    written = ["--output", "report", "--figure", "photo"]
    run("lnln", "evaluate", "lnln_light_x2", "--data", "photos", *written)
    results = json.loads((tmp_path / "report" / "results.json").read_text())["results"]
    assert {"bicubic", "lnln_light_x2"} <= {result["model"] for result in results}
    assert "<html" in (tmp_path / "report" / "figure.html").read_text()


@pytest.mark.slow
def test_a_network_is_trained_and_used(run: Run, tmp_path: Path, photo: np.ndarray):
    small = ["model.n_resgroups=1", "model.n_resblocks=1", "data.lr_patch_size=16", "steps=2"]
    said = run("lnln", "train", "quickstart", *small, "data.dead_leaves=2").stdout
    assert "trained 2 steps; the run is in runs" in said
    run("lnln", "upscale", "photos", "--model", "runs/quickstart", "--tile", "none")
    run("lnln", "convert", "runs/quickstart", "quick.safetensors")
    run("lnln", "export", "quick.safetensors", "quick.stablehlo", "--tile", "32")
    assert (tmp_path / "quick.stablehlo").stat().st_size > 0


@pytest.mark.slow
def test_python(run: Run, programs: Path, photo: np.ndarray):
    code = """
import sys, lnln_jax
assert not {"jax", "numpy"} & set(sys.modules)
print(lnln_jax.__file__)
import numpy as np
from PIL import Image
hr = np.asarray(Image.open("photos/photo.png"))
lr = lnln_jax.imresize(hr, 1 / 2)
sr = lnln_jax.load_model("lnln_light_x2").upscale(lr)
assert sr.shape == hr.shape and sr.dtype == np.uint8
print(lnln_jax.psnr(sr, hr, shave=2), lnln_jax.ssim(sr, hr, shave=2))
lnln_jax.create_model("lnln", scale=4, n_resgroups=2)
from lnln_jax import torch_port
print(lnln_jax.pretrained.names(), torch_port.to_torch, torch_port.from_torch)
"""
    file, *_ = run("python", "-c", code).stdout.splitlines()
    assert Path(file).is_relative_to(programs.parent)
