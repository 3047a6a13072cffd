"""Commands under settings of JAX, of Python and of the system that are not the usual ones."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from lnln_jax.config import DataConfig, ModelConfig, TrainConfig, to_dict
from tests.support.commands import lnln

NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# What differs from the usual, two things at once where that saves minutes: variables of the
# environment, options of Python, and a locale, in whose place C stands where it is not installed.
SURROUNDINGS = {
    "x64": ({"JAX_ENABLE_X64": "1"}, [], "C"),
    "debug_nans": ({"JAX_DEBUG_NANS": "1"}, [], "C"),
    "optimized": ({}, ["-O"], "tr_TR.utf8"),
    "warnings": ({}, ["-W", "error"], "de_DE.iso88591"),
}
COMMANDS = (
    "train run.json --output run",
    "upscale photos --model run --output upscaled",
    "evaluate run bicubic --data photos --output measured",
    "models lnln_light_x2 vdsr",
    "convert run network.safetensors",
    "convert run state.safetensors --state",
    "replay run --step 3",
    "export run network.stablehlo --tile 8",
)
# In one process, which imports JAX once; what each says goes to a file.
ALL = """
import os, sys
from lnln_jax.cli import main

for number, command in enumerate(sys.argv[1:]):
    os.dup2(os.open(f"said {number}", os.O_WRONLY | os.O_CREAT), 1)
    status = main(command.split())
    sys.stdout.flush()
    if status:
        sys.exit(f"{command}: {status}")
"""
TIMES = re.compile(r"\b\d+(\.\d+)? s\b")


class Outcome(NamedTuple):
    """What a command says, and what all of them have written."""

    said: dict[str, str]
    files: dict[str, bytes]
    numbers: list[dict[str, float]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "bür ığ.png"):
        smooth = Image.fromarray(rng.integers(0, 256, (7, 8, 3), np.uint8)).resize((48, 40))
        smooth.save(folder / name)
    return folder


def outcome(folder: Path, photos: Path, variables: dict[str, str], options: list[str]) -> Outcome:
    """Runs all commands, one after the other, in a folder."""
    folder.mkdir()
    (folder / "photos").symlink_to(photos)
    network = ModelConfig("lnln", 2, {"n_feats": 16, "n_resgroups": 1, "n_resblocks": 1})
    data = DataConfig(train=("photos",), validation="photos", lr_patch_size=8, batch_size=2)
    every = {"log_every": 2, "checkpoint_every": 2, "validate_every": 2, "sample_every": 4}
    config = to_dict(TrainConfig(model=network, data=data, steps=4, **every))
    (folder / "run.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, *options, "-c", ALL, *COMMANDS],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    said = {}
    for number, command in enumerate(COMMANDS):
        text = (folder / f"said {number}").read_text("utf-8", "backslashreplace")
        said[command] = TIMES.sub("", text.replace(str(folder), "here"))
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in (
            "upscaled/*",
            "network.safetensors",
            "run/replay/*/batch.png",
        )
        for path in sorted(folder.glob(pattern))
    }
    lines = (folder / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    timed = ("train/images_per_second", "train/host_memory_gib")
    numbers = [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]
    return Outcome(said, files, numbers)


@pytest.fixture(scope="module")
def usual(tmp_path_factory, photos) -> Outcome:
    return outcome(tmp_path_factory.mktemp("usual") / "here", photos, {}, [])


@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.skipif("sys.platform == 'win32'")
@pytest.mark.slow
def test_all_commands_do_the_same(name, usual, photos, tmp_path):
    variables, options, locale = SURROUNDINGS[name]
    variables = variables | NO_UTF8 | {"LC_ALL": locale if locale in _locales() else "C"}
    found = outcome(tmp_path / "here", photos, variables, options)
    assert found.numbers == usual.numbers
    assert found.files.keys() == usual.files.keys()
    for key, data in found.files.items():
        if name == "x64":  # the optimizer's corrections have more digits
            assert_close(data, usual.files[key])
        else:
            assert data == usual.files[key], key
    for command in COMMANDS:
        if "bür" not in usual.said[command]:
            assert found.said[command] == usual.said[command]


def assert_close(a: bytes, b: bytes) -> None:
    """Compares files whose numbers may differ in their last bits."""
    if a.startswith(b"\x89PNG"):
        pixels = [np.asarray(Image.open(io.BytesIO(data))).astype(int) for data in (a, b)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1
    else:
        arrays, expected = safetensors.numpy.load(a), safetensors.numpy.load(b)
        assert {k: v.dtype for k, v in arrays.items()} == {k: v.dtype for k, v in expected.items()}
        for key, array in arrays.items():
            np.testing.assert_allclose(array, expected[key], rtol=1e-3, atol=1e-5, err_msg=key)


def _locales() -> list[str]:
    listed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout
    return listed.split()


@pytest.mark.parametrize(
    ("platforms", "option"),
    [
        ("cuda", "-B"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)  # a process each, as the first one
            for case in (("cuda", "-O"), ("frobnicate", "-B"), ("CPU", "-B"), ("cpu,", "-O"))
        ),
    ],  # -O takes JAX's assertion away
)
def test_a_backend_that_does_not_start_is_one_line(platforms, option, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    target = str(tmp_path / "a.stablehlo")
    command = [sys.executable, option, "-m", "lnln_jax", "export", "lnln_light_x2", target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: JAX does not start with JAX_PLATFORMS={platforms}: " in line
    assert "; unset JAX_PLATFORMS, or set it to cpu; `lnln doctor` says more" in line


def test_what_needs_no_device_starts_none(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    done = lnln("convert", "lnln_light_x2", tmp_path / "a.safetensors", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    done = lnln("models", "lnln_light_x2", "--json")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif("sys.platform in ('win32', 'darwin')")
def test_names_that_no_terminal_can_show_end_no_command(tmp_path, monkeypatch):
    for variable, value in {"LC_ALL": "C", **NO_UTF8}.items():
        monkeypatch.setenv(variable, value)
    folder = os.fsencode(tmp_path) + b"/\xff\xfc"
    os.mkdir(folder)
    done = lnln("config", os.fsdecode(folder + b"/missing.py"))
    assert done.returncode == 1
    assert "there is no config file" in done.stderr
    assert "missing.py" in done.stderr
    done = lnln("convert", "lnln_light_x2", os.fsdecode(folder + b"/a.safetensors"), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["scale"] == 2
