"""A training run in which something goes wrong."""

import jax
import numpy as np
import pytest

from lnln_jax.cli import main
from lnln_jax.config import (
    override,
)
from lnln_jax.training.divergence import NonFiniteLossError
from lnln_jax.training.loop import train
from lnln_jax.weights.runs import load_run, saved_steps
from tests.support.runs import (
    CONFIG,
    read_metrics,
    save_pictures,
    write_config,
)

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.mark.usefixtures("hasty_compiler")
@pytest.mark.slow
def test_a_diverging_run_stops_with_advice(tmp_path):
    items = ["model.n_resblocks=1", "optimizer.learning_rate=2e9"]
    items += ["steps=20", "log_every=7", "checkpoint_every=1"]
    with pytest.raises(
        NonFiniteLossError,
        match=r"step 2: the loss is nan .*optimizer\.learning_rate.*init_from=.*run$",
    ):
        train(override(CONFIG, items), tmp_path / "run")
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [1]
    _, variables, step = load_run(tmp_path / "run")
    assert step == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))

    # Validation may find it first; and there may be no checkpoint to point to.
    validation = save_pictures(tmp_path / "validation", 1, 40)
    items += [f"data.validation={validation}", "validate_every=1"]
    with pytest.raises(NonFiniteLossError, match=r"step 1: 0: the network .*another folder$"):
        train(override(CONFIG, items), tmp_path / "validated")
    assert not saved_steps(tmp_path / "validated" / "checkpoints")


@pytest.mark.slow
def test_damaged_images_stop_the_run_before_it_begins(tmp_path, capsys):
    images = save_pictures(tmp_path / "images", 2, 48)
    (images / "broken.png").write_bytes((images / "0.png").read_bytes()[:300])
    config = write_config(tmp_path, override(CONFIG, ["data.dead_leaves=0", "steps=1"]))
    command = ["train", str(config), "--output", str(tmp_path / "run")]

    assert main([*command, f"data.train={images}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"lnln: error: 1 of the 3 images in {images} cannot be used:\n")
    assert "broken.png: " in error
    assert 'data.on_bad_image="skip"' in error
    assert not (tmp_path / "run").exists()

    validated = [f"data.validation={images}", "data.dead_leaves=1"]
    assert main([*command, *validated]) == 1
    assert "broken.png: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

    assert main([*command, "data.on_bad_image=skip", f"data.train={images}"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"trained 1 steps; the run is in {tmp_path / 'run'}\n"
    assert saved_steps(tmp_path / "run" / "checkpoints") == [1]


def test_no_images_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"data\.train names nothing and data\.dead_leaves is"):
        train(override(CONFIG, ["data.dead_leaves=0"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
