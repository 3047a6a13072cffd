"""Leaderboards: which models there are, what is measured of them, and what is kept."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lnln_jax.evaluation.leaderboard import compare, write_leaderboard
from lnln_jax.evaluation.leaderboard_report import cells, headings, to_json, to_markdown
from lnln_jax.evaluation.leaderboard_rows import Row, order, published_rows, told_apart
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.model_files import find_models
from lnln_jax.evaluation.report import environment
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.inference.loading import load_model
from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_multiply_adds, count_parameters
from lnln_jax.weights import pretrained
from tests.support.leaderboards import OPTIONS, make_set, network

pytestmark = pytest.mark.usefixtures("hasty_compiler_here")


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sets")
    return [make_set(folder / "Set5"), make_set(folder / "other", seed=1)]


# ---- which models ----


def test_a_folder_is_its_files_and_runs(tmp_path):
    for name in (
        "b.pt",
        "deep/a.safetensors",
        "a.safetensors",
        "photo.png",
        ".hidden/c.pt",
        ".d.pt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for part in ("set-00001-of-00002.safetensors", "set-00002-of-00002.safetensors"):
        (tmp_path / part).touch()
    (tmp_path / "run" / "checkpoints" / "10" / "config").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "10" / "weights.pt").touch()
    found = find_models([str(tmp_path), str(tmp_path / "b.pt"), "bicubic", "lnln_light_x2"])
    names = [model.name for model in found]
    assert names == ["a", "b", "run", "set", "a", "bicubic", "lnln_light_x2"]
    assert found[4].source == str(tmp_path / "deep" / "a.safetensors")
    assert [model.name for model in find_models([str(tmp_path / "run")])] == ["run"]
    (step,) = find_models([str(tmp_path / "run" / "checkpoints" / "10")])
    assert step.name == "run@10"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no model; give a folder of files"):
        find_models([str(tmp_path / "empty")])


def test_hashes(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"one")
    (file,) = find_models([str(tmp_path / "a.pt")])
    assert file.sha256() == hashlib.sha256(b"one").hexdigest()
    (shipped,) = find_models(["lnln_light_x2"])
    assert shipped.sha256() == pretrained.index()["lnln_light_x2"]["sha256"]
    step = tmp_path / "run" / "checkpoints" / "10"
    (step / "config").mkdir(parents=True)
    (step / "data").write_bytes(b"two")
    (run,) = find_models([str(tmp_path / "run")])
    before = run.sha256()
    assert before == run.sha256()
    (step / "data").write_bytes(b"three")
    assert before != run.sha256()
    assert find_models(["bicubic"])[0].sha256() == ""


# ---- what is measured ----


def test_rows_are_what_evaluate_measures(sets, tmp_path):
    path = network(tmp_path / "net.safetensors")
    board = compare([str(path), "bicubic"], sets, with_published=False)
    assert board.failed == ()
    assert board.names == ["Set5", "other"]
    by_name = {row.model: row for row in board.rows}
    assert set(by_name) == {"net", "bicubic"}
    for name, source in (("net", path), ("bicubic", "bicubic")):
        for folder in sets:
            (result,) = evaluate([load_model(source, scale=2)], open_benchmark(folder, 2))
            assert by_name[name].scores[folder.name] == (result.psnr, result.ssim)
            images = {score.image: [score.psnr, score.ssim] for score in result.scores}
            assert by_name[name].images[folder.name] == images
    row, module = by_name["net"], create_model("edsr", 2, **OPTIONS)
    assert (row.network, row.published_size, row.scale) == ("edsr", False, 2)
    assert row.parameters == count_parameters(module)
    assert row.multiply_adds == sum(count_multiply_adds(module).values())
    assert row.milliseconds is not None
    assert 0 < row.milliseconds < 60_000
    assert row.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert by_name["bicubic"].parameters is None


def test_rows_are_sorted_by_scale_and_the_first_set(sets, tmp_path):
    files = [str(network(tmp_path / f"x{scale}.safetensors", scale)) for scale in (3, 2)]
    board = compare([*files, "bicubic"], sets[:1], with_published=False)
    assert [(row.model, row.scale) for row in board.rows] == [
        *(("bicubic", 2), ("x2", 2), ("bicubic", 3), ("x3", 3))
    ]
    assert {*board.sets} == {2, 3}


def test_ties_are_sorted_by_the_next_set_and_published_rows_come_last():
    scores = {"Set5": (38.0, 0.96), "other": (33.0, 0.91)}
    rows = [
        *published_rows([Row("a", "a", 2, "pan")], ["Set5"]),
        Row("better", "b", 2, scores=scores | {"other": (34.0, 0.91)}),
        Row("equal", "e", 2, scores=scores),
        Row("best", "c", 2, scores=scores | {"Set5": (39.0, 0.96)}),
        Row("x3", "x3", 3, scores=scores | {"Set5": (50.0, 0.96)}),
    ]
    rows[0] = replace(rows[0], scores=scores)
    rows.sort(key=lambda row: order(row, ["Set5", "other"]))
    assert [row.model for row in rows] == ["best", "better", "equal", "pan (published)", "x3"]


def test_a_scale_that_is_asked_for(sets, tmp_path):
    x2, x3 = (str(network(tmp_path / f"x{scale}.safetensors", scale)) for scale in (2, 3))
    board = compare([x2, x3, "bicubic"], sets[:1], scale=3, with_published=False)
    assert {(row.model, row.scale) for row in board.rows} == {("x3", 3), ("bicubic", 3)}
    (row,) = board.failed
    assert row.model == "x2"
    assert row.failures[0].endswith("x2.safetensors upscales x2, not x3")


def test_models_that_cannot_be_read_are_rows(sets, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{" + bytes(9))
    damaged = network(tmp_path / "nan.safetensors")
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-400] + b"\xff" * 400)  # NaN
    board = compare([str(tmp_path), str(tmp_path / "no.pt"), "bicubic"], sets[:1])
    whys = {row.model: row.failures for row in board.failed}
    assert whys.keys() == {"broken", "nan", "no"}
    assert "broken.safetensors" in whys["broken"][0]
    assert whys["no"][0].startswith(f"there is no model {tmp_path / 'no.pt'}; give ")
    assert [row.model for row in board.measured] == ["bicubic"]
    text = to_markdown(board, environment())
    assert "| not measured |" in text
    assert "| broken |" in text
    facts = to_json(board, environment())
    assert facts["failed"][0]["failures"]
    json.dumps(facts, allow_nan=False)


def test_names_of_any_characters_are_of_one_line(sets, tmp_path):
    board = compare(
        [str(network(tmp_path / "a\u2028b.safetensors"))], sets[:1], with_published=False
    )
    assert [row.model for row in board.rows] == ["a\\u2028b"]


def test_what_may_not_be_read_is_a_row(sets, tmp_path):
    path = network(tmp_path / "net.safetensors")
    (tmp_path / "locked").mkdir()
    for each in (path, tmp_path / "locked"):
        each.chmod(0)
    try:
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        board = compare([str(tmp_path), "bicubic"], sets[:1])
    finally:
        path.chmod(0o600)
        (tmp_path / "locked").chmod(0o700)
    whys = {row.model: row.failures[0] for row in board.failed}
    assert whys.keys() == {"net", "locked"}
    assert whys["net"] == f"{path}: Permission denied"
    assert whys["locked"].endswith(": Permission denied")


def test_a_set_that_is_too_small_for_some_is_told(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "a.png")
    good = make_set(tmp_path / "good")
    board = compare(["bicubic"], [folder, good])
    (row,) = board.measured
    assert list(row.scores) == ["good"]
    assert row.failures[0].startswith("tiny: a: ")
    assert "| bicubic |" in to_markdown(board, environment()).split("not measured")[1]


def test_a_folder_of_images_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder or \.zip file"):
        compare(["bicubic"], [tmp_path / "no"], scale=2)


def test_names_of_several_places_are_told_apart():
    rows = [Row("a", "x/a.pt", 2), Row("a", "y/a.pt", 2), Row("b", "b.pt", 2), Row("b", "b.pt", 3)]
    assert [row.model for row in told_apart(rows)] == ["x/a.pt", "y/a.pt", "b", "b"]


# ---- what is published ----


def test_published_rows_of_what_was_measured():
    rows = [
        Row("mine", "mine.pt", 2, "rlfn_s"),
        Row("again", "again.pt", 2, "rlfn_s"),
        Row("bicubic", "bicubic", 2, "bicubic"),
        Row("x8", "x8.pt", 8, "edsr"),
    ]
    found = {row.model: row for row in published_rows(rows, ["Set5", "own"])}
    assert found.keys() == {"rlfn_s (published, from memory)", "bicubic (published)"}
    memory = found["rlfn_s (published, from memory)"]
    assert memory.scores == {"Set5": (38.05, 0.9607)}
    assert (memory.parameters, memory.multiply_adds) == (454_620, 98_800_000_000)
    assert list(published_rows(rows, ["own"])) == []


def test_published_rows_stand_beside(sets):
    with_them = compare(["bicubic"], sets[:1])
    assert {row.model for row in with_them.rows} == {"bicubic", "bicubic (published)"}
    without = compare(["bicubic"], sets[:1], with_published=False)
    assert [row.model for row in without.rows] == ["bicubic"]
    averaged = compare(["bicubic"], sets[:1], self_ensemble=True)
    assert [row.model for row in averaged.rows] == ["bicubic"]  # published ones are of one pass


def test_scores_without_ssim(sets):
    board = compare(["bicubic"], sets[:1], with_published=False)
    row = Row("a", "a", 2, "wdsr_reloaded", True, scores={"Set5": (38.08, None)})
    assert cells(row, board) == ["a", "wdsr_reloaded", "x2", "", "", "38.08 / -", "", ""]


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(0.4821, "0.482"), (99.96, "100"), (999.6, "1,000"), (1054, "1,054")],
)
def test_times_have_no_exponent(sets, milliseconds, shown):
    board = compare(["bicubic"], sets[:1], with_published=False)
    assert cells(Row("a", "a", 2, milliseconds=milliseconds), board)[-2] == shown


def test_files(sets, tmp_path):
    board = compare(["bicubic"], sets)
    write_leaderboard(board, environment(), tmp_path / "new" / "out")
    names = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert names == {"leaderboard.md", "leaderboard.json", "leaderboard.html"}
    facts = json.loads((tmp_path / "new" / "out" / "leaderboard.json").read_text())
    assert [row["kind"] for row in facts["rows"]].count("measured") == 1
    (row,) = (row for row in facts["rows"] if row["kind"] == "measured")
    assert row["scores"]["Set5"]["psnr_y_db"] == board.measured[0].scores["Set5"][0]
    assert {each["name"]: each["images"] for each in facts["sets"]} == {"Set5": 2, "other": 2}
    text = (tmp_path / "new" / "out" / "leaderboard.md").read_text()
    head = text.splitlines()[2]
    assert [cell.strip() for cell in head.strip("|").split("|")] == headings(board)
    assert "bicubic" in cells(board.measured[0], board)
