"""The state of a training run in files, and what is refused of them."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.config import from_dict, override, to_dict
from lnln_jax.training.experiment import open_experiment
from lnln_jax.training.loop import train
from lnln_jax.weights.convert import convert
from lnln_jax.weights.handed_state import read_state, write_state
from lnln_jax.weights.integrity import named_arrays
from lnln_jax.weights.runs import load_run
from lnln_jax.weights.safetensors_files import load_safetensors
from lnln_jax.weights.safetensors_parts import read_metadata, read_parts
from tests.support.runs import restore_everything
from tests.support.states import RUN, assert_same_arrays, begin, write_parts_of

pytestmark = pytest.mark.usefixtures("standard_promotion", "hasty_compiler_here")


@pytest.fixture(scope="module")
def run(tmp_path_factory, hasty_compiler_here):
    """A training of six steps with checkpoints at 3 and 6."""
    folder = tmp_path_factory.mktemp("handed") / "run"
    with jax.numpy_dtype_promotion("standard"):
        train(RUN, folder)
    return folder


@pytest.fixture
def handed(run, tmp_path):
    """The state after three steps, in several files."""
    return write_parts_of(run, tmp_path)


@pytest.mark.slow
def test_a_folder_is_as_good_as_files(run, handed):
    for source in (run / "checkpoints" / "3", handed[0], handed[0].with_name("out.safetensors")):
        state, position = begin(RUN, source)
        assert (int(state.step), position) == (3, {"next_step": 3})
        expected = restore_everything(run, 3)
        for name, tree in (
            ("variables", state.variables),
            ("ema", state.ema),
            ("optimizer", state.opt_state),
        ):
            assert_same_arrays(
                {key: np.asarray(x) for key, x in named_arrays(tree).items()},
                {key: np.asarray(x) for key, x in named_arrays(expected[name]).items()},
            )


def test_the_format(handed, run):
    """A public format: it must not change but for its number."""
    about = json.loads(read_metadata(handed[1]))
    assert about.pop("export")
    assert (about.pop("part"), about.pop("parts"), about.pop("pieces")) == (2, len(handed), {})
    convert(run, handed[0].with_name("plain.safetensors"))
    plain = json.loads(read_metadata(handed[0].with_name("plain.safetensors")))
    assert about == plain | {
        "format": 2,
        "step": 3,
        "state": {
            "next_step": 3,
            "config": json.loads(json.dumps(to_dict(load_run(run)[0]))),
            "images": read_state(run).images,
        },
    }
    names = read_parts(handed[0], lambda name: True)[1].keys()
    assert {
        "variables/params/head/kernel",
        "variables/batch_stats/body/group_1/first/norm_1/mean",
        "ema/params/head/kernel",
        "optimizer/0/0/mu/head/kernel",
        "optimizer/0/0/count",
    } <= names


@pytest.mark.slow
def test_it_is_a_network(run, handed, tmp_path):
    """The moving average, as of a run."""
    whole = write_state(read_state(run / "checkpoints" / "3"), tmp_path / "whole.safetensors")
    expected = load_model(run / "checkpoints" / "3")
    for source in (whole[0], handed[0], handed[1], tmp_path / "out.safetensors"):
        model = load_model(source, scale=2)
        assert model.name == ("whole" if source == whole[0] else "out")
        assert model.module == expected.module
        jax.tree.map(np.testing.assert_array_equal, model.variables, expected.variables)
    convert(tmp_path / "out.safetensors", tmp_path / "plain.safetensors")
    convert(run / "checkpoints" / "3", tmp_path / "other.safetensors")
    assert load_safetensors(tmp_path / "plain.safetensors").step == 3
    plain, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("plain", "other"))
    assert plain == other

    experiment = open_experiment(override(RUN, [f"init_from={tmp_path / 'out.safetensors'}"]))
    with experiment.runner:
        state = experiment.start()
    assert int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, state.variables, expected.variables)


def test_what_holds_no_state_is_refused(run, tmp_path):
    convert(run, tmp_path / "plain.safetensors")
    (tmp_path / "x.pt").write_bytes(b"")
    for source, message in {
        tmp_path / "plain.safetensors": "holds a network without the state of its training; lnln ",
        tmp_path / "x.pt": "holds a network without the state of its training; lnln convert RUN x",
        tmp_path / "none.safetensors": "there is no state .*none.safetensors; give a run's folder",
        "lnln_light_x2": "there is no state lnln_light_x2; give a run's folder, or a file of lnln",
        tmp_path: "holds no checkpoint; give the folder of a training run",
        run / "checkpoints" / "4": "there is no state",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_state(Path(source))
    with pytest.raises(ValueError, match="init_state is true, but init_from is empty; set init_fr"):
        override(RUN, ["init_state=true"])


def test_a_set_that_is_not_whole_is_refused(run, handed, tmp_path):
    name = tmp_path / "out.safetensors"
    content = [file.read_bytes() for file in handed]

    handed[1].unlink()
    for read in (read_state, load_model):
        for source in (name, handed[0], handed[1], handed[-1]):
            with pytest.raises(ValueError, match=f"of which {handed[1].name} cannot be found; put"):
                read(source)
    shutil.copy(handed[2], handed[1])
    with pytest.raises(ValueError, match=f"it is part 3 of {len(handed)}, and has another name"):
        read_state(name)

    other = tmp_path / "other" / "out.safetensors"
    assert len(write_state(read_state(run), other, part_bytes=20_000)) == len(handed)
    shutil.copy(other.with_name(handed[1].name), handed[1])
    for read in (read_state, load_model):
        with pytest.raises(ValueError, match=f"{handed[1].name} are of two exports; put the files"):
            read(name)

    handed[1].write_bytes(content[1])
    read_state(name)
    handed[1].write_bytes(content[1][:-1] + bytes([content[1][-1] ^ 1]))
    with pytest.raises(ValueError, match=r"is damaged, .*other values than were written in"):
        read_state(name)
    handed[1].write_bytes(content[1][:-100])
    with pytest.raises(ValueError, match=f"{handed[1].name} is damaged, incomplete or no"):
        read_state(name)
    handed[1].write_bytes(content[1])
    write_state(read_state(run), name, part_bytes=30_000)  # replaces the set
    assert not handed[-1].exists()
    for file, data in zip(handed, content, strict=True):
        file.write_bytes(data)
    with pytest.raises(ValueError, match=r"several sets .*; name the first file of one: out-00001"):
        read_state(name)
    assert read_state(handed[0]).step == 3


def test_a_damaged_checkpoint_is_passed_over(run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "checkpoints" / "6" / "data" / "metadata").write_text('{"next_step": 7}')
    assert read_state(folder).step == 3
    assert "6 is damaged (other values than were saved in data). Step 3 is used" in (
        capsys.readouterr().err
    )
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read: .*6 is damaged"):
        read_state(folder / "checkpoints" / "6")


def test_older_configurations_load():
    tree = to_dict(RUN)
    del tree["init_state"]
    assert from_dict(tree) == RUN
