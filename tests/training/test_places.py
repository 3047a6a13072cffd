"""Runs whose files move, or are called otherwise."""

import json
import os
import shutil
import time
from dataclasses import replace

import pytest

from lnln_jax.config import TrainConfig, override, to_dict
from lnln_jax.training.loop import Outcome, train
from lnln_jax.training.places import (
    identity_of,
    is_same,
    with_absolute_paths,
    with_paths_of,
    with_spelling_of,
)
from lnln_jax.training.replay import replay
from lnln_jax.weights.runs import saved_config
from tests.support.prepared import build
from tests.support.runs import CONFIG, save_pictures


def with_data(config: TrainConfig, **fields) -> TrainConfig:
    return replace(config, data=replace(config.data, **fields))


def test_paths_are_saved_as_absolute_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    config = with_data(TrainConfig(), train=("images", "div2k/x2"), validation="Set5")
    absolute = with_absolute_paths(config)
    assert absolute.data.train == (str(tmp_path / "images"), "div2k/x2")  # a dataset's name stays
    assert absolute.data.validation == "Set5"
    assert with_absolute_paths(absolute) == absolute


def test_words_in_place_of_paths_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("imresize", "lnln_light_x2", "images"):
        (tmp_path / name).mkdir()
    (tmp_path / "state-00001-of-00002.safetensors").touch()
    config = with_data(TrainConfig(), train=("images",), train_lr=("imresize",))
    named = with_absolute_paths(replace(config, init_from="lnln_light_x2"))
    assert (named.data.train_lr, named.init_from) == (("imresize",), "lnln_light_x2")
    parts = with_absolute_paths(replace(config, init_from="state.safetensors"))
    assert parts.init_from == str(tmp_path / "state.safetensors")


def test_a_folder_that_is_taken_for_a_dataset_is_told(tmp_path, monkeypatch, caplog):
    build(save_pictures(tmp_path / "images", 2, 120), tmp_path / "tfds", validation_every=0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    config = with_data(TrainConfig(), train=("photos",), data_dir="tfds")
    assert with_absolute_paths(config).data.train == (str(tmp_path / "photos"),)
    (record,) = caplog.records
    assert "photos is what lies in the current folder, not the dataset" in record.getMessage()


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.slow
def test_other_validation_images_in_the_same_place_are_told(tmp_path, capsys):
    folder = save_pictures(tmp_path / "validation", 1, 40)
    config = with_data(replace(CONFIG, steps=1), validation=str(folder))
    train(config, tmp_path / "run")
    shutil.rmtree(folder)
    save_pictures(folder, 2, 48)
    longer = replace(config, steps=2)
    with pytest.raises(ValueError, match=r"data\.validation was .* \(other images\) and is "):
        train(longer, tmp_path / "run")
    assert train(longer, tmp_path / "run", allow_config_change=True) == Outcome(2, stopped=False)


def test_relative_paths_of_older_runs(tmp_path, monkeypatch):
    images = tmp_path / "project" / "images"
    images.mkdir(parents=True)
    config = with_data(TrainConfig(), train=("images",), validation="gone")
    run = tmp_path / "project" / "runs" / "1"
    monkeypatch.chdir(tmp_path)
    found = with_paths_of(config, run)
    assert (found.data.train, found.data.validation) == ((str(images),), "gone")
    assert with_paths_of(config, tmp_path / "elsewhere") == config


def test_the_name_of_a_dataset_is_not_a_folder_that_lies_by(tmp_path, monkeypatch):
    """Configurations of all ages have the names of datasets as they are."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    images = save_pictures(tmp_path / "images", 2, 120)
    build(images, project / "tfds", validation_every=0)
    (project / "photos").mkdir()
    config = with_data(override(TrainConfig(), ["model.scale=2"]), train=("photos",))
    monkeypatch.chdir(elsewhere)
    found = with_paths_of(with_data(config, data_dir="tfds"), project / "run")
    assert found.data.train == ("photos",)
    assert found.data.data_dir == str(project / "tfds")
    assert with_paths_of(config, project / "run").data.train == (str(project / "photos"),)


def test_when_two_paths_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    assert is_same("", "")
    assert is_same("folder", str(tmp_path / "other" / ".." / "folder"))
    assert is_same("a", str(tmp_path / "b"))  # one content
    assert is_same("/gone/weights", str(tmp_path / "folder" / ".." / "folder")) is False
    assert is_same("/gone/folder", str(tmp_path / "folder"))
    assert not is_same("a", "c")
    assert not is_same("folder", "other")
    assert not is_same("", "folder")
    assert not is_same("a", "gone")


def test_what_differs_keeps_its_spelling(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    saved = with_data(TrainConfig(init_from=two), train=(f"{one}/../one", two))
    config = with_data(TrainConfig(init_from=one), train=(one, one))
    spelled = with_spelling_of(config, saved)
    assert (spelled.data.train, spelled.init_from) == ((one, two), two)
    shorter = with_data(config, train=(one,))
    assert with_spelling_of(shorter, saved).data.train == saved.data.train


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_a_run_goes_on_wherever_its_files_are(tmp_path, monkeypatch, capsys):
    project = tmp_path / "project"
    for name, size in (("images", 48), ("validation", 40), ("others", 44)):
        save_pictures(project / name, 2, size)
    monkeypatch.chdir(project)
    items = ["log_every=2", "checkpoint_every=2", "validate_every=100", "data.dead_leaves=0"]
    config = with_data(override(CONFIG, items), train=("images",), validation="validation")
    run = project / "run"

    def goes_on_to(steps: int, config: TrainConfig, run=run) -> str:
        assert train(replace(config, steps=steps), run) == Outcome(steps, stopped=False)
        return capsys.readouterr().err

    goes_on_to(2, config)
    absolute = with_data(
        config, train=(str(project / "images"),), validation=f"{project}/run/../validation"
    )
    assert "data." not in goes_on_to(4, absolute)
    for file in (project / "images").iterdir():
        os.utime(file, (time.time() + 60,) * 2)
    assert "data." not in goes_on_to(6, config)

    moved = tmp_path / "moved[1]"
    shutil.copytree(project, moved)
    for name, new in (("images", "pictures"), ("validation", "measured")):
        (moved / name).rename(moved / new)
        (project / name).rename(project / f"no {name}")
    renamed = with_data(
        config, train=(str(moved / "pictures"),), validation=str(moved / "measured")
    )
    said = goes_on_to(8, renamed, moved / "run")
    assert f"and is ('{moved / 'pictures'}',), where the same images must be" in said
    monkeypatch.chdir(tmp_path)
    assert "step 7, replayed from step 6" in replay(moved / "run", 7)

    with pytest.raises(ValueError, match="the training images are not those that the run in"):
        goes_on_to(10, with_data(renamed, train=(str(moved / "others"),)), moved / "run")
    with pytest.raises(ValueError, match=r"data\.validation was .*measured and is .*others\. "):
        goes_on_to(10, with_data(renamed, validation=str(moved / "others")), moved / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_an_older_run_with_relative_paths_is_replayed_from_elsewhere(tmp_path, monkeypatch):
    save_pictures(tmp_path / "images", 2, 48)
    items = ["steps=3", "checkpoint_every=2", "data.dead_leaves=0", "validate_every=100"]
    config = with_data(override(CONFIG, items), train=(str(tmp_path / "images"),))
    run = tmp_path / "runs" / "1"
    train(config, run)
    assert saved_config(run / "checkpoints").data.train == (str(tmp_path / "images"),)
    older = to_dict(config)
    older["data"]["train"] = ["images"]
    (run / "config.json").write_text(json.dumps(older))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "step 3, replayed from step 2" in replay(run, 3)


def test_no_validation_has_no_identity():
    assert identity_of(None) == ""
