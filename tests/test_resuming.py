import dataclasses

import pytest

from lnln_jax.config import TrainConfig, override
from lnln_jax.resuming import FREE_FIELDS, ROUNDING_FIELDS, check_changes

CONFIG = TrainConfig()


def test_fields_exist():
    names = {field.name for field in dataclasses.fields(CONFIG)}
    names |= {f"data.{field.name}" for field in dataclasses.fields(CONFIG.data)}
    assert names >= FREE_FIELDS | ROUNDING_FIELDS


def test_the_same_is_silent(tmp_path, capsys):
    check_changes(CONFIG, CONFIG, tmp_path, allow=False)
    assert capsys.readouterr().err == ""


def test_every_change_is_told(tmp_path, capsys):
    changed = override(CONFIG, ["steps=7", "parallel=fsdp"])
    check_changes(CONFIG, changed, tmp_path, allow=False)
    assert capsys.readouterr().err.splitlines() == [
        "parallel was auto and is fsdp, which changes steps in rounding alone",
        "steps was 1000000 and is 7, which changes no step",
    ]


def test_another_run_must_be_asked_for(tmp_path, capsys):
    changed = override(CONFIG, ["steps=7", "seed=3"])
    with pytest.raises(ValueError, match=r"seed was 0 and is 3\. .*\(--allow-config-change\)$"):
        check_changes(CONFIG, changed, tmp_path, allow=False)
    assert capsys.readouterr().err == ""
    check_changes(CONFIG, changed, tmp_path, allow=True)
    assert "warning: seed was 0 and is 3; the run is another one" in capsys.readouterr().err


@pytest.mark.parametrize("item", ["batch_norm=local", "accumulate=2"])
def test_devices_count_where_statistics_are_those_of_parts(tmp_path, capsys, item):
    saved = override(CONFIG, ["devices=8"])
    check_changes(saved, override(saved, ["devices=4"]), tmp_path, allow=False)
    assert "devices was 8 and is 4, which changes steps in rounding" in capsys.readouterr().err
    saved = override(saved, [item])
    with pytest.raises(ValueError, match=r"devices was 8 and is 4\. "):
        check_changes(saved, override(saved, ["devices=4"]), tmp_path, allow=False)
