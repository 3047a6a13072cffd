"""From settings to a trained network in the package: recipes/trials.py and release.py."""

import json
import shutil
import sys
from dataclasses import replace

import pytest

from lnln_jax import load_model
from lnln_jax.config import DataConfig, ModelConfig, OptimizerConfig, TrainConfig
from lnln_jax.evaluation.model_sizes import format_cost
from lnln_jax.training.loop import train
from lnln_jax.weights import pretrained
from lnln_jax.weights.convert import convert, convert_state
from lnln_jax.weights.runs import load_run
from scripts.recipes import release, trials
from tests.support.runs import save_pictures, write_config

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Test sets and a training set as scripts/recipes/training_set.py leaves one."""
    folder = tmp_path_factory.mktemp("data")
    for name in (*pretrained.BENCHMARKS, "set/train", "set/validation"):
        save_pictures(folder / name, 3, 48)
    report = {"train": 3, "validation": 3, "left_out": []}
    (folder / "set" / "report.json").write_text(json.dumps(report))
    return folder


@pytest.fixture(scope="module")
def config(data):
    return TrainConfig(
        model=ModelConfig("vdsr", 2, {"n_layers": 3, "n_feats": 4}),
        data=DataConfig(
            train=(str(data / "set" / "train"),),
            validation=str(data / "set" / "validation"),
            validation_images=1,
            lr_patch_size=12,
            batch_size=2,
        ),
        optimizer=OptimizerConfig(cosine_steps=4),
        steps=4,
        log_every=2,
        validate_every=2,
        sample_every=0,
    )


@pytest.mark.slow
def test_a_run_becomes_a_network_of_the_package(config, data, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install -e '.[compare]' brings matplotlib")
    from scripts.recipes import pages

    train(config, tmp_path / "vdsr_tiny")
    path = write_config(tmp_path, config)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    arguments = ["--config", path, "--data", data, "--training-set", data / "set"]
    command = ["release.py", tmp_path / "vdsr_tiny", *arguments]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    release.main()

    network = pretrained.load("vdsr_tiny")
    training = network.training
    assert training["command"] == "lnln train configs/experiment.py --output runs/vdsr_tiny"
    assert [step for step, _ in training["curve"]] == [2, 4]
    assert training["scores"].keys() == set(pretrained.BENCHMARKS)
    # One image chose the checkpoint, all three measure it.
    assert training["validation"] not in dict(training["curve"]).values()
    assert training["validation"] == pytest.approx(training["scores"]["Set5"][0], abs=1e-9)
    _, variables, step = load_run(tmp_path / "vdsr_tiny")
    assert network.weights.step == step
    kernel = network.weights.variables["params"]["last"]["kernel"]
    assert (kernel == variables["params"]["last"]["kernel"]).all()
    monkeypatch.chdir(tmp_path / "vdsr_tiny")  # where no folder of that name comes first
    assert load_model("vdsr_tiny").scale == 2

    # What scripts/gpu.py leaves of a run that goes on from it takes its place, and remembers it.
    goes_on = replace(config, init_from="vdsr_tiny", steps=3, validate_every=3, dtype="bfloat16")
    train(goes_on, tmp_path / "two")
    folder = tmp_path / "gpu"
    folder.mkdir()
    shutil.copy(tmp_path / "two" / "metrics.jsonl", folder)
    convert(tmp_path / "two", folder / "trained.safetensors")
    convert_state(tmp_path / "two", folder / "state.safetensors")
    words = ["--name", "vdsr_tiny", "--hardware", "a GPU", "--images", "3 images"]
    command = ["release.py", folder, *arguments, *words]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    release.main()
    after = pretrained.load("vdsr_tiny")
    assert [stage["steps"] for stage in after.stages] == [4, 3]
    assert after.stages[0] == training
    assert after.start == ""
    assert after.weights.dtype == "float32"
    changed = "init_from=vdsr_tiny dtype=bfloat16 validate_every=3"
    assert set(after.training["command"].split()[3:]) == set(changed.split())
    assert pages.card(after).count("`lnln train configs/experiment.py") == 2
    assert " on a GPU" in format_cost(after)


def test_hours_are_those_of_the_rows_of_a_log():
    rows = [
        {"step": 20, "train/loss": 1.0},  # the first call, which compiles
        {"step": 120, "train/loss": 1.0, "train/images_per_second": 10.0},
        {"step": 120, "validation/psnr_y": 30.0},
        {"step": 220, "train/loss": 1.0, "train/images_per_second": 5.0},
    ]
    assert release.hours_of(rows, 9) == pytest.approx((90 + 180) / 3600)


def test_images_of_a_card(config, data):
    text = release.describe_images(data / "set", config)
    assert text.startswith("3 images of BSDS400, T91 and General100, and 3 others for validation")
    larger = replace(config.data, lr_patch_size=30, dead_leaves=5)
    text = release.describe_images(data / "set", replace(config, data=larger))
    assert text.startswith(
        "0 images of BSDS400, T91 and General100 (3 more are smaller than a patch)"
    )
    assert ", 5 generated ones (dead leaves), and 3 others for validation" in text


def test_a_run_of_which_a_card_would_not_be_true(config, data, tmp_path):
    path = write_config(tmp_path, config)
    with pytest.raises(ValueError, match="is at step 2 of 4; train it to its end"):
        release.check(tmp_path, config, path, data / "set", 2)
    changed = replace(config, seed=1)
    with pytest.raises(ValueError, match=r"differs from .*experiment\.py in seed"):
        release.check(tmp_path, changed, path, data / "set", 4)
    with pytest.raises(ValueError, match=r"was not trained on .*elsewhere, but on"):
        release.check(tmp_path, config, path, tmp_path / "elsewhere", 4)
    (tmp_path / "config_until_0000002.json").touch()
    with pytest.raises(ValueError, match=r"had other settings before \(config_until_0000002"):
        release.check(tmp_path, config, path, data / "set", 4)
    (tmp_path / "config_until_0000002.json").unlink()
    release.check(tmp_path, config, path, data / "set", 4)
    path = write_config(tmp_path, replace(config, time_budget="5m"))
    fitted = replace(config, time_budget="5m", steps=3, schedule_steps=4)
    release.check(tmp_path, fitted, path, data / "set", 3)


@pytest.mark.slow
def test_trials_of_equal_time(config, tmp_path, capsys, monkeypatch):
    path, folder = write_config(tmp_path, config), tmp_path / "trials"
    asked = [str(path), 0.4, []]
    other = {"asked": asked, "steps": 9, "batch": 2, "minutes": 1.0}
    (folder / "other").mkdir(parents=True)
    (folder / "other" / "result.json").write_text(json.dumps(other | {"psnr": 1.0, "ssim": 0.1}))
    command = ["trials.py", path, "--output", folder, "--minutes", "0.4"]
    monkeypatch.setattr(sys, "argv", [*map(str, command), "larger: data.batch_size=4", "other"])
    trials.main()
    rows = capsys.readouterr().out.splitlines()
    result = json.loads((folder / "larger" / "result.json").read_text())
    log = (folder / "larger" / "metrics.jsonl").read_text().splitlines()
    last = json.loads(log[-1])
    assert (last["step"], last["validation/psnr_y"]) == (result["steps"], result["psnr"])
    assert rows[-2].startswith("| larger | `data.batch_size=4` |")
    assert rows[-1].startswith("| other | as in the config | 9 | 18 | 1.0 |")  # 1 dB: the last

    trials.main()  # nothing is done again
    assert capsys.readouterr().out.splitlines() == rows[-4:]
    for trial, message in (
        ("larger: data.batch_size=8", "of another trial"),
        ("a/b", "choose a name"),
        ("long: steps=8", "long sets steps, which the minutes determine"),
    ):
        monkeypatch.setattr(sys, "argv", [*map(str, command), trial])
        with pytest.raises(SystemExit):
            trials.main()
        assert message in capsys.readouterr().err
