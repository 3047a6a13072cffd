"""The `lnln` command as a whole: help, wrong calls, failures; and the names of the package."""

import importlib.metadata
import subprocess
import sys

import pytest

import lnln_jax
from lnln_jax.cli import config, main
from tests.support.commands import fails, lnln, refuses

HEAVY = {"jax", "flax", "numpy", "scipy", "PIL", "grain", "optax", "orbax", "tensorflow_datasets"}
COMMANDS = (
    *("train", "config", "replay", "prepare", "evaluate", "explain", "leaderboard", "models"),
    *("convert", "export", "upscale", "doctor", "completion"),
)


def test_help_imports_nothing_heavy():
    # What a time limit would say, without the noise of the machine.
    code = """
import contextlib, sys
from lnln_jax.cli import main
for command in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "", *COMMANDS], capture_output=True, text=True, check=True
    )
    assert all(f"usage: lnln {command} " in done.stdout for command in COMMANDS)
    imported = set(done.stderr.split())
    assert "lnln_jax.cli" in imported
    assert not HEAVY & imported


def test_the_package_imports_nothing_heavy():
    code = "import sys, lnln_jax; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    imported = set(process.stdout.split())
    assert "lnln_jax" in imported
    assert not HEAVY & imported


def test_the_package_offers_its_names():
    assert set(lnln_jax.__all__) <= set(dir(lnln_jax))
    for name in lnln_jax.__all__:
        assert getattr(lnln_jax, name) is not None
    with pytest.raises(AttributeError, match="module 'lnln_jax' has no attribute 'upscale'"):
        lnln_jax.upscale  # noqa: B018


def test_public_modules():
    from lnln_jax.pretrained import names
    from lnln_jax.torch_port import from_torch, to_torch

    assert "lnln_light_x2" in names()
    assert lnln_jax.pretrained.names is names
    assert (lnln_jax.torch_port.to_torch, lnln_jax.torch_port.from_torch) == (to_torch, from_torch)


def test_main_leaves_its_caller_as_it_was():
    code = """
import os, sys, lnln_jax.cli
sys.argv = ["script.py", "--version"]
try:
    lnln_jax.cli.main()
except SystemExit:
    pass
sys.argv = ["script.py", "config"]
print(lnln_jax.cli.main(), os.getpid())
"""
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    said, _ = started.communicate(timeout=120)
    assert said.count(f"lnln {lnln_jax.__version__}\n") == 1  # the script ran once
    assert said.endswith(f"\n0 {started.pid}\n")


def test_python_runs_the_package_as_the_command():
    done = lnln("--version")
    assert (done.returncode, done.stdout) == (0, f"lnln {lnln_jax.__version__}\n")
    done = subprocess.run(
        [sys.executable, "-m", "lnln_jax.cli", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"lnln {lnln_jax.__version__}\n")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["train", "evaluate", "upscale", "LNLN_TRACEBACK"]),
        (["train"], ["config", "key=value", "--output"]),
        (
            ["evaluate"],
            [
                "bicubic",
                "--data",
                "--scale",
                "--res-scale",
                "--lr",
                "--channel",
                "--shave",
                "--no-rounding",
                "--border",
                "--degradation",
                "--self-ensemble",
                "--output",
                "replaced",
                "--save-images",
                "--figure",
            ],
        ),
        (["explain"], ["SR", "HR", "--published", "--scale", "--lr", "--json"]),
        (["leaderboard"], ["--data", "--scale", "--no-published", "--output", "--json", "goes on"]),
        (["prepare"], ["div2k", "folder", "goes on"]),
        (
            ["prepare", "div2k"],
            ["--download-dir", "--url", "--scales", "--size", "--step", "--min-side", "--workers"],
        ),
        (
            ["prepare", "folder"],
            ["--name", "--validation-every", "--degradation", "--on-bad-image", "--data-dir"],
        ),
        (["export"], ["--tile", "--batch", "--platforms", "--scale", "--res-scale", "--overwrite"]),
        (["config"], ["key=value", "list of the names"]),
        (["upscale"], ["bicubic", "--output", "--tile", "--format", "--overwrite"]),
    ],
)
def test_help_names_every_option(capsys, command, words):
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in words)


def test_version_and_console_script(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"lnln {lnln_jax.__version__}\n"
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="lnln")
    assert script.load() is main


def test_unknown_arguments_are_refused(tmp_path, config, photo, capsys):
    error = refuses(capsys, "evaluate", "bicubic", "--data", tmp_path, "--frobnicate")
    assert error.endswith("lnln evaluate: error: there is no option --frobnicate\n")
    refuses(capsys, "upscale", photo, "--model", "bicubic", "--output", tmp_path, "--frobnicate")
    assert "no config field 'frobnicate'" in fails(capsys, "train", config, "--frobnicate=x")


def test_wrong_calls_are_refused(tmp_path, photo, capsys):
    assert "there is no command 'frobnicate'; choose from train" in refuses(capsys, "frobnicate")
    assert "arguments are required: --data" in refuses(capsys, "evaluate", "bicubic")
    upscale = ("upscale", photo, "--model", "bicubic", "--output", tmp_path)
    for scale in ("0", "-2", "x2", "1.5"):
        said = refuses(capsys, *upscale, f"--scale={scale}")
        assert "is not a whole number of at least 1" in said
    assert "'large' is not a number of pixels" in refuses(capsys, *upscale, "--tile", "large")


def test_failures_are_one_line(tmp_path, photo, capsys):
    missing = tmp_path / "missing"
    assert fails(capsys, "train", missing).startswith(f"there is no config file {missing}; ")
    error = fails(capsys, "evaluate", missing, "--data", tmp_path)
    assert error.startswith(f'there is no model {missing}; give "bicubic", ')
    error = fails(capsys, "evaluate", tmp_path, "--data", tmp_path)
    assert error == f"{tmp_path} holds no checkpoint; give the folder of a training run"
    error = fails(capsys, "evaluate", "bicubic", "--data", missing)
    assert error.startswith(f"there is no folder or .zip file {missing}, nor a dataset of this ")
    error = fails(capsys, "upscale", photo, "--model", "bicubic", "--output", photo)
    assert error.startswith(f"{photo} would be replaced by its own result; ")
    error = fails(
        capsys, "upscale", photo, "--model", "bicubic", "--output", tmp_path, "--format", "gif"
    )
    assert error.startswith("format is 'gif'; it must be one of png, jpg, ")


def test_a_traceback_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLN_TRACEBACK", "1")
    with pytest.raises(ValueError, match="there is no config file"):
        main(["train", str(tmp_path / "missing.py")])


def test_what_the_system_refuses_is_told_by_its_file(monkeypatch, capsys):
    def refuse(args):
        raise PermissionError(13, "Permission denied", "/a/b\udcff.png")

    monkeypatch.setattr(config, "run", refuse)
    assert fails(capsys, "config") == "/a/b\\xff.png: Permission denied"
