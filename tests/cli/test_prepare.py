"""`lnln prepare` as its users call it, and what comes after it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lnln_jax.cli import main
from tests.support.commands import fails

LNLN = Path(sys.executable).with_name("lnln")
SMALL = ["--size", "120", "--step", "60", "--min-side", "96"]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [LNLN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.slow
def test_a_folder_with_bad_images_then_training_on_it(data_dir, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(data_dir / "Set5" / "HR", images)
    (images / "broken.png").write_bytes((images / "baby.png").read_bytes()[:500])
    Image.new("RGB", (40, 300)).save(images / "narrow.png")
    folder = ["folder", images, "--name", "mine", *SMALL]
    done = run("prepare", *folder, "--validation-every", "3", TFDS_DATA_DIR=str(tmp_path / "tfds"))
    assert done.returncode == 0, done.stderr
    dataset = tmp_path / "tfds" / "mine" / "x2_120_60" / "1.0.0"
    head, advice = done.stdout.splitlines()
    assert head.startswith(f"{dataset}: ")
    assert head.partition(" for validation; ")[2].endswith(" s")
    assert advice == f"train on it: lnln train lnln_x2 data.train={dataset.parent}"
    head, broken, narrow = done.stderr.splitlines()
    assert head == "2 images could not be used and were left out:"
    assert broken.startswith("  broken.png: cannot be read: ")
    assert narrow == (
        "  narrow.png: 40x300 pixels (width x height) is too small: no side may have fewer than 96"
    )

    small = ["model.n_resblocks=1", "model.n_feats=8", "data.lr_patch_size=24", "steps=2"]
    trained = run(
        "train",
        "edsr_baseline_x2",
        "--output",
        tmp_path / "run",
        "data.train=mine",
        "data.validation=mine",
        *small,
        TFDS_DATA_DIR=str(tmp_path / "tfds"),
    )
    assert trained.returncode == 0, trained.stderr
    assert "images on the device" in trained.stderr
    assert "psnr_y" in trained.stderr


def test_stopping_at_a_bad_image(data_dir, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    shutil.copy(data_dir / "Set5" / "HR" / "bird.png", tmp_path / "images")
    arguments = ["prepare", "folder", str(tmp_path / "images"), "--name", "mine", *SMALL]
    arguments += ["--data-dir", str(tmp_path / "tfds"), "--workers", "1"]
    assert main([*arguments, "--on-bad-image", "stop"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("lnln: error: a.png: cannot be read: the file is empty")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "No-Name"], "name is 'No-Name'; it must be of lower-case letters"),
        (["--name", "mine", "--size", "101"], "size is 101; it must be a multiple of 2"),
        (["--name", "mine", "--validation-every", "1"], "validation_every is 1; 0 holds no image"),
        (
            ["--name", "mine", "--noise-level", "15"],
            "--noise-level is 15.0, but LR images are",
        ),
        (["--name", "mine", "--degradation", "dn", "--noise-level", "0"], "noise_level"),
    ],
)
def test_wrong_settings(tmp_path, data_dir, capsys, options, message):
    folder = str(data_dir / "Set5" / "HR")
    arguments = ["prepare", "folder", folder, "--data-dir", str(tmp_path / "tfds"), *options]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "tfds").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_workers(data_dir, tmp_path, number):
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((data_dir / "BSDS400").iterdir())[:60]:
        (images / path.name).symlink_to(path)
    build = [LNLN, "prepare", "folder", images, "--name", "mine", "--workers", "2", *SMALL]
    process = subprocess.Popen(
        [*map(str, build), "--data-dir", str(tmp_path / "tfds")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    shards = tmp_path / "tfds" / "mine" / "x2_120_60" / "incomplete.1.0.0" / "shards"
    while not list(shards.glob("*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:  # a terminal sends it to all
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)  # it ends when nobody has its output open any more
    said = f"{number.name}: stopping; complete shards stay; Ctrl-C stops at once"
    assert (process.returncode, out) == (130, "")
    assert err.splitlines() == [said, "lnln: interrupted"]
    assert not psutil.wait_procs(workers, timeout=30)[1]
    assert not list(shards.glob("*.tmp"))
    assert list(shards.glob("*.json"))


@pytest.mark.slow
@pytest.mark.slow
def test_workers_end_when_the_build_is_killed(data_dir, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((data_dir / "BSDS400").iterdir())[:60]:
        (images / path.name).symlink_to(path)
    build = [LNLN, "prepare", "folder", images, "--name", "mine", "--workers", "2", *SMALL]
    process = subprocess.Popen([*map(str, build), "--data-dir", str(tmp_path / "tfds")])
    while not list((tmp_path / "tfds").glob("*/*/incomplete.*/shards/*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_a_disk_that_cannot_be_written_to(data_dir, tmp_path, capsys):
    folder = ["prepare", "folder", str(data_dir / "Set5" / "HR"), "--name", "mine", *SMALL]
    (tmp_path / "file").write_text("in the way")
    assert main([*folder, "--data-dir", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.startswith("lnln: error: ")


@pytest.mark.slow
def test_evaluation_of_a_degradation_and_of_a_dataset(data_dir, tmp_path, capsys):
    folder = str(data_dir / "Set5" / "HR")
    data = ["--data-dir", str(tmp_path), "--validation-every", "5", "--scales", "3", *SMALL]
    assert main(["prepare", "folder", folder, "--name", "mine", "--degradation", "bd", *data]) == 0
    built = tmp_path / "mine" / "x3_120_60_bd1.6"
    advice = f"train on it: lnln train lnln_x2 model.scale=3 data.train={built}\n"
    assert capsys.readouterr().out.endswith(advice)
    means = []
    for source in (tmp_path / "mine", folder):
        degraded = ["--degradation", "bd", "--scale", "3"]
        assert main(["evaluate", "bicubic", "--data", str(source), *degraded]) == 0
        out = capsys.readouterr().out
        assert "SRCNN" not in out  # the paper's rows are of bicubic LR images
        rows = dict(line.split(maxsplit=1) for line in out.splitlines() if " / 0." in line)
        means.append(rows["butterfly"])
    assert means[0] == means[1]
    assert "made from HR by bd1.6" in out
    builder = tfds.builder_from_directory(built / "1.0.0")
    (record,) = builder.as_data_source(split="validation")
    assert np.ptp(record["lr_x3"]) > 100


def test_options_of_one_value_and_a_zip(tmp_path, capsys):
    images = tmp_path / "images" / "D_train_HR"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(images / f"{i}.png")
    (images / "more.heic").touch()
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "images")
    call = ["prepare", "folder", "--scales", "2,3", archive, "--name", "z", *SMALL, "--workers"]
    assert main([*call, "1", "--data-dir", str(tmp_path / "tfds"), "--validation-every", "0"]) == 0
    assert "x2-x3_120_60/1.0.0: 2 for train; " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*call, "1", "--scales", "4"])
    assert "--scales is given twice" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_made(tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (480, 480)).save(images / "a.png")
    place = images / "a.png" / "datasets"  # below a file, where not even root can make a folder
    error = fails(capsys, "prepare", "folder", images, "--name", "a", "--data-dir", place)
    assert error == f"{place} cannot be written to (Not a directory); choose another --data-dir"
