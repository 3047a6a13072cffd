"""Checkpoints that are damaged, or do not fit."""

import dataclasses
import gc
import json
import logging
import os
import re
import shutil

import jax
import pytest

from lnln_jax.config import ModelConfig, build_module
from lnln_jax.models.variables import initialize
from lnln_jax.training.checkpoints import RunCheckpoints
from lnln_jax.training.optimizer import make_optimizer
from lnln_jax.training.state import create_state
from lnln_jax.weights.runs import load_run, saved_config, saved_steps
from tests.support.checkpoints import CONFIG, IMAGES, assert_equal, at, save
from tests.support.permissions import public_folder, unprivileged

# Orbax leaves coroutines of arrays that it no longer waits for, which complain when they end.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True, scope="module")
def coroutines_end_here():
    yield
    gc.collect()


def test_what_an_interrupted_save_left_is_ignored_and_cleaned(tmp_path, fresh, iterator):
    save(tmp_path, fresh, iterator, {4: None})
    folder = tmp_path / "checkpoints"
    remains = folder / "8.orbax-checkpoint-tmp"
    shutil.copytree(folder / "4", remains)
    shutil.rmtree(remains / "variables")
    assert load_run(tmp_path)[2] == 4
    assert remains.exists()  # reading changes nothing
    with RunCheckpoints(folder, CONFIG, images=IMAGES) as checkpoints:
        assert saved_steps(folder) == [4]
        checkpoints.save(at(fresh, 8), iterator, {})
    assert saved_steps(folder) == [4, 8]
    assert not remains.exists()


def remove_an_item(checkpoint):
    for item in ("ema", "optimizer"):
        shutil.rmtree(checkpoint / item)


def garble_the_configuration(checkpoint):
    (checkpoint / "config" / "metadata").write_text("{")


def cut_arrays(checkpoint):
    for item in ("ema", "variables"):
        for file in (checkpoint / item).rglob("d/*"):
            file.write_bytes(file.read_bytes()[:-20])


def change_checksums(checkpoint):
    """As if bits of the arrays had changed in a way that no reader notices."""
    path = checkpoint / "checksums" / "metadata"
    sums = json.loads(path.read_text())
    for item in sums.values():
        item[min(item)] ^= 1
    path.write_text(json.dumps(sums))


def move_the_data(checkpoint):
    """As if the position of the data stream were another, which is as good a number."""
    path = checkpoint / "data" / "metadata"
    path.write_text(json.dumps({"next_step": json.loads(path.read_text())["next_step"] + 4}))


def garble_the_metrics(checkpoint):
    (checkpoint / "metrics" / "metrics").write_text("{")


def lose_the_configuration(checkpoint):
    shutil.rmtree(checkpoint / "config")


DAMAGES = [remove_an_item, garble_the_configuration, cut_arrays, change_checksums]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path, fresh, iterator, capsys, damage
):
    save(tmp_path, fresh, iterator, {4: None, 8: None})
    folder = tmp_path / "checkpoints"
    damage(folder / "8")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    message = rf"the checkpoint {folder / '8'} is damaged \(.*\)"

    assert saved_config(folder) == CONFIG
    assert load_run(tmp_path)[2] == 4
    assert re.search(rf"warning: {message}\. Step 4 is used\n", capsys.readouterr().err)
    with pytest.raises(ValueError, match=message):
        load_run(folder / "8")  # which asks for it by name
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    with RunCheckpoints(folder, CONFIG, images=IMAGES) as checkpoints:
        assert_equal(checkpoints.restore(fresh, iterator), at(fresh, 4))
        said = capsys.readouterr().err
        assert re.search(rf"{message}\. It has been moved to .*, .* from step 4\n", said)
        checkpoints.save(at(fresh, 8), iterator, {})
    assert saved_steps(folder) == [4, 8]
    assert [path.name for path in (tmp_path / "damaged_checkpoints").iterdir()] == ["8"]
    assert load_run(tmp_path)[2] == 8


@pytest.mark.parametrize("step", [4, 8])
def test_damaged_scores(tmp_path, fresh, iterator, capsys, step):
    """Orbax reads those of all steps at once."""
    save(tmp_path, fresh, iterator, {4: 30.0, 8: 29.0})
    folder = tmp_path / "checkpoints"
    (folder / str(step) / "metrics" / "metrics").write_text("")
    assert saved_config(folder) == CONFIG
    assert load_run(tmp_path)[2] == 12 - step
    said = capsys.readouterr().err
    assert said == f"warning: the metrics of {folder / str(step)} are damaged\n"
    assert saved_steps(folder) == [4, 8]
    with RunCheckpoints(folder, CONFIG, images=IMAGES) as checkpoints:
        assert saved_steps(folder) == [12 - step]
        assert_equal(checkpoints.restore(fresh, iterator), at(fresh, 12 - step))
    assert f"{folder / str(step)} are damaged; it has been moved to" in capsys.readouterr().err
    assert (tmp_path / "damaged_checkpoints" / str(step)).is_dir()


@pytest.mark.parametrize("damage", [move_the_data, garble_the_metrics, lose_the_configuration])
def test_a_run_goes_on_before_damage_that_arrays_do_not_show(
    tmp_path, fresh, iterator, capsys, damage
):
    save(tmp_path, fresh, iterator, {4: None, 8: None})
    folder = tmp_path / "checkpoints"
    damage(folder / "8")
    with RunCheckpoints(folder, CONFIG, images=IMAGES) as checkpoints:
        assert_equal(checkpoints.restore(fresh, iterator), at(fresh, 4))
    assert re.search(r"warning: .*checkpoints/8 .* damaged", capsys.readouterr().err)
    assert saved_steps(folder) == [4]
    assert (tmp_path / "damaged_checkpoints" / "8").is_dir()


def test_a_changed_bit_of_an_array_is_noticed(tmp_path, iterator):
    """Orbax returns it as another weight, or cannot unpack the array.

    (Small arrays lie in nodes that have checksums.)
    """
    model = ModelConfig("edsr", 2, {"n_resblocks": 1, "n_feats": 48, "res_scale": 1.0})
    config = dataclasses.replace(CONFIG, model=model, ema_decay=0.0)
    variables = initialize(build_module(config), 0)
    state = create_state(variables, make_optimizer(config.optimizer), ema=False)
    with RunCheckpoints(tmp_path / "checkpoints", config, images=IMAGES) as checkpoints:
        checkpoints.save(at(state, 4), iterator, {})
    item = tmp_path / "checkpoints" / "4" / "variables"
    largest = max((file for file in item.rglob("d/*")), key=lambda file: file.stat().st_size)
    data = largest.read_bytes()
    assert len(data) > 100_000
    begin = b"\x28\xb5\x2f\xfd"  # of a compressed array
    damaged = [data.replace(begin, b"\0" + begin[1:])]
    for place in range(1000, len(data), len(data) // 5):
        damaged.append(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
    reasons = []
    for changed in damaged:
        largest.write_bytes(changed)
        with pytest.raises(ValueError, match=r"checkpoints/4 is damaged \(") as caught:
            load_run(tmp_path)
        reasons.append(str(caught.value))
    assert any("other values than were saved" in reason for reason in reasons[1:])
    assert "other values" not in reasons[0]
    largest.write_bytes(data)
    assert_equal(load_run(tmp_path)[1], at(state, 4).variables)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="of Unix")
def test_arrays_that_this_user_may_not_read_are_not_damaged(fresh, iterator):
    with public_folder() as folder:
        save(folder, fresh, iterator, {4: None, 8: None})
        checkpoint = folder / "checkpoints" / "8"
        for path in folder.rglob("*"):
            path.chmod(0o777)
        for file in checkpoint.rglob("d/*"):
            file.chmod(0)
        with (
            unprivileged(),
            pytest.raises(PermissionError, match=rf"Permission denied: '{checkpoint}'"),
        ):
            load_run(folder)
        with (
            unprivileged(),
            pytest.raises(PermissionError, match=rf"Permission denied: '{checkpoint}'"),
            RunCheckpoints(folder / "checkpoints", CONFIG, images=IMAGES) as checkpoints,
        ):
            checkpoints.restore(fresh, iterator)
        assert saved_steps(folder / "checkpoints") == [4, 8]


def test_where_all_are_damaged_nothing_is_moved(tmp_path, fresh, iterator):
    save(tmp_path, fresh, iterator, {4: None, 8: None})
    for step in (4, 8):
        remove_an_item(tmp_path / "checkpoints" / str(step))
    with (
        pytest.raises(ValueError, match=r"can be read: .*checkpoints/8 .*checkpoints/4 is damaged"),
        RunCheckpoints(tmp_path / "checkpoints", CONFIG, images=IMAGES) as checkpoints,
    ):
        checkpoints.restore(fresh, iterator)
    assert saved_steps(tmp_path / "checkpoints") == [4, 8]
    assert not (tmp_path / "damaged_checkpoints").exists()


def test_checkpoints_without_checksums_are_read(tmp_path, fresh, iterator):
    save(tmp_path, fresh, iterator, {4: None})
    shutil.rmtree(tmp_path / "checkpoints" / "4" / "checksums")
    assert load_run(tmp_path)[2] == 4


@pytest.mark.slow
def test_another_network_is_named_parameter_by_parameter(tmp_path, fresh, iterator):
    save(tmp_path, fresh, iterator, {4: None, 8: None})
    folder = tmp_path / "checkpoints"
    model = ModelConfig(
        "lnln", 2, {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 12, "reduction": 4}
    )
    other = dataclasses.replace(CONFIG, model=model)
    state = create_state(
        initialize(build_module(other), 0), make_optimizer(CONFIG.optimizer), ema=True
    )
    message = (
        r"checkpoints/8 is of another network: batch_stats/body/group_1/first/norm_1/mean is 8 in "
        r"the checkpoint and 12 in the network; .* and \d+ more; only in the network: "
        r"batch_stats/body/group_2/first/norm_1/mean, .*\. Train in another folder"
    )
    with (
        pytest.raises(ValueError, match=message),
        RunCheckpoints(folder, other, images=IMAGES) as checkpoints,
    ):
        checkpoints.restore(state, iterator)
    assert saved_steps(folder) == [4, 8]  # it is no damage
    for step in (4, 8):
        shutil.rmtree(folder / str(step) / "checksums")  # or it would be damage
        config = folder / str(step) / "config" / "metadata"
        config.write_text(config.read_text().replace('"n_feats": 8', '"n_feats": 12'))
    with pytest.raises(
        ValueError, match=r"is of another network: .* is 8 in the checkpoint and 12"
    ):
        load_run(tmp_path)


def test_a_network_trained_on_another_device_is_loaded(tmp_path, fresh, iterator):
    save(tmp_path, fresh, iterator, {4: None})
    sharding = tmp_path / "checkpoints" / "4" / "ema" / "_sharding"
    assert "cpu:0" in sharding.read_text()
    sharding.write_text(sharding.read_text().replace("cpu:0", "cuda:3"))
    _, variables, _ = load_run(tmp_path)
    assert_equal(variables, at(fresh, 4).ema)
    assert jax.tree.leaves(variables)[0].devices() == {jax.devices()[0]}


def test_reading_is_silent_and_changes_no_file(tmp_path, fresh, iterator, capfd, caplog):
    save(tmp_path, fresh, iterator, {4: None, 8: 30.0})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capfd.readouterr()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_run(tmp_path)
    assert not caplog.records
    assert "".join(capfd.readouterr()) == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
