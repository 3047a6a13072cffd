"""Runs in folders of any name that the system allows."""

import os
import sys

import pytest

from lnln_jax.cli import main
from lnln_jax.runtime import plain_paths
from lnln_jax.training.checkpoints import RunCheckpoints
from lnln_jax.weights.handed_state import read_state
from lnln_jax.weights.runs import load_run, saved_config, saved_steps
from tests.support.checkpoints import CONFIG, IMAGES, assert_equal, at, save
from tests.support.runs import CONFIG as TRAINED
from tests.support.runs import write_config

WINDOWS = sys.platform == "win32"
# Orbax or TensorStore stumbled over the first ones.
NAMES = [b"a[1]", b"[!x]", b"a*b", b"what?", b"back\\slash", b"latin\xe9", b"gs:", b"a[1]/b*/[c]"]
NAMES += [b"new\nline", b"%41 #1", "Ä写真".encode(), b"-x", b"~x", b"/".join([b"l" * 200] * 18)]


def folder_called(tmp_path, name):
    folder = tmp_path / os.fsdecode(name)
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip(f"the system knows no such name as {name!r}")
    return folder


def check_there_and_back(folder, fresh, iterator):
    save(folder, fresh, iterator, {3: 30.0, 4: 29.0})
    checkpoints = folder / "checkpoints"
    assert saved_steps(checkpoints) == [3, 4]
    assert saved_config(checkpoints) == CONFIG
    assert_equal(load_run(folder)[1], at(fresh, 3).ema)
    assert_equal(load_run(checkpoints / "4")[1], at(fresh, 4).ema)
    assert read_state(folder).step == 4
    with RunCheckpoints(checkpoints, CONFIG, images=IMAGES) as opened:
        assert_equal(opened.restore(fresh, iterator), at(fresh, 4))
    assert {path.name for path in checkpoints.iterdir()} == {"3", "4"}


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_in_a_folder_of_any_name(tmp_path, fresh, iterator, name):
    check_there_and_back(folder_called(tmp_path, name), fresh, iterator)


@pytest.mark.skipif(WINDOWS, reason="links need permission there")
def test_systems_without_paths_of_open_folders(tmp_path, fresh, iterator, monkeypatch):
    monkeypatch.setattr(plain_paths, "_OPEN_FOLDERS", tmp_path / "none")
    check_there_and_back(folder_called(tmp_path, b"a[1]"), fresh, iterator)

    monkeypatch.setattr("tempfile.tempdir", str(folder_called(tmp_path, b"b[2]")))
    with pytest.raises(ValueError, match=r"characters that .*; choose a folder named with letters"):
        save(folder_called(tmp_path, b"c[3]"), fresh, iterator, {3: None})


def test_a_link_and_a_path_with_dots(tmp_path, fresh, iterator):
    folder = folder_called(tmp_path, b"real[1]")
    link = tmp_path / "link"
    try:
        link.symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    check_there_and_back(link / ".." / "link", fresh, iterator)
    assert saved_steps(folder / "checkpoints") == [3, 4]


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_a_whole_run(tmp_path, capsys):
    folder = folder_called(tmp_path, b"it[1]*?\xe9" if not WINDOWS else b"it[1]")
    config, run = write_config(tmp_path, TRAINED), str(folder / "run")
    items = ["log_every=2", "checkpoint_every=2"]
    for steps in (4, 6):
        assert main(["train", str(config), "--output", run, f"steps={steps}", *items]) == 0
    assert "going on from step 4" in capsys.readouterr().err
    for flags in ([], ["--state"]):
        target = folder / f"x{len(flags)}.safetensors"
        assert main(["convert", run, str(target), *flags]) == 0
        assert target.is_file()
    assert main(["replay", run, "--step", "5"]) == 0
    assert (folder / "run" / "replay" / "0000005" / "batch.png").is_file()
