"""A run that begins with the state of another."""

import json
import re
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from lnln_jax.cli import main
from lnln_jax.config import ModelConfig, override
from lnln_jax.training.loop import Outcome, train
from lnln_jax.weights.convert import convert_state
from lnln_jax.weights.handed_state import read_state, write_state
from lnln_jax.weights.runs import load_run
from tests.support.devices import run_on_devices
from tests.support.runs import assert_equal, restore_everything, write_config
from tests.support.states import RUN, begin, write_large_run, write_parts_of

pytestmark = pytest.mark.usefixtures("standard_promotion", "hasty_compiler_here")

# Where only machinery is tested.
TINY = replace(RUN, model=ModelConfig("edsr", 2, {"n_resblocks": 1, "n_feats": 8}))


@pytest.fixture(scope="module")
def run(tmp_path_factory, hasty_compiler_here):
    """A training of six steps with checkpoints at 3 and 6."""
    folder = tmp_path_factory.mktemp("handed") / "run"
    with jax.numpy_dtype_promotion("standard"):
        train(RUN, folder)
    return folder


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """The same of a network that compiles quickly."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    with jax.numpy_dtype_promotion("standard"):
        train(TINY, folder)
    return folder


@pytest.fixture
def handed(run, tmp_path):
    """The state after three steps, in several files."""
    return write_parts_of(run, tmp_path)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_large_run(tmp_path_factory.mktemp("large") / "run")


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit(run, handed, tmp_path):
    """From files that are gone when the new run is stopped and goes on."""
    items = [f"init_from={handed[0]}", "init_state=true"]
    config = override(RUN, [*items, "steps=4"])
    assert train(config, tmp_path / "new") == Outcome(4, stopped=False)
    for file in handed:
        file.unlink()
    train(replace(config, steps=6), tmp_path / "new")
    assert_equal(restore_everything(tmp_path / "new", 6), restore_everything(run, 6))


@pytest.mark.slow
def test_from_the_command_line(tiny_run, tmp_path, capsys):
    """A run's newest checkpoint; the training beyond its end is that of one run."""
    target, config = tmp_path / "new" / "out.safetensors", write_config(tmp_path, TINY)
    assert main(["convert", str(tiny_run), str(target), "--state", "--split"]) == 0
    assert re.fullmatch(
        rf"edsr x2 after 6 steps, ema, optimizer, variables: {target} \(0\.\d\d MB\)\n",
        capsys.readouterr().out,
    )
    assert [file.name for file in target.parent.iterdir()] == ["out.safetensors"]  # one is enough
    command = ["train", str(config), "--output", str(tmp_path / "run"), f"init_from={target}"]
    assert main([*command, "init_state=true", "steps=6"]) == 1
    assert "steps is 6, but init_from is" in capsys.readouterr().err
    assert main([*command, "init_state=true", "steps=7", "validate_every=5"]) == 0
    err = capsys.readouterr().err
    assert "going on from step 6" in err
    assert "steps was 6 and is 7, which changes no step" in err
    assert "validate_every was 1000 and is 5, which changes no step" in err
    assert "init_" not in err

    shutil.copytree(tiny_run, tmp_path / "whole")
    train(replace(TINY, steps=7), tmp_path / "whole")
    assert_equal(restore_everything(tmp_path / "run", 7), restore_everything(tmp_path / "whole", 7))


@pytest.mark.slow
def test_what_differs_is_said(handed, capsys):
    begin(RUN, handed[0], "data.batch_size=4", "steps=9", "data.dead_leaves=5")
    assert capsys.readouterr().err.splitlines() == [
        "warning: data.batch_size was 2 and is 4; the run is another one from here on",
        "warning: data.dead_leaves was 4 and is 5; the run is another one from here on",
        "steps was 6 and is 9, which changes no step",
        f"warning: the training images are not those of the run whose state {handed[0]} is",
    ]
    begin(RUN, handed[0])
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_an_average_is_left_out(run, handed, capsys):
    state, _ = begin(RUN, handed[0], "ema_decay=0")
    assert state.ema is None
    expected = restore_everything(run, 3)["variables"]
    jax.tree.map(np.testing.assert_array_equal, state.variables, expected)
    err = capsys.readouterr().err
    assert "ema_decay is 0: the moving average in the state is left out" in err


@pytest.mark.slow
def test_an_average_begins(run, handed, tmp_path, capsys):
    """With what is averaged, in memory of its own: a step takes over (donates) both."""
    plain, config = tmp_path / "plain", replace(TINY, ema_decay=0.0, steps=2)
    train(config, plain)
    config = override(config, [f"init_from={plain}", "init_state=true", "steps=3"])
    capsys.readouterr()
    train(replace(config, ema_decay=0.9), tmp_path / "averaged")
    err = capsys.readouterr().err
    assert "the state has no moving average: it starts from the parameters and statistics" in err
    # The variables are those without an average, and the average is between old and new ones.
    train(config, tmp_path / "again")
    old = load_run(plain)[1]
    new = load_run(tmp_path / "again")[1]
    averaged = restore_everything(tmp_path / "averaged", 3)
    jax.tree.map(np.testing.assert_array_equal, averaged["variables"], new)
    decay = 3 / 12  # (1 + step) / (10 + step) before the third step

    def assert_between(average, old, new):
        expected = decay * np.asarray(old, np.float64) + (1 - decay) * np.asarray(new, np.float64)
        np.testing.assert_allclose(average, expected, rtol=1e-6, atol=1e-7)

    jax.tree.map(assert_between, averaged["ema"], old, new)


@pytest.mark.slow
def test_the_state_is_cut_as_the_layout_wants(large, tmp_path):
    """Eight devices; a process of its own, since devices are made before JAX starts."""
    convert_state(large, tmp_path / "out.safetensors", split=1)
    program = f"""
import jax, numpy as np
from pathlib import Path
from lnln_jax.weights.integrity import named_arrays
from lnln_jax.config import override
from lnln_jax.training.experiment import open_experiment
from lnln_jax.weights.handed_state import read_state

for source in ({str(tmp_path / "out.safetensors")!r}, {str(large)!r}):
    handed = read_state(Path(source))
    config = override(handed.config, [
        "parallel=fsdp", "init_state=true", f"init_from={{source}}", "data.dead_leaves=1",
        "data.batch_size=8", "ema_decay=0.9",
    ])
    experiment = open_experiment(config)
    with experiment.runner:
        state = experiment.start()
    cut = 0
    for leaf, shape in zip(*map(jax.tree.leaves, (state, experiment.shapes)), strict=True):
        assert leaf.sharding == shape.sharding
        assert (leaf.dtype, leaf.shape) == (shape.dtype, shape.shape)
        cut += leaf.addressable_data(0).size * 8 == leaf.size
    tree = {{"variables": state.variables, "ema": state.ema, "optimizer": state.opt_state}}
    for name, leaf in named_arrays(tree).items():
        np.testing.assert_array_equal(leaf, handed.arrays[name.replace("ema/", "variables/")])
    print(cut)
"""
    lines = run_on_devices(program, 8, tmp_path).split()
    assert [int(line) >= 8 for line in lines] == [True, True]


@pytest.mark.slow
def test_replay_of_a_run_that_began_so(tiny_run, tmp_path, capsys):
    folder, file = tmp_path / "new", tmp_path / "out.safetensors"
    write_state(read_state(tiny_run / "checkpoints" / "3"), file)
    train(override(TINY, [f"init_from={file}", "init_state=true", "log_every=1"]), folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}
    assert sorted(losses) == [4, 5, 6]
    assert main(["replay", str(folder), "--step", "5"]) == 0
    report = json.loads((folder / "replay" / "0000005" / "report.json").read_text())
    assert report["replayed_from"] == 3
    # The same state and batch, in another program: only the last sums round differently.
    assert report["loss"] == pytest.approx(losses[5], rel=1e-6)
    capsys.readouterr()
    assert main(["replay", str(folder), "--step", "3"]) == 1
    assert "began with step 3 of another run (init_state)" in capsys.readouterr().err
    file.unlink()
    assert main(["replay", str(folder), "--step", "5"]) == 1
    assert f"there is no state {file}" in capsys.readouterr().err


@pytest.mark.slow
def test_another_network_or_optimizer_is_refused(handed, large):
    for items, message in {
        ("model.n_feats=12",): r"another network: model.options.n_feats was 8 and is 12; vari",
        ("model.scale=4",): r"another network: model.scale was 2 and is 4; only in the network: ",
        ("optimizer.name=sgd",): r"another optimizer: optimizer.name was adam and is sgd; "
        r"only in the state: optimizer/0/0/count, .* more; only in the optimizer: optimizer/0/0/tr",
        ("optimizer.clip_norm=1",): r"another optimizer: optimizer.clip_norm was 0.0 and is 1.0; ",
        ("optimizer.skip_nonfinite=3",): r"another optimizer: .*only in the optimizer: .*inner_st",
        ("steps=3",): r"steps is 3, but init_from is .* with 3 steps taken already; raise steps",
    }.items():
        with pytest.raises(ValueError, match=message):
            begin(RUN, handed[0], *items)
    with pytest.raises(ValueError, match=r"the state of another network: model\.name was edsr"):
        begin(RUN, large)
    begin(RUN, handed[0], "steps=3", "time_budget=5m")  # which sets steps
