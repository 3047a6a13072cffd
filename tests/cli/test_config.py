"""`lnln config` as its users call it."""

from lnln_jax.cli import main
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
