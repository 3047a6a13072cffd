"""The files of a handed-on state: sizes, metadata, and that all of them appear, or none."""

import jax
import ml_dtypes
import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.cli import main
from lnln_jax.runtime.files import write_files
from lnln_jax.weights.convert import convert_state
from lnln_jax.weights.handed_state import read_state, write_state
from lnln_jax.weights.runs import load_run
from lnln_jax.weights.safetensors_files import load_safetensors
from lnln_jax.weights.safetensors_parts import read_parts, write_parts
from tests.support.states import assert_same_arrays, edit_metadata, write_large_run

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_large_run(tmp_path_factory.mktemp("large") / "run")


def test_small_files(large, tmp_path, capsys):
    target, state = tmp_path / "out.safetensors", read_state(large)
    assert main(["convert", str(large), str(target), "--state", "--split", "1"]) == 0
    files = sorted(tmp_path.iterdir())
    sizes = [file.stat().st_size for file in files]
    assert max(sizes) <= 2**20
    assert max(array.nbytes for array in state.arrays.values()) > 2**20  # so one was cut
    assert len(files) <= sum(array.nbytes for array in state.arrays.values()) / 2**20 * 1.5
    assert f"and {len(files) - 1} more" in capsys.readouterr().out
    again = read_state(files[-1])
    assert_same_arrays(again.arrays, state.arrays)
    assert (again.config, again.step) == (state.config, 5)
    assert (again.next_step, again.images) == (state.next_step, state.images)

    # Several files become one, and the same state the same bytes.
    convert_state(target, tmp_path / "one.safetensors")
    convert_state(large, tmp_path / "two.safetensors")
    one, two = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("part_bytes", [None, 5_000])
def test_arrays_of_every_dtype_keep_every_bit(part_bytes, tmp_path):
    rng = np.random.default_rng(0)
    dtypes = ["float32", "float64", "float16", ml_dtypes.bfloat16, "int32", "int64", "uint8"]
    arrays = {
        np.dtype(dtype).name: np.frombuffer(rng.bytes(3000 * np.dtype(dtype).itemsize), dtype)
        for dtype in dtypes
    }  # NaN of every kind among them
    arrays |= {name + "_cube": array.reshape(10, 3, 100) for name, array in arrays.items()}
    arrays |= {
        "flag": np.array(True),
        "flags": rng.integers(0, 2, 9000).astype(bool),
        "count": np.array(-7, np.int32),
        "zero": np.array(-0.0, np.float32),
        "none": np.zeros((0, 3), np.float32),
        "turned": rng.normal(size=(30, 40)).astype(np.float32).T,
    }
    files = write_parts(tmp_path / "x.safetensors", arrays, {"a": 1.5}, part_bytes=part_bytes)
    assert (len(files) == 1) == (part_bytes is None)
    assert max(file.stat().st_size for file in files) <= (part_bytes or 10**9)
    about, again = read_parts(files[0], lambda name: True)
    assert about == {"a": 1.5}
    assert_same_arrays(again, arrays)
    assert read_parts(files[0], lambda name: name == "count")[1].keys() == {"count"}


def test_without_an_average_it_is_the_variables(large, tmp_path):
    convert_state(large, tmp_path / "x.safetensors")
    weights = load_safetensors(tmp_path / "x.safetensors", scale=2)
    assert (weights.step, weights.training) == (5, None)
    jax.tree.map(np.testing.assert_array_equal, weights.variables, load_run(large)[1])
    with pytest.raises(ValueError, match="upscales x2, not x3"):
        load_model(tmp_path / "x.safetensors", scale=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 4}, "other values than were written in the metadata"),
        ({"step": "many"}, "metadata that this version of lnln_jax cannot read"),
        ({"format": 3}, "format 3, written by lnln_jax"),
        ({"state": None}, "other values than were written in the metadata"),
        ({"part": 2}, "it is part 2 of 1"),
        ({"pieces": {"optimizer/0/0/count": {"shape": [1], "start": 1}}}, "count is not whole"),
        ({"pieces": {"optimizer/0/0/count": {"shape": [9], "start": 0}}}, "count is not whole"),
        ({"pieces": []}, ""),
        ({"more": "x" * 50_000}, "characters long"),
    ],
)
def test_damaged_metadata_is_refused(change, message, large, tmp_path):
    path = tmp_path / "x.safetensors"
    write_state(read_state(large), path)
    edit_metadata(path)
    read_state(path)
    edit_metadata(path, **change)
    if change == {"pieces": []}:
        read_state(path)  # says the same
        return
    with pytest.raises(ValueError, match=message):
        read_state(path)


def test_what_is_there_is_kept(large, tmp_path, capsys):
    target = tmp_path / "x.safetensors"
    command = ["convert", str(large), str(target), "--state"]
    assert main([*command, "--split", "1"]) == 0
    files = sorted(tmp_path.iterdir())
    content = [file.read_bytes() for file in files]
    for options in ([], ["--split", "2"]):
        assert main([*command, *options]) == 1
        assert f"target is {files[0]}, which exists; name another" in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == content
    with pytest.raises(ValueError, match=f"source and target are the same, {target}; name"):
        convert_state(files[0], target, overwrite=True)

    assert main([*command, "--split", "2", "--overwrite"]) == 0
    assert not set(files) & set(tmp_path.iterdir())
    assert_same_arrays(read_state(target).arrays, read_state(large).arrays)
    assert main([*command, "--overwrite"]) == 0
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    old = [tmp_path / "a", tmp_path / "c"]
    for file in old:
        file.write_bytes(b"old")
    folder = tmp_path / "b"
    folder.mkdir()
    new = [(tmp_path / name, b"new") for name in "abc"]  # no file takes the place of a folder
    with pytest.raises(OSError, match="directory"):
        write_files(new, instead_of=old)
    assert sorted(tmp_path.iterdir()) == [tmp_path / name for name in "abc"]
    assert [file.read_bytes() for file in old] == [b"old", b"old"]

    def contents():
        yield new[0]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_files(contents(), instead_of=old)
    assert sorted(tmp_path.iterdir()) == [tmp_path / name for name in "abc"]
    assert [file.read_bytes() for file in old] == [b"old", b"old"]
    folder.rmdir()
    write_files(new[:2], instead_of=old)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a", tmp_path / "b"]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_other_arguments_are_refused(large, tmp_path, capsys):
    target = str(tmp_path / "x.safetensors")
    for arguments, message in [
        ([str(tmp_path / "x.pt"), "--state"], "a state is written to .safetensors, so name it so"),
        ([target, "--split"], "--split cuts the state of a training run; add --state"),
        ([target, "--state", "--scale", "2"], "scale is for PyTorch files, not for --state"),
        ([str(tmp_path / "x-00001-of-00002.safetensors"), "--state"], "leave out its number, as "),
        ([str(large / "x" / "y"), "--state"], "name it so"),
        (
            [str(large / "checkpoints" / "5" / "config" / "metadata" / "x.safetensors"), "--state"],
            "which cannot be written (Not a directory)",
        ),
    ]:
        assert main(["convert", str(large), *arguments]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="split is 0; it must be a whole number of at least 1"):
        convert_state(large, target, split=0)
    assert list(tmp_path.iterdir()) == []
