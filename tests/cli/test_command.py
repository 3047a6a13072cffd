"""The `lnln` command; what its commands compute is tested beside the modules that do it."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lnln_jax
from lnln_jax.cli import main
from lnln_jax.images.resize import imresize

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def lnln(
    *arguments: object, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Runs the command as a process of its own."""
    code = "import sys; from lnln_jax.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, timeout=300)


def fails(capsys, *arguments: object) -> str:
    """Runs the command, which must exit with 1, and returns the one line on stderr."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("lnln: error: ")
    return line.removeprefix("lnln: error: ")


def refuses(capsys, *arguments: object) -> str:
    """Runs the command, which must exit with 2 as for a wrong call, and returns stderr."""
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    assert exit.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def broken(tmp_path, photo) -> Path:
    path = tmp_path / "broken.png"
    path.write_bytes(photo.read_bytes()[:80])
    return path


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "experiment.py"
    path.write_text("from lnln_jax.config import TrainConfig\n\nconfig = TrainConfig()\n")
    return path


# ---- help ----


HEAVY = {"jax", "flax", "numpy", "scipy", "PIL", "grain", "optax", "orbax", "tensorflow_datasets"}


@pytest.mark.parametrize(
    "command", [[], ["train"], ["prepare"], ["evaluate"], ["export"], ["upscale"]]
)
def test_help_imports_nothing_heavy(command):
    # What a time limit would say, without the noise of the machine.
    code = (
        "import atexit, sys; from lnln_jax.cli import main; "
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *command, "--help"], capture_output=True, text=True
    )
    assert process.returncode == 0
    assert "usage: lnln" in process.stdout
    imported = set(process.stderr.split())
    assert "lnln_jax.cli" in imported
    assert not HEAVY & imported


def test_the_package_imports_nothing_heavy():
    code = "import sys, lnln_jax; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    imported = set(process.stdout.split())
    assert "lnln_jax" in imported
    assert not HEAVY & imported


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


def test_the_package_offers_its_names():
    assert set(lnln_jax.__all__) <= set(dir(lnln_jax))
    for name in lnln_jax.__all__:
        assert getattr(lnln_jax, name) is not None
    with pytest.raises(AttributeError, match="module 'lnln_jax' has no attribute 'upscale'"):
        lnln_jax.upscale  # noqa: B018


# ---- evaluate ----


def test_evaluate_bicubic(data_dir, tmp_path, capsys):
    output = tmp_path / "new" / "out"
    set5, head = data_dir / "Set5", tmp_path / "Head"
    head.mkdir()
    (head / "head.png").write_bytes((set5 / "HR" / "head.png").read_bytes())
    arguments = ["evaluate", "bicubic", "--data", set5, head, "--output", output]
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "mean       33.67 / 0.9303  33.66 / 0.9299" in captured.out
    assert "LR files in LRx2" in captured.out
    assert "LR made from HR by imresize" in captured.out
    assert captured.out.endswith(f"written to {output}\n")
    results = json.loads((output / "results.json").read_text())["results"]
    assert [result["benchmark"] for result in results] == ["Set5", "Set5", "Head", "Head"]
    names = [image["image"] for image in results[0]["images"]]
    assert names == ["baby", "bird", "butterfly", "head", "woman"]
    assert results[2]["psnr"] == results[0]["images"][3]["psnr"]
    assert (output / "results.md").read_text().startswith("# Evaluation x2\n")


def test_evaluate_options(tmp_path, capsys):
    (tmp_path / "set" / "LRx4").mkdir(parents=True)
    pixels = PIXELS.repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(pixels).save(tmp_path / "set" / "x.png")
    Image.fromarray(pixels[::4, ::4]).save(tmp_path / "set" / "LRx4" / "x.png")
    common = ["evaluate", "bicubic", "--data", str(tmp_path / "set"), "--scale", "4"]
    output = tmp_path / "out"
    options = ["--lr", "imresize", "--border", "replicate", "--channel", "rgb", "--shave", "3"]
    options += ["--no-rounding", "--self-ensemble", "--save-images", "--output", str(output)]
    assert main([*common, *options, "--figure", "x:0,0,8,8", "--figure", "x"]) == 0
    head, columns, *_ = capsys.readouterr().out.splitlines()
    assert head == (
        "PSNR (dB) / SSIM on RGB, shaved 3, of unrounded results; "
        "LR made from HR by imresize (replicate border); self-ensemble"
    )
    assert columns.split()[1:] == ["x4", "bicubic"]
    protocol = json.loads((output / "results.json").read_text())["protocol"]
    assert protocol.pop("degradation")["kind"] == "bicubic"
    assert protocol == {"channel": "rgb", "shave": 3, "rounding": False, "border": "replicate"}
    assert (output / "images" / "set_x4" / "bicubic" / "x.png").exists()
    assert (output / "figure.png").exists()

    assert main(common) == 0
    assert "shaved 4, of rounded results; LR files in LRx4" in capsys.readouterr().out
    error = fails(capsys, *common, "--res-scale", "0.3")
    assert error.startswith("res_scale is 0.3, but there is no EDSR that takes it")


def test_a_terminal_shows_what_is_going_on(tmp_path):
    Image.fromarray(PIXELS.repeat(8, axis=0).repeat(8, axis=1)).save(tmp_path / "x.png")
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 120))  # tqdm writes nothing where there are no columns
    done = lnln("evaluate", "bicubic", "--data", tmp_path, stderr=writer)
    shown = os.read(reader, 10_000).decode()  # before the last writer leaves
    os.close(writer)
    os.close(reader)
    assert done.returncode == 0
    assert f"{tmp_path.name} x2, bicubic: " in shown
    assert f"{tmp_path.name} x2, bicubic (SRCNN convention): " in shown
    assert "it/s" not in done.stdout


# ---- upscale ----


def test_upscale_does_what_it_can(tmp_path, photo, broken):
    done = lnln("upscale", broken, photo, "--model", "bicubic", "--output", tmp_path / "out")
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first == f"[1/2] {broken}: error: cannot be read: image file is truncated"
    assert second.startswith(f"[2/2] {photo}: 8x6 -> {tmp_path / 'out' / 'photo_x2.png'} 16x12, ")
    assert done.stderr == f"lnln: error: 1 of 2 failed: {broken}\n"
    with Image.open(tmp_path / "out" / "photo_x2.png") as image:
        np.testing.assert_array_equal(np.asarray(image), imresize(PIXELS, 2))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_x2.png"]


def test_upscale_options(tmp_path, photo, capsys):
    arguments = ["upscale", str(photo), "--model", "bicubic", "--output", str(tmp_path / "out")]
    options = ["--scale", "3", "--format", "tiff", "--tile", "none", "--self-ensemble"]
    assert main([*arguments, *options]) == 0
    with Image.open(tmp_path / "out" / "photo_x3.tiff") as image:
        np.testing.assert_array_equal(np.asarray(image), imresize(PIXELS, 3))
    capsys.readouterr()
    assert main([*arguments, *options]) == 1
    captured = capsys.readouterr()
    assert "exists; allow overwriting" in captured.out
    assert captured.err == f"lnln: error: 1 of 1 failed: {photo}\n"
    assert main([*arguments, *options, "--tile", "32", "--overwrite"]) == 0


# ---- train ----


def test_overrides_may_stand_anywhere(tmp_path, config, capsys):
    output = ["--output", tmp_path / "run"]
    for arguments in (
        [config, "steps=5", "data.batch_size=0", *output],
        [config, *output, "steps=5", "data.batch_size=0"],
        [config, "steps=5", *output, "data.batch_size=0"],
        [*output, config, "steps=5", "data.batch_size=0"],
        [*output, config, "steps=5", "--data.batch_size=0"],
    ):
        error = fails(capsys, "train", *arguments)
        assert error == "data.batch_size is 0; it must be larger than 0"
    assert "data.train names nothing" in fails(capsys, "train", config, *output)
    assert not (tmp_path / "run").exists()


def test_train_goes_to_runs_by_default(tmp_path, config, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "experiment").write_text("in the way")
    small = ["model.n_resgroups=1", "model.n_resblocks=1"]
    data = ["data.dead_leaves=1", "data.dead_leaves_size=96"]
    error = fails(capsys, "train", config, *small, *data)
    assert "runs/experiment" in error


# ---- wrong calls and failures ----


def test_unknown_arguments_are_refused(tmp_path, config, photo, capsys):
    error = refuses(capsys, "evaluate", "bicubic", "--data", tmp_path, "--frobnicate")
    assert error.endswith("error: unrecognized arguments: --frobnicate\n")
    refuses(capsys, "upscale", photo, "--model", "bicubic", "--output", tmp_path, "--frobnicate")
    error = fails(capsys, "train", config, "--frobnicate")
    assert error == "override '--frobnicate' has no '='; write it as data.batch_size=32"
    assert "no config field 'outptu'" in fails(capsys, "train", config, "--outptu=x")


def test_wrong_calls_are_refused(tmp_path, photo, capsys):
    assert "arguments are required: command" in refuses(capsys)
    assert "invalid choice: 'frobnicate'" in refuses(capsys, "frobnicate")
    assert "arguments are required: --data" in refuses(capsys, "evaluate", "bicubic")
    upscale = ("upscale", photo, "--model", "bicubic", "--output", tmp_path)
    for scale in ("0", "-2", "x2", "1.5"):
        assert "is not a whole number of at least 1" in refuses(capsys, *upscale, f"--scale={scale}")
    assert "'large' is not a number of pixels" in refuses(capsys, *upscale, "--tile", "large")


def test_failures_are_one_line(tmp_path, photo, capsys):
    missing = tmp_path / "missing"
    assert fails(capsys, "train", missing).startswith(f"there is no config file {missing}; ")
    error = fails(capsys, "evaluate", missing, "--data", tmp_path)
    assert error.startswith(f'there is no model {missing}; give "bicubic", ')
    error = fails(capsys, "evaluate", tmp_path, "--data", tmp_path)
    assert error == f"{tmp_path} holds no checkpoint; give the folder of a training run"
    error = fails(capsys, "evaluate", "bicubic", "--data", missing)
    assert error == f"there is no folder {missing}; give one that holds HR images"
    error = fails(capsys, "upscale", photo, "--model", "bicubic", "--output", photo)
    assert error == f"{photo}: cannot write to the output folder: it is not a folder"
    error = fails(
        capsys, "upscale", photo, "--model", "bicubic", "--output", tmp_path, "--format", "gif"
    )
    assert error == "format must be one of png, jpg, webp, tiff, same, got 'gif'"


def test_a_damaged_test_image_is_named(broken, capsys):
    error = fails(capsys, "evaluate", "bicubic", "--data", broken.parent)
    assert error == f"{broken}: cannot be read: image file is truncated"


def test_a_traceback_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("LNLN_TRACEBACK", "1")
    with pytest.raises(ValueError, match="there is no config file"):
        main(["train", str(tmp_path / "missing.py")])


def test_ctrl_c_is_no_traceback(tmp_path, capsys):
    interrupted = tmp_path / "interrupted.py"
    interrupted.write_text("import signal\n\nsignal.raise_signal(signal.SIGINT)\n")
    # A shell's background jobs ignore SIGINT, and CI may run as one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["train", str(interrupted)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "lnln: interrupted\n"


def test_a_reader_that_leaves_is_no_traceback(tmp_path, photo):
    reader, writer = os.pipe()
    os.close(reader)
    done = lnln("upscale", photo, "--model", "bicubic", "--output", tmp_path / "out", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    assert (tmp_path / "out" / "photo_x2.png").exists()
