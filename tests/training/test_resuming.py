import dataclasses

import pytest

from lnln_jax.config import TrainConfig, override
from lnln_jax.training.resuming import FREE_FIELDS, ROUNDING_FIELDS, check_changes, with_length_of

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


def test_the_length_of_a_run_is_free_where_its_rates_stay(tmp_path, capsys):
    saved = override(CONFIG, ["steps=500", "schedule_steps=1000"])
    longer = override(saved, ["steps=1000", "schedule_steps=2000"])
    assert not check_changes(saved, longer, tmp_path, allow=False)
    assert "schedule_steps was 1000 and is 2000, which changes no step" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"steps was 500 and is 501\. "):
        check_changes(saved, override(saved, ["steps=501"]), tmp_path, allow=False)


def test_a_run_keeps_the_steps_that_its_budget_came_to(tmp_path, capsys):
    asked = override(CONFIG, ["steps=1000", "time_budget=45m"])
    saved = override(asked, ["steps=500", "schedule_steps=1000"])
    assert with_length_of(saved, asked) == saved
    later = with_length_of(saved, override(asked, ["time_budget=2h"]))
    assert not check_changes(saved, later, tmp_path, allow=False)
    assert capsys.readouterr().err == "time_budget was 45m and is 2h, which changes no step\n"
    assert with_length_of(CONFIG, asked) == asked  # a run that began without one
    assert with_length_of(saved, CONFIG) == CONFIG


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
