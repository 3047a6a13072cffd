"""`lnln config` as its users call it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lnln_jax.cli import main
from lnln_jax.config import DataConfig, TrainConfig, load_config, to_dict
from lnln_jax.config.shipped import FOLDER, config_names
from tests.support.commands import fails


def test_the_list_of_configs(capsys):
    assert main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == config_names()
    assert lines[config_names().index("lnln_x2")].endswith(
        ": 2.04 M parameters; x3 and x4 from it."
    )


def test_the_fields_of_a_config(capsys):
    assert main(["config", "vdsr_x2", "model.scale=3", "data.validation=my images/Set5"]) == 0
    path, *lines = capsys.readouterr().out.splitlines()
    assert path == str(FOLDER / "vdsr_x2.py")
    assert lines[0].startswith("VDSR x2 on luma")
    assert (
        "    lnln train vdsr_x2 model.scale=3 data.lr_patch_size=14 --output runs/vdsr_x3" in lines
    )
    rows = {line.split("=")[0]: line.split() for line in lines if "=" in line.split(" ")[0]}
    assert rows["model.scale"][:2] == ["model.scale=3", "int"]
    assert rows["loss"][:3] == ["loss=l2", "l1|l2", "mean"]
    assert any(line.startswith("'data.validation=my images/Set5'  ") for line in lines)


def test_a_file_of_ones_own(config, capsys):
    assert main(["config", str(config), "--seed=3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{config}\n")
    assert "\nseed=3 " in out


def test_what_is_wrong_is_told(config, capsys):
    assert "there is no config file nothing; " in fails(capsys, "config", "nothing")
    assert "no config field 'sed'" in fails(capsys, "config", config, "sed=3")
    assert "has no '='" in fails(capsys, "config", config, "json")


@pytest.fixture
def run(tmp_path) -> Path:
    """What a run called "first" has of its configuration."""
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    config = TrainConfig(seed=3, data=DataConfig(train=("a,b", "DIV2K (1)"), weights=(1, 2)))
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    return folder


def test_a_run_is_a_config(run, capsys):
    for source in (run, run / "config.json"):
        assert load_config(source, ["steps=7"]) == replace(load_config(run), steps=7)
        assert main(["config", str(source), "steps=7"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{run / 'config.json'}\n\nmodel.name=lnln ")
        assert "\nseed=3 " in out
        assert "\nsteps=7 " in out
        assert """\n'data.train=["a,b", "DIV2K (1)"]' """ in out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"steps": "many"}', '{"data": 3}', '{"x": 1}'])
def test_other_json_is_no_config(text, run, capsys):
    (run / "config.json").write_text(text)
    error = fails(capsys, "config", run)
    assert error.startswith(f"{run / 'config.json'} is not the config.json of a training run (")


def test_a_run_from_a_run_has_a_name_of_its_own(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first_again").write_text("in the way")
    for source in ("runs/first", "runs/first/", "runs/first/config.json", run):
        assert "runs/first_again" in fails(capsys, "train", source)
    monkeypatch.chdir(run)
    (run / "runs").mkdir()
    (run / "runs" / "first_again").write_text("in the way")
    assert "runs/first_again" in fails(capsys, "train", "config.json")
