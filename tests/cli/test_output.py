"""What commands print: JSON, nothing with --quiet, progress on a terminal."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from lnln_jax.cli import main
from lnln_jax.cli.command import make_parser
from lnln_jax.models import create_model
from lnln_jax.models.complexity import count_parameters
from lnln_jax.runtime.progress import is_quiet
from lnln_jax.weights import pretrained
from tests.support.commands import fails, lnln
from tests.support.terminals import on_terminal


def answer(capsys, *arguments: object) -> dict:
    """What a command prints, all of which must be JSON."""
    assert main([*map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


@pytest.mark.slow
def test_models_for_programs(capsys):
    found = answer(capsys, "models", "lnln_light_x2", "lnln", "--scale", 3)
    (trained,), (network,) = found["trained"], found["networks"]
    light = pretrained.load("lnln_light_x2")
    assert (trained["name"], trained["scale"]) == ("lnln_light_x2", 2)
    assert trained["size_bytes"] == light.path.stat().st_size
    assert trained["scores"]["Set5"].keys() == {"psnr_y_db", "ssim_y"}
    assert trained["scores"]["Set5"]["psnr_y_db"] == light.training["scores"]["Set5"][0]
    assert trained["stages"] == [
        {"hours": light.training["hours"], "hardware": light.training["hardware"]}
    ]
    assert (trained["started_from"], trained["licence"]) == (None, light.training["licence"])
    assert (network["name"], network["scale"]) == ("lnln", 3)
    assert network["parameters"] == count_parameters(create_model("lnln", 3))
    assert network["safetensors_bytes"] > 4 * network["parameters"]
    assert network["multiply_adds_output_pixels"] == [720, 1278]
    assert network["receptive_field_pixels"] is None
    assert network["multiply_adds"]["attention"] > 0


def test_a_network_that_is_unknown(capsys):
    error = fails(capsys, "models", "lnln_lite_x2", "--json")
    assert error.startswith("there is no network 'lnln_lite_x2'; there are lnln_grown_x2, ")
    assert error.endswith("; did you mean 'lnln_light_x2'?")


def test_convert_for_programs(tmp_path, capsys):
    target = tmp_path / "a.safetensors"
    found = answer(capsys, "convert", "lnln_light_x2", target)
    assert found == {
        "files": [str(target)],
        "size_bytes": target.stat().st_size,
        "network": "lnln",
        "scale": 2,
        "parameters": 140_641,
        "steps": 8000,
        "dtype": "float32",
    }
    error = fails(capsys, "convert", "lnln_light_x2", target, "--json")
    assert str(target) in error


def test_export_for_programs(tmp_path, capsys):
    target = tmp_path / "a.stablehlo"
    found = answer(
        capsys, "export", "lnln_light_x2", target, "--tile", 4, "--platforms", "cpu,cuda"
    )
    assert found == {
        "files": [str(target)],
        "size_bytes": target.stat().st_size,
        "network": "lnln_light_x2",
        "scale": 2,
        "input_shape": [found["input_shape"][0], 4, 4, 3],
        "output_shape": [found["input_shape"][0], 8, 8, 3],
        "platforms": ["cpu", "cuda"],
    }


def test_quiet_is_one_switch(tmp_path, capsys):
    for words in (["-q", "config"], ["config", "-q"], ["config", "--quiet"], ["--quiet", "config"]):
        assert make_parser().parse_args(words).quiet
        assert main(words) == 0
        assert "lnln_x2" in capsys.readouterr().out  # the answer stays
        assert not is_quiet()  # what called the command is not
    assert not make_parser().parse_args(["config"]).quiet
    assert "there is no config file" in fails(capsys, "config", "-q", "missing.py")


@pytest.mark.slow
def test_a_quiet_run_says_its_result_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    small = ["model.n_resblocks=1", "model.n_feats=8", "data.lr_patch_size=8", "steps=2"]
    data = [f"data.train={tmp_path / 'photos'}", "data.validation=", "log_every=1"]
    done = lnln("train", "edsr_baseline_x2", *small, *data, "--output", tmp_path / "run", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"trained 2 steps; the run is in {tmp_path / 'run'}\n"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.skipif("sys.platform == 'win32'")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["models", "rcan"], "measuring networks"),
        (["export", "lnln_light_x2", "a.stablehlo", "--platforms", "cpu,cuda,tpu"], "writing a.st"),
        (["doctor", "--only", "deviations"], "measuring deviations"),
    ],
)
def test_what_takes_long_is_seen_on_a_terminal(words, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "import sys; from lnln_jax.runtime import progress; progress.DELAY = 0.2\n"
    code += f"from lnln_jax.cli import main; sys.exit(main({words!r}))"
    status, shown = on_terminal(sys.executable, "-c", code)
    assert status == 0, shown
    assert f"\r{what}" in shown
