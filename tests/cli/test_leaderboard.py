"""`lnln leaderboard` as its users call it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lnln_jax.cli import main
from lnln_jax.weights import pretrained
from tests.support.commands import fails, lnln, refuses
from tests.support.leaderboards import make_set, network
from tests.support.signals import signals_heard

BROKEN = b"\x10\0\0\0\0\0\0\0{" + bytes(9)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return make_set(tmp_path_factory.mktemp("sets") / "Set5")


def rows_of(table: str) -> list[list[str]]:
    """The cells of a Markdown table, without its head."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


@pytest.mark.slow  # the shipped network is compiled for four sizes
@pytest.mark.usefixtures("hasty_compiler")
def test_the_table(images, tmp_path, capsys):
    (tmp_path / "broken.safetensors").write_bytes(BROKEN)
    arguments = ["lnln_light_x2", "bicubic", tmp_path, "--data", images]
    assert main(["leaderboard", *map(str, arguments)]) == 0
    title, table, failed, notes = capsys.readouterr().out.split("\n\n")
    assert title == "# Leaderboard"
    rows = rows_of(table)
    names = {row[0] for row in rows}
    assert names == {"lnln_light_x2", "bicubic", "lnln (published)", "bicubic (published)"}
    by_name = {row[0]: row for row in rows}
    network, scale, parameters, multiply_adds, scores, _, digest = by_name["lnln_light_x2"][1:]
    assert (network, scale, parameters) == ("lnln, other size", "x2", "140,641")
    assert float(multiply_adds.replace(",", "")) > 100
    assert digest == pretrained.index()["lnln_light_x2"]["sha256"][:12]
    psnr = [float(row[5].split(" / ")[0]) for row in rows]
    assert psnr == sorted(psnr, reverse=True)
    assert by_name["lnln (published)"][5] == "38.32 / 0.9618"
    ((name, why),) = rows_of(failed)
    assert name == "broken"
    assert "broken.safetensors" in why
    assert "milliseconds for an LR image of 96x96" in notes
    assert "LR of Set5 x2: made from HR by imresize" in notes
    assert scores


@pytest.mark.usefixtures("hasty_compiler")
def test_json_and_files(images, tmp_path, capsys):
    path, output = network(tmp_path / "net.safetensors"), tmp_path / "out"
    call = ["leaderboard", path, "bicubic", "--data", images, "--no-published", "--output", output]
    assert main([*map(str, call), "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    facts = json.loads(captured.out)
    assert {row["model"]: row["kind"] for row in facts["rows"]} == dict.fromkeys(
        ("net", "bicubic"), "measured"
    )
    (net,) = (row for row in facts["rows"] if row["model"] == "net")
    assert net["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert net["images"]["Set5"].keys() == {"one", "two"}
    assert json.loads((output / "leaderboard.json").read_text()) == facts

    assert main([*map(str, call)]) == 0  # again: nothing is measured
    captured = capsys.readouterr()
    assert captured.out == (output / "leaderboard.md").read_text()
    assert captured.err == f"measured before, and kept in {output}: 4\nwritten to {output}\n"


def test_a_reader_that_leaves_costs_no_file(images, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    call = ["leaderboard", "bicubic", "--data", images, "--output", tmp_path / "out"]
    finished = lnln(*call, stdout=writer)
    os.close(writer)
    assert finished.returncode == 1
    assert {path.suffix for path in (tmp_path / "out").glob("leaderboard.*")} == {
        *(".md", ".json", ".html")
    }


def test_nothing_that_could_be_measured(images, tmp_path, capsys):
    (tmp_path / "broken.safetensors").write_bytes(BROKEN)
    assert main(["leaderboard", str(tmp_path), "--data", str(images)]) == 1
    captured = capsys.readouterr()
    assert "| broken |" in captured.out
    assert captured.err == "lnln: error: no model could be measured; the table says why\n"


def test_wrong_calls(images, tmp_path, capsys):
    assert "--data" in refuses(capsys, "leaderboard", "bicubic")
    assert "model" in refuses(capsys, "leaderboard", "--data", images)
    error = fails(capsys, "leaderboard", tmp_path, "--data", images)
    assert error.startswith(f"{tmp_path} holds no model; give a folder of files (.pt, ")
    error = fails(capsys, "leaderboard", "bicubic", "--data", tmp_path / "no", "--scale", "2")
    assert error.startswith(f"there is no folder or .zip file {tmp_path / 'no'}")


@pytest.mark.slow  # a network of full size
def test_a_published_file_beside_its_published_row(published_dir, published_weights, capsys):
    weights = published_weights / "rlfn_x2.pt"
    assert main(["leaderboard", str(weights), "--data", str(published_dir / "Set5")]) == 0
    rows = rows_of(capsys.readouterr().out.split("\n\n")[1])
    assert {row[0]: row[1:6] for row in rows} == {
        name: ["rlfn", "x2", "526,856", "115.4", "38.07 / 0.9607"]
        for name in ("rlfn (published)", "rlfn_x2")
    }


@pytest.mark.slow  # processes of their own
def test_ctrl_c_keeps_what_is_measured(images, tmp_path):
    models, output = tmp_path / "models", tmp_path / "out"
    for seed in range(12):
        network(models / f"{seed}.safetensors", seed=seed)
    call = ["leaderboard", models, "--data", images, "--output", output]
    with (
        signals_heard(),
        subprocess.Popen(
            [sys.executable, "-m", "lnln_jax", *map(str, call)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        limit = time.monotonic() + 200
        while len(kept(output)) < 3 and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=200)
    assert process.returncode == 130, err
    assert out == ""
    assert err == (
        f"lnln: interrupted; the same command goes on, with what is measured in {output}\n"
    )
    before = kept(output)
    assert 3 <= len(before) < 24
    assert lnln(*call).returncode == 0
    after = kept(output)
    assert len(after) == 24
    assert {name: after[name] for name in before} == before


def kept(output: Path) -> dict[str, int]:
    """What is kept, with the time of each."""
    return {path.name: path.stat().st_mtime_ns for path in (output / "measured").glob("*.json")}
