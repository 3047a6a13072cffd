import dataclasses
import json
import logging
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.config import DataConfig, ModelConfig, TrainConfig, build_module
from lnln_jax.data import dead_leaves_pairs, make_train_iterator
from lnln_jax.models.variables import initialize
from lnln_jax.training.checkpoints import RunCheckpoints
from lnln_jax.training.optimizer import make_optimizer
from lnln_jax.training.state import TrainState, create_state
from lnln_jax.weights.runs import load_run, saved_config, saved_steps

CONFIG = TrainConfig(
    model=ModelConfig(
        "lnln", 2, {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4}
    ),
    data=DataConfig(dead_leaves=1, dead_leaves_size=16, lr_patch_size=8, batch_size=2),
    ema_decay=0.9,
    keep_checkpoints=2,
)
MODULE = build_module(CONFIG)
SOURCE = dead_leaves_pairs(1, size=16, scale=2, seed=0)
IMAGES = [SOURCE.identity]


@pytest.fixture(scope="module")
def fresh() -> TrainState:
    variables = initialize(MODULE, 0)
    return create_state(variables, make_optimizer(CONFIG.optimizer), ema=True)


@pytest.fixture
def iterator():
    iterator = make_train_iterator([SOURCE], lr_patch_size=8, batch_size=2, seed=0)
    yield iterator
    iterator.close()


def at(state: TrainState, step: int) -> TrainState:
    """A state in which every array tells its step, and the average from what is averaged."""

    def marked(tree, offset):
        return jax.tree.map(lambda x: x + jnp.asarray(offset, x.dtype), tree)

    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        variables=marked(state.variables, step),
        opt_state=marked(state.opt_state, step),
        ema=None if state.ema is None else marked(state.ema, -step),
    )


def save(folder: Path, state: TrainState, iterator, scores: dict[int, float | None]) -> None:
    """Writes a checkpoint for each step, with its validation score if it has one."""
    config = CONFIG if state.ema is not None else dataclasses.replace(CONFIG, ema_decay=0.0)
    with RunCheckpoints(folder / "checkpoints", config, images=IMAGES) as checkpoints:
        for step, psnr_y in scores.items():
            metrics = {} if psnr_y is None else {"psnr_y": psnr_y, "ssim_y": 0.9}
            checkpoints.save(at(state, step), iterator, metrics)


def assert_equal(actual, expected) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# ---- there and back ----


def test_everything_comes_back(tmp_path, fresh, iterator):
    for _ in range(3):
        next(iterator)
    state = at(fresh, 3)
    save(tmp_path, fresh, iterator, {3: 30.0})
    expected = [next(iterator) for _ in range(2)]

    assert saved_config(tmp_path / "checkpoints") == CONFIG
    assert saved_config(tmp_path) is None
    items = {path.name for path in (tmp_path / "checkpoints" / "3").iterdir() if path.is_dir()}
    assert items == {
        *("variables", "ema", "optimizer", "checksums"),
        *("data", "config", "images", "metrics"),
    }
    again = make_train_iterator([SOURCE], lr_patch_size=8, batch_size=2, seed=0)
    with RunCheckpoints(tmp_path / "checkpoints", CONFIG, images=IMAGES) as checkpoints:
        assert saved_steps(tmp_path / "checkpoints") == [3]
        restored = checkpoints.restore(fresh, again)
    assert_equal(restored, state)  # the structure too: Optax's named tuples, not plain ones
    for batch in expected:
        jax.tree.map(np.testing.assert_array_equal, next(again), batch)
    again.close()


def test_other_images_are_refused(tmp_path, fresh, iterator):
    save(tmp_path, fresh, iterator, {3: None})
    other = [dead_leaves_pairs(1, size=16, scale=2, seed=1).identity]
    with (
        RunCheckpoints(tmp_path / "checkpoints", CONFIG, images=other) as checkpoints,
        pytest.raises(ValueError, match="the training images are not those that the run in"),
    ):
        checkpoints.restore(fresh, iterator)


def test_the_average_is_what_is_loaded(tmp_path, fresh, iterator):
    save(tmp_path / "ema", fresh, iterator, {3: None})
    config, variables, step = load_run(tmp_path / "ema")
    assert (config, step) == (CONFIG, 3)
    assert_equal(variables, at(fresh, 3).ema)

    save(tmp_path / "plain", fresh.replace(ema=None), iterator, {3: None})
    assert not (tmp_path / "plain" / "checkpoints" / "3" / "ema").exists()
    assert_equal(load_run(tmp_path / "plain")[1], at(fresh, 3).variables)

    model = load_model(tmp_path / "ema")
    assert (model.name, model.scale, model.module) == ("ema", 2, MODULE)
    assert_equal(model.variables, at(fresh, 3).ema)
    with pytest.raises(ValueError, match="ema upscales x2, not x4"):
        load_model(tmp_path / "ema", scale=4)


# ---- which checkpoints ----


def test_the_latest_and_the_best_are_kept(tmp_path, fresh, iterator):
    state, folder = fresh.replace(ema=None), tmp_path / "checkpoints"
    save(tmp_path, state, iterator, {1: 28.0, 2: 30.0, 3: None, 4: 29.0, 5: None, 6: None})
    assert saved_steps(folder) == [2, 5, 6]
    save(tmp_path, state, iterator, {7: 29.5})  # as a resumed run does, which has to read scores
    assert saved_steps(folder) == [2, 6, 7]
    assert load_run(tmp_path)[2] == 2
    save(tmp_path, state, iterator, {8: 31.0, 9: None, 10: None})
    assert saved_steps(folder) == [8, 9, 10]
    assert load_run(tmp_path)[2] == 8


def test_any_folder_of_a_run_will_do(tmp_path, fresh, iterator):
    save(tmp_path / "2024", fresh, iterator, {8: None, 16: None})  # a run may have such a name
    folder = tmp_path / "2024" / "checkpoints"
    for path, step in [(folder.parent, 16), (folder, 16), (folder / "8", 8)]:
        _, variables, found = load_run(path)
        assert found == step
        assert_equal(variables, at(fresh, step).ema)


def test_no_checkpoint_is_a_clear_error(tmp_path, fresh, iterator):
    save(tmp_path / "run", fresh, iterator, {8: None})
    empty = tmp_path / "1234"
    (empty / "checkpoints").mkdir(parents=True)
    missing = tmp_path / "run" / "checkpoints" / "9"
    for path in (tmp_path, tmp_path / "none", empty, empty / "checkpoints", missing):
        with pytest.raises(ValueError, match=rf"{path} holds no checkpoint; give the folder of"):
            load_run(path)


# ---- faults ----


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


# Orbax leaves coroutines of arrays that it no longer waits for.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
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
    """Orbax returns it as another weight. (Small arrays lie in nodes that have checksums.)"""
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
    for place in range(1000, len(data), len(data) // 5):
        largest.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(ValueError, match=r"checkpoints/4 is damaged \(other values than were"):
            load_run(tmp_path)
    largest.write_bytes(data)
    assert_equal(load_run(tmp_path)[1], at(state, 4).variables)


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
