"""The benchmark of training data: what its modes deliver, and the script at toy size."""

import argparse
import json
import random

import numpy as np
import pytest

from lnln_jax.images.arrays import inverse_dihedral
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize
from scripts.benchmarks import data, data_sides
from tests.support.checkout import run_script

pytest.importorskip("torch", reason="nothing to compare with: install the torch extra")

CONFIG = """
from lnln_jax.config import DataConfig, ModelConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig("vdsr", options={"n_layers": 3, "n_feats": 4}),
    data=DataConfig(lr_patch_size=8, batch_size=2),
)
"""


@pytest.fixture(scope="module")
def results(data_dir, tmp_path_factory):
    """What the script writes of five images: the JSON, and the lines of the Markdown."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "tiny.py").write_text(CONFIG)
    arguments = (
        *("--images", data_dir / "Set5" / "HR", "--mosaic", "300x200", "--count", 3),
        *("--lr-patch-size", 12, "--batch", 4, "--workers", 1, "--rounds", 2, "--seconds", 0.1),
        *("--networks", folder / "tiny.py", "--output", folder),
    )
    done = run_script("benchmarks.data", *arguments)
    assert done.returncode == 0, done.stderr
    report = (folder / "data.md").read_text()
    assert report in done.stdout
    return json.loads((folder / "data.json").read_text()), report


@pytest.mark.slow
def test_every_mode_has_a_row_with_rates(results):
    rows = results[0]["host"]
    assert [(row["mode"], row["workers"]) for row in rows] == [
        (mode, 1) for mode in data_sides.MODES
    ]
    for row in rows:
        for key in ("patches_per_second", "patches_per_cpu_second", "cpu_seconds_per_1000"):
            assert len(row[key]) == 2
            assert min(row[key]) > 0
        product = np.multiply(row["patches_per_cpu_second"], row["cpu_seconds_per_1000"])
        np.testing.assert_allclose(product, 1000)


@pytest.mark.slow
def test_ratios_are_to_the_data_loader_in_the_same_round(results):
    baseline, *others = results[0]["host"]
    assert baseline["ratio_by_time"] == baseline["ratio_by_core"] == [1, 1]
    for row in others:
        for ratio, rate in (
            ("ratio_by_time", "patches_per_second"),
            ("ratio_by_core", "patches_per_cpu_second"),
        ):
            np.testing.assert_allclose(np.multiply(row[ratio], baseline[rate]), row[rate])


@pytest.mark.slow
def test_steps_with_and_without_cutting(results):
    (row,) = results[0]["device"]
    assert (row["network"], row["batch"], row["lr_patch_size"]) == ("tiny", 2, 8)
    constant, resident, cut = (np.array(row[f"{k}_ms"]) for k in ("constant", "resident", "cut"))
    assert constant.shape == resident.shape == cut.shape == (2,)
    assert min(*constant, *resident, *cut, *row["plan_ms"]) > 0
    np.testing.assert_allclose(row["difference_percent"], 100 * (resident - constant) / constant)
    np.testing.assert_allclose(row["cut_percent"], 100 * cut / constant)


@pytest.mark.slow
def test_report_agrees_with_the_numbers(results):
    numbers, report = results
    assert report == data.to_markdown(numbers)
    assert numbers["command"] in report
    assert "3 images (mosaics of HR), 300x200 to 300x200 pixels" in report
    assert "stand in for DIV2K's images" in report
    built = numbers["built"]
    assert min(built["sub_images"], built["bytes"], built["seconds"]) > 0
    assert f"The dataset: {built['sub_images']} sub-images" in report
    for row in numbers["host"]:
        low, high = sorted(row["patches_per_second"])
        cell = f"{(low + high) / 2:.0f} ({low:.0f}-{high:.0f})"
        assert f"| 1 | {row['mode']} | {cell} |" in report


@pytest.fixture(scope="module")
def job(data_dir, tmp_path_factory):
    images = [data_dir / "Set5" / "HR"]
    args = argparse.Namespace(
        images=images, mosaic=None, count=None, scale=2, lr_patch_size=16, batch=4
    )
    return data_sides.make_job(args, tmp_path_factory.mktemp("job"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", data_sides.MODES)
def test_modes_deliver_pairs(job, mode):
    batches = data_sides.open_batches(job, mode, 0)
    batch = {key: np.asarray(patches) for key, patches in next(batches).items()}
    batches.close()
    if mode == data_sides.BASELINE:
        assert {patches.dtype.name for patches in batch.values()} == {"float32"}
        batch = {k: v.transpose(0, 2, 3, 1).astype(np.uint8) for k, v in batch.items()}
    assert batch["lr"].shape == (4, 16, 16, 3)
    assert batch["hr"].shape == (4, 32, 32, 3)
    for lr, hr in zip(batch["lr"], batch["hr"], strict=True):
        again = imresize(hr, 0.5).astype(np.float64)
        inside = slice(4, -4)  # where bicubic interpolation sees nothing of the border
        difference = again[inside, inside] - lr[inside, inside]
        assert np.abs(difference).max() <= 1


@pytest.mark.slow
def test_binary_files_take_patches_in_all_symmetries(job):
    dataset = data_sides.BinaryFiles(job)
    image = read_rgb(min(job.hr.iterdir()))
    random.seed(0)
    seen = set()
    for _ in range(32):
        patch = dataset[0]["hr"].numpy().transpose(1, 2, 0)
        found = [index for index in range(8) if is_inside(inverse_dihedral(patch, index), image)]
        assert found, "a patch that isn't in the image"
        seen.update(found)
    assert seen == set(range(8))


def is_inside(patch, image):
    side = len(patch)
    places = np.argwhere((image == patch[0, 0]).all(axis=-1)).tolist()
    return any(np.array_equal(image[y : y + side, x : x + side], patch) for y, x in places)


def test_mosaics_are_made_of_whole_pixels():
    images = [np.full((4, 6, 3), value, np.uint8) for value in (1, 2, 3, 4)]
    images[1] = np.full((6, 4, 3), 2, np.uint8)  # stands, and is laid down
    first = next(data_sides.mosaics(iter(images), 9, 7))
    assert first.shape == (7, 9, 3)
    np.testing.assert_array_equal(first[[0, 0, 6, 6], [0, 8, 0, 8], 0], [1, 2, 3, 4])


def test_no_images_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    args = argparse.Namespace(
        images=[tmp_path / "empty"], mosaic=None, count=None, scale=2, lr_patch_size=8, batch=2
    )
    with pytest.raises(SystemExit, match="--images: no images of 16x16 pixels or more in"):
        data_sides.make_job(args, tmp_path)
