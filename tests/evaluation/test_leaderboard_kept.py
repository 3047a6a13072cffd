"""What leaderboards keep, so that the same call goes on where it stopped."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from lnln_jax.evaluation.kept import Kept
from lnln_jax.evaluation.leaderboard import KEPT, compare
from tests.support.leaderboards import make_set, network

pytestmark = pytest.mark.usefixtures("hasty_compiler_here")


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sets")
    return [make_set(folder / "Set5"), make_set(folder / "other", seed=1)]


def written(output: Path) -> dict[str, int]:
    """What is kept, with the time of each."""
    return {path.name: path.stat().st_mtime_ns for path in (output / KEPT).iterdir()}


def test_a_second_call_measures_nothing(sets, tmp_path):
    path, output = network(tmp_path / "net.safetensors"), tmp_path / "out"
    sources = [str(path), "bicubic"]
    first = compare(sources, sets, output=output)
    kept = written(output)
    assert len(kept) == 2 * (1 + 2)  # of each model itself, and on each set
    assert compare(sources, sets, output=output) == first
    assert written(output) == kept


def test_only_what_is_missing_is_measured(sets, tmp_path):
    path, output = network(tmp_path / "net.safetensors"), tmp_path / "out"
    first = compare([str(path)], sets[:1], output=output)
    kept = written(output)
    both = compare([str(path), "bicubic"], sets, output=output)
    after = written(output)
    assert {name: after[name] for name in kept} == kept
    assert len(after) == 6
    (net,) = (row for row in both.rows if row.model == "net")
    assert net.scores["Set5"] == first.measured[0].scores["Set5"]
    assert net.milliseconds == first.measured[0].milliseconds


def test_a_changed_file_is_measured_anew(sets, tmp_path):
    path, output = network(tmp_path / "net.safetensors"), tmp_path / "out"
    first = compare([str(path)], sets[:1], output=output, with_published=False)
    network(path, seed=1)
    second = compare([str(path)], sets[:1], output=output, with_published=False)
    assert first.rows[0].sha256 != second.rows[0].sha256
    assert first.rows[0].scores != second.rows[0].scores
    assert len(written(output)) == 4


def test_a_changed_image_is_measured_anew(sets, tmp_path):
    folder = tmp_path / "Set5"
    shutil.copytree(sets[0], folder)
    output = tmp_path / "out"
    first = compare(["bicubic"], [folder], output=output, with_published=False)
    Image.open(folder / "one.png").transpose(Image.Transpose.ROTATE_90).save(folder / "one.png")
    second = compare(["bicubic"], [folder], output=output, with_published=False)
    assert first.rows[0].scores != second.rows[0].scores


def test_settings_are_kept_apart(sets, tmp_path):
    path, output = network(tmp_path / "net.safetensors"), tmp_path / "out"
    compare([str(path)], sets[:1], output=output)
    plain = written(output)
    compare([str(path)], sets[:1], output=output, self_ensemble=True)
    assert len(written(output)) == 2 * len(plain)


def test_a_damaged_entry_is_measured_anew(sets, tmp_path):
    output = tmp_path / "out"
    first = compare(["bicubic"], sets[:1], output=output)
    for path in (output / KEPT).iterdir():
        path.write_bytes(path.read_bytes()[:-30])
    second = compare(["bicubic"], sets[:1], output=output)
    assert first.rows[0].scores == second.rows[0].scores
    for path in (output / KEPT).iterdir():
        json.loads(path.read_text())


def test_an_entry_of_another_key_is_not_taken(tmp_path):
    kept = Kept(tmp_path)
    kept.put({"a": 1}, "value")
    assert kept.get({"a": 1}) == "value"
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps({"key": {"a": 2}, "value": "other"}))
    assert kept.get({"a": 1}) is None
    assert kept.get({"a": 3}) is None


def test_an_output_that_cannot_be_written_to(sets, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written to .*; choose another --output"):
        compare(["bicubic"], sets[:1], output=tmp_path / "file" / "out")
