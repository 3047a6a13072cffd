"""A training run: what it writes, and what it starts from."""

import json
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from lnln_jax import load_model
from lnln_jax.cli import main
from lnln_jax.config import (
    ModelConfig,
    TrainConfig,
    build_module,
    load_config,
    override,
    to_dict,
)
from lnln_jax.images.resize import imresize
from lnln_jax.models.variables import initialize
from lnln_jax.training.loop import Outcome, train
from lnln_jax.weights.runs import load_run, saved_steps
from lnln_jax.weights.safetensors_files import save_safetensors
from lnln_jax.weights.torch_files import write_state_dict
from lnln_jax.weights.torch_port import to_torch
from tests.support.checkout import ROOT
from tests.support.runs import (
    CONFIG,
    assert_equal,
    read_metrics,
    save_pictures,
)

pytestmark = pytest.mark.usefixtures("standard_promotion")

CONFIGS = ROOT / "configs"


# ---- one run ----


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[TrainConfig, Path]:
    """A run on a folder of images, with all that a run writes."""
    folder = tmp_path_factory.mktemp("run")
    images = save_pictures(folder / "images", 3, 48)
    validation = save_pictures(folder / "validation", 2, 40)
    config = replace(
        CONFIG,
        data=replace(CONFIG.data, train=(str(images),), validation=str(validation)),
        steps=40,
        log_every=5,
        checkpoint_every=25,
        validate_every=20,
        sample_every=10,
    )
    assert train(config, folder / "run") == Outcome(40, stopped=False)
    return config, folder / "run"


@pytest.mark.slow
def test_metrics_tell_the_course_of_the_run(run):
    config, folder = run
    rows = read_metrics(folder)
    training = [row for row in rows if "train/loss" in row]
    assert [row["step"] for row in training] == [5, 10, 15, 20, 25, 30, 35, 40]
    for row in training:
        assert set(row) == {
            "step",
            "train/loss",
            "train/grad_norm",
            "train/learning_rate",
            "train/images_per_second",
            "train/host_memory_gib",
        }
        assert row["train/learning_rate"] == pytest.approx(2e-3)
        assert row["train/images_per_second"] > 0
    assert training[-1]["train/loss"] < 0.7 * training[0]["train/loss"]
    assert [row["step"] for row in rows if "validation/psnr_y" in row] == [20, 40]
    placed = override(config, ["data.placement=device", "devices=1"])  # what "auto" came to
    assert json.loads((folder / "config.json").read_text()) == json.loads(
        json.dumps(to_dict(placed))
    )
    assert saved_steps(folder / "checkpoints") == [20, 25, 40]


def read_events(folder: Path) -> list[Event]:
    """Parses TensorBoard's records: length, its checksum, an event, its checksum."""
    events = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def test_tensorboard_has_the_same_numbers_and_the_samples(run):
    _, folder = run
    values, pictures = {}, {}
    for event in read_events(folder / "tensorboard"):
        for value in event.summary.value:
            if value.HasField("image"):
                pictures[event.step] = (value.tag, value.image.height, value.image.width)
            else:
                values[value.tag, event.step] = value.simple_value
    expected = {
        (key, row["step"]): pytest.approx(value, rel=1e-6)
        for row in read_metrics(folder)
        for key, value in row.items()
        if key != "step"
    }
    assert values == expected
    picture = ("bicubic_network_original", 40, 120)
    assert pictures == dict.fromkeys((10, 20, 30, 40), picture)


def test_samples_show_bicubic_network_and_original(run):
    config, folder = run
    samples = sorted(path.name for path in (folder / "samples").iterdir())
    assert samples == [f"{step:07d}_0.png" for step in (10, 20, 30, 40)]
    with Image.open(folder / "samples" / "0000040_0.png") as image:
        sample = np.asarray(image)
    with Image.open(Path(config.data.validation) / "0.png") as image:
        hr = np.asarray(image)
    lr = imresize(hr, 0.5)
    sr = load_model(folder / "checkpoints" / "40").upscale(lr)
    np.testing.assert_array_equal(sample, np.hstack([imresize(lr, 2), sr, hr]))


def test_validation_is_what_evaluate_prints(run, tmp_path, capsys):
    config, folder = run
    validation = {r["step"]: r for r in read_metrics(folder) if "validation/psnr_y" in r}
    best = max(validation, key=lambda step: validation[step]["validation/psnr_y"])
    output = tmp_path / "out"
    chosen = (folder / "checkpoints" / "20", "run@20", 20)
    for model, name, step in [(folder, "run", best), chosen]:
        arguments = ["evaluate", str(model), "--data", config.data.validation]
        assert main([*arguments, "--output", str(output)]) == 0
        bicubic, _, network = json.loads((output / "results.json").read_text())["results"]
        assert bicubic["model"] == "bicubic"
        assert network["model"] == name
        assert network["psnr"] == validation[step]["validation/psnr_y"]
        assert network["ssim"] == validation[step]["validation/ssim_y"]
        assert f"{network['psnr']:.2f} / {network['ssim']:.4f}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_finished_run_goes_on_with_more_steps(run):
    config, folder = run
    free = ["steps=42", "log_every=1", "keep_checkpoints=1", "data.num_threads=1"]
    assert train(override(config, free), folder) == Outcome(42, stopped=False)
    steps = [row["step"] for row in read_metrics(folder) if "train/loss" in row]
    assert steps == [5, 10, 15, 20, 25, 30, 35, 40, 41, 42]
    assert train(config, folder) == Outcome(42, stopped=False)  # there is nothing left to do


def test_another_configuration_is_refused_before_any_work(run):
    config, folder = run
    changed = override(config, ["optimizer.b1=0.8", "model.n_resblocks=3"])
    message = (
        f"{folder} holds a run with another configuration: model.options.n_resblocks was 1 and is "
        "3; optimizer.b1 was 0.9 and is 0.8. Train in another folder, give the settings that it "
        "was started with, or go on as another run from here (--allow-config-change)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train(changed, folder)
    with pytest.raises(ValueError, match=r"data\.train names gone, which is not a folder"):
        train(override(config, ["data.train=gone"]), folder)


# ---- options ----


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_compiler")
def test_x4_in_bfloat16_starts_from_x2(run, tmp_path):
    source = tmp_path / "x2"
    shutil.copytree(run[1], source)
    items = ["model.scale=4", "data.lr_patch_size=6", f"init_from={source}", "ema_decay=0"]
    items += ["dtype=bfloat16", "steps=1", "optimizer.learning_rate=1e-4"]
    config = override(CONFIG, items)
    train(config, tmp_path / "x4")

    module = load_model(tmp_path / "x4").module
    assert (module.scale, module.dtype) == (4, jnp.bfloat16)
    _, trained, _ = load_run(source)
    fresh = initialize(build_module(config), config.seed)
    _, variables, _ = load_run(tmp_path / "x4")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    assert variables["params"].keys() == trained["params"].keys() | {"upsampler", "tail"}
    for name, tree in variables["params"].items():
        origin = fresh if name in ("upsampler", "tail") else trained
        before = flatten_dict(origin["params"][name], sep="/")
        for path, after in flatten_dict(tree, sep="/").items():
            change = np.abs(after - before[path]).max()
            if re.search(r"/conv_[12]/pointwise/bias$", path):
                # What the normalisation takes away has a gradient of rounding noise at most.
                assert change <= 1.001e-4
            else:
                assert 0 < change <= 1.001e-4  # Adam's first step

    shutil.rmtree(source)  # started again, the run needs it no more
    assert train(config, tmp_path / "x4") == Outcome(1, stopped=False)


@pytest.mark.slow
def test_vdsr_learns_luma_with_sgd(tmp_path):
    small = ["model.n_layers=4", "model.n_feats=8", "data.train=", "data.lr_patch_size=12"]
    small += ["data.dead_leaves=4", "data.dead_leaves_size=48", "data.batch_size=4", "steps=20"]
    small += [f"data.validation={save_pictures(tmp_path / 'pictures', 1, 48)}", "log_every=10"]
    config = override(load_config(CONFIGS / "vdsr_x2.py"), small)
    train(config, tmp_path / "x2")
    rows = read_metrics(tmp_path / "x2")
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert rows[-1]["validation/psnr_y"] > 10
    model = load_model(tmp_path / "x2")
    assert model.module.n_colors == 1
    assert model.upscale(np.zeros((8, 9, 3), np.uint8)).shape == (16, 18, 3)

    # No parameter depends on the scale: all of them go over.
    step = ["model.scale=3", "steps=1", f"init_from={tmp_path / 'x2'}", "data.validation="]
    train(override(config, [*step, "optimizer.learning_rate=1e-30"]), tmp_path / "x3")
    assert_equal(load_run(tmp_path / "x3")[1], load_run(tmp_path / "x2")[1])


@pytest.mark.slow
def test_a_run_starts_from_a_file_of_weights(run, tmp_path):
    path = tmp_path / "weights.safetensors"
    _, trained, _ = load_run(run[1])
    save_safetensors(path, CONFIG.model, trained)
    train(override(CONFIG, ["steps=1", f"init_from={path}"]), tmp_path / "from_file")
    train(override(CONFIG, ["steps=1", f"init_from={run[1]}"]), tmp_path / "from_run")
    assert_equal(load_run(tmp_path / "from_file")[1], load_run(tmp_path / "from_run")[1])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"init_from: .*damaged.*; init_from= starts from random"):
        train(override(CONFIG, [f"init_from={path}"]), tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


def test_a_run_starts_from_a_pytorch_file_that_shows_no_scale(tmp_path):
    model = ModelConfig("vdsr", 3, {"n_layers": 3, "n_feats": 8})
    config = replace(CONFIG, model=model, ema_decay=0.0, steps=1)
    variables = initialize(build_module(config), 5)
    write_state_dict(tmp_path / "vdsr.pt", to_torch(variables, name="vdsr"))
    items = [f"init_from={tmp_path / 'vdsr.pt'}", "optimizer.learning_rate=1e-30"]
    train(override(config, items), tmp_path / "run")
    assert_equal(load_run(tmp_path / "run")[1], jax.tree.map(np.asarray, variables))


@pytest.mark.slow
def test_another_network_cannot_start_from_it(run, tmp_path):
    _, source = run
    wider = override(CONFIG, ["model.n_feats=24", f"init_from={source}"])
    with pytest.raises(ValueError, match=r"a drca with .*'n_feats': 16.*do not fit .*24"):
        train(wider, tmp_path / "wider")
    with pytest.raises(ValueError, match="holds no checkpoint; give the folder of a training run"):
        train(override(CONFIG, [f"init_from={tmp_path}"]), tmp_path / "none")
    assert not list(tmp_path.iterdir())  # nothing was written
