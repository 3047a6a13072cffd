"""The way from a configuration to training: datasets, mixtures, placements."""

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, replace

import jax
import numpy as np
import psutil
import pytest
from PIL import Image

from lnln_jax.config import override
from lnln_jax.data import Degradation, degrade
from lnln_jax.data.prepare.recipes import prepare_folder
from lnln_jax.data.prepare.sub_images import Cut
from lnln_jax.images.files import read_rgb
from lnln_jax.training.inputs import open_sources, open_validation
from lnln_jax.training.loop import Outcome, train
from lnln_jax.training.parallel import Layout
from lnln_jax.training.runners import DeviceRunner, HostRunner, choose_residence, open_runner
from lnln_jax.weights.runs import saved_config, saved_steps
from tests.support.runs import (
    CONFIG,
    Training,
    assert_equal,
    read_metrics,
    restore_everything,
    write_config,
)

LAYOUT = Layout((jax.devices()[0],))


pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Processes share what XLA compiled."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.0",
    }


@pytest.fixture(scope="module")
def data_sets(data_dir, tmp_path_factory):
    """A folder of TFDS with "set5" and "set5_bd", of sub-images of 120x120."""
    root = tmp_path_factory.mktemp("tfds")
    folder = data_dir / "Set5" / "HR"
    for name, kind in (("set5", "bicubic"), ("set5_bd", "bd")):
        cut = Cut((2, 3), 120, 60, 96, Degradation(kind))
        prepare_folder(folder, name, cut=cut, data_dir=root, validation_every=3)
    return root


def configure(data_sets, *items):
    data = [f"data.data_dir={data_sets}", "data.train=set5", "data.dead_leaves=0"]
    return override(CONFIG, [*data, *items])


# ---- which images ----


def test_data_sets_folders_and_dead_leaves_in_one_training(data_sets, data_dir):
    config = configure(
        data_sets,
        f"data.train=set5,{data_dir / 'Set5' / 'LRx2'},{data_sets / 'set5'}",
        "data.dead_leaves=2",
        "data.weights=4,3,2,1",
        "data.batch_size=1000",
        "data.placement=host",
    )
    sources = open_sources(config)
    assert [source.name for source in sources] == [
        "set5",
        str(data_dir / "Set5" / "LRx2"),
        "set5",
        "dead leaves",
    ]
    with open_runner(config, sources, lambda state, batch: (state, {}), LAYOUT) as runner:
        images = runner.stream._make._sampler(0).image
    first = np.cumsum([0, *map(len, sources)])
    shares = np.histogram(images, first)[0] / 1000
    np.testing.assert_allclose(shares, [0.4, 0.3, 0.2, 0.1])


def test_data_sets_share_the_memory_for_decoded_images(data_sets):
    config = configure(data_sets, f"data.train=set5,{data_sets / 'set5'}", "data.cache_share=0.5")
    sources = open_sources(config)
    slot = 3 * 120 * 120 * 5 // 4
    assert [source.cache_bytes for source in sources] == [len(source) * slot for source in sources]
    config = override(config, ["data.cache_share=0"])
    assert [source.cache_bytes for source in open_sources(config)] == [0, 0]


def test_as_many_weights_as_sources(data_sets):
    with pytest.raises(ValueError, match=r"data.weights has 2 numbers for 1 sources"):
        configure(data_sets, "data.weights=1,2")
    assert configure(data_sets, "data.weights=1,2", "data.dead_leaves=1").data.weights == (1, 2)


def test_lr_folders_that_nothing_would_read(data_sets, data_dir):
    hr, lr = (data_dir / "Set5" / name for name in ("HR", "LRx2"))
    folders = f"data.train={hr}", f"data.train_lr={lr}"
    with pytest.raises(ValueError, match=r"but data\.train_lr gives LR images"):
        configure(data_sets, *folders, "data.degradation=bd")
    with pytest.raises(ValueError, match="for the dataset set5, which has LR images of its own"):
        open_sources(configure(data_sets, f"data.train_lr={lr}"))
    mixed = configure(data_sets, f"data.train={hr},set5", f"data.train_lr={lr},{lr}")
    mixed = replace(mixed, data=replace(mixed.data, train_lr=(str(lr), "")))
    assert len(open_sources(mixed)[0]) == 5


def test_another_degradation_than_the_data_set_has(data_sets):
    with pytest.raises(ValueError, match=r"set5 are bicubic, and data.degradation asks for bd1\.6"):
        open_sources(configure(data_sets, "data.degradation=bd"))
    with pytest.raises(ValueError, match=r"of set5_bd are bd1\.6, .* asks for bd2;"):
        open_sources(
            configure(data_sets, "data.train=set5_bd", "data.degradation=bd", "data.blur_sigma=2")
        )
    (source,) = open_sources(configure(data_sets, "data.train=set5_bd", "data.degradation=bd"))
    assert source.degradation == Degradation("bd")


def test_more_dead_leaves_than_memory_holds():
    config = override(CONFIG, ["data.dead_leaves=100000000", "data.dead_leaves_size=1000"])
    with pytest.raises(ValueError, match=r"data\.dead_leaves=100000000 take \d+\.\d GiB in memory"):
        open_sources(config)


def test_a_batch_that_memory_cannot_hold():
    config = override(CONFIG, ["data.batch_size=1000000000"])
    with pytest.raises(
        ValueError, match=r"data\.batch_size is 1000000000, and .* GiB are free; take"
    ):
        open_sources(config)


def test_no_such_data_set_or_folder(data_sets):
    with pytest.raises(ValueError, match=r"sett5, which is not a folder or \.zip file"):
        open_sources(configure(data_sets, "data.train=sett5"))


def test_no_such_validation_images(data_sets):
    config = configure(data_sets, "data.validation=nosuch")
    with pytest.raises(ValueError, match=r"data\.validation names nosuch, .* nor a dataset in"):
        open_validation(config)


def test_missing_lr_images_are_told_by_the_field_that_names_them(tmp_path):
    for name, side in (("HR/one", 64), ("HR/two", 64), ("LRx2/one", 32)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (side, side)).save(path)
    config = override(
        CONFIG,
        [f"data.validation={tmp_path}", f"data.train={tmp_path}", "data.dead_leaves=0"],
    )
    with pytest.raises(ValueError, match=r"^data\.validation: of the images in .* for two; add"):
        open_validation(config)
    with pytest.raises(ValueError, match=r"two\.png: no LR (?s:.)*, or data\.train_lr=imresize to"):
        open_sources(config)
    assert len(open_sources(override(config, ["data.train_lr=imresize"]))[0]) == 2


def test_validation_images(data_sets, data_dir):
    assert open_validation(configure(data_sets)) is None
    config = configure(data_sets, "data.validation=set5")
    assert open_validation(config).names == ["bird", "woman"]
    config = configure(data_sets, "data.validation=set5", "data.validation_images=1")
    assert open_validation(config).names == ["bird"]
    # LR files are bicubic, so with another degradation they are left alone.
    config = configure(data_sets, f"data.validation={data_dir / 'Set5'}", "data.degradation=jpeg")
    image = next(iter(open_validation(config)))
    hr = read_rgb(data_dir / "Set5" / "HR" / "baby.png")
    np.testing.assert_array_equal(image.lr, degrade(hr, 2, Degradation("jpeg")))


# ---- where they are ----


@dataclass
class Memory:
    """Stands in for accelerators, of which there is none here: what is free on one."""

    free: int
    device_kind: str = "accelerator"
    process_index: int = 0

    def memory_stats(self):
        return {"bytes_limit": self.free + 100, "bytes_in_use": 100}


def test_the_residence_by_size():
    one, four = [Memory(1000)], [Memory(1000)] * 4
    assert choose_residence("auto", 500, four) == "each"
    assert choose_residence("auto", 501, one) == "host"
    assert choose_residence("auto", 501, four) == "shared"
    assert choose_residence("auto", 2001, four) == "host"
    assert choose_residence("host", 1, four) == "host"
    assert choose_residence("device", 1000, one) == "each"
    assert choose_residence("device", 4000, four) == "shared"
    with pytest.raises(ValueError, match=r"data.placement is device, .* 4 x accelerator have"):
        choose_residence("device", 4001, four)


def test_without_grain_images_must_fit_on_the_devices(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    one, four = [Memory(1000)], [Memory(1000)] * 4
    assert choose_residence("auto", 1000, one) == "each"
    assert choose_residence("auto", 1001, four) == "shared"
    remedy = r'set data\.placement=host after pip install "lnln-jax\[train\]", or'
    for placement in ("auto", "device"):
        with pytest.raises(ValueError, match=rf"data\.placement is {placement}, .* {remedy}"):
            choose_residence(placement, 4001, four)


def test_the_placement_of_a_configuration(data_sets):
    for placement, kind in (("auto", DeviceRunner), ("device", DeviceRunner), ("host", HostRunner)):
        config = configure(data_sets, f"data.placement={placement}")
        runner = open_runner(config, open_sources(config), lambda state, batch: (state, {}), LAYOUT)
        assert type(runner) is kind


# ---- trainings ----


@pytest.mark.slow
def test_host_and_device_train_alike(data_sets, tmp_path):
    courses = []
    for placement in ("host", "device"):
        config = configure(data_sets, f"data.placement={placement}", "steps=6", "log_every=1")
        assert train(config, tmp_path / placement) == Outcome(6, stopped=False)
        courses.append([row["train/loss"] for row in read_metrics(tmp_path / placement)])
        data = tmp_path / placement / "checkpoints" / "6" / "data" / "metadata"
        assert json.loads(data.read_text()) == {"next_step": 6}
    # The same batches in two programs, whose rounding the first steps of Adam magnify.
    np.testing.assert_allclose(courses[0], courses[1], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("items", "others"),
    [
        (["data.placement=device", "steps_per_call=7"], ["steps_per_call=3"]),
        (["data.placement=host", "data.num_workers=2"], ["data.num_workers=0"]),
    ],
)
def test_a_killed_run_on_a_data_set_ends_where_another_does(
    data_sets, tmp_path, compiled, items, others
):
    items = [*items, "steps=96", "log_every=8", "checkpoint_every=32"]
    config = write_config(tmp_path, configure(data_sets, *items))
    environment = os.environ | compiled
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert Training(config, undisturbed, environment).end()[0] == 0
    killed = Training(config, disturbed, environment).at(8)
    while not saved_steps(disturbed / "checkpoints"):
        time.sleep(0.001)
    # Worker processes hold its output open: that it ends shows that they have ended, too.
    assert killed.send(signal.SIGKILL).end()[0] == -signal.SIGKILL
    assert saved_steps(disturbed / "checkpoints")[-1] < 96
    config = write_config(tmp_path, configure(data_sets, *items, *others))
    status, _, err = Training(config, disturbed, environment).end()
    assert status == 0, err
    assert_equal(restore_everything(disturbed, 96), restore_everything(undisturbed, 96))


@pytest.mark.slow
def test_ctrl_c_reaches_worker_processes_and_they_say_nothing(data_sets, tmp_path, compiled):
    items = ["data.placement=host", "data.num_workers=2", "steps=100000", "log_every=4"]
    config = write_config(tmp_path, configure(data_sets, *items))
    run = Training(config, tmp_path / "run", os.environ | compiled).at(4)
    processes = [*psutil.Process(run._process.pid).children(recursive=True)]
    assert len(processes) >= 2
    for process in [*processes, run]:  # as a terminal sends it
        (process.send if process is run else process.send_signal)(signal.SIGINT)
    status, out, err = run.end()
    assert status == 75, err
    assert out.startswith("stopped at step ")
    assert "Traceback" not in err
    assert not psutil.wait_procs(processes, timeout=30)[1]


@pytest.mark.slow
def test_a_run_stays_where_it_began_unless_it_is_told(data_sets, tmp_path, monkeypatch, capsys):
    config = configure(data_sets, "steps=1")
    train(config, tmp_path / "run")
    assert saved_config(tmp_path / "run" / "checkpoints").data.placement == "device"
    # Less memory than when it began: a placement chosen anew would be the host.
    monkeypatch.setattr("lnln_jax.training.runners._SHARE", 0.0)
    train(replace(config, steps=2), tmp_path / "run")
    assert saved_config(tmp_path / "run" / "checkpoints").data.placement == "device"
    capsys.readouterr()
    train(override(config, ["data.placement=host", "steps=3"]), tmp_path / "run")
    said = capsys.readouterr().err
    assert "data.placement was device and is host, which changes steps in rounding alone\n" in said
    train(config, tmp_path / "other")
    assert saved_config(tmp_path / "other" / "checkpoints").data.placement == "host"


@pytest.mark.slow
def test_a_run_on_other_images_is_refused(data_sets, tmp_path):
    config = configure(data_sets, "steps=1")
    train(config, tmp_path / "run")
    # Another dataset under the name of the first.
    other = tmp_path / "tfds" / "set5" / "x2-x3_120_60" / "1.0.0"
    shutil.copytree(data_sets / "set5" / "x2-x3_120_60" / "1.0.0", other)
    metadata = json.loads((other / "metadata.json").read_text())
    (other / "metadata.json").write_text(json.dumps(metadata | {"fingerprint": "another"}))
    changed = replace(config, data=replace(config.data, data_dir=str(tmp_path / "tfds")), steps=2)
    with pytest.raises(ValueError, match="the training images are not those"):
        train(changed, tmp_path / "run")
