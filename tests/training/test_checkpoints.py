"""Checkpoints of a run, there and back."""

import jax
import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.data import dead_leaves_pairs, make_train_iterator
from lnln_jax.training.checkpoints import RunCheckpoints
from lnln_jax.weights.runs import load_run, saved_config, saved_steps
from tests.support.checkpoints import CONFIG, IMAGES, MODULE, SOURCE, assert_equal, at, save

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
