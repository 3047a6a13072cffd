"""Folders of test images: the layouts of the collections in use, and what is wrong with others."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize

RNG = np.random.default_rng(0)


def save(path: Path, height: int, width: int) -> np.ndarray:
    """Writes a smooth random picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = RNG.integers(0, 256, (-(-height // 4), -(-width // 4), 3), np.uint8)
    image = imresize(small, 4)[:height, :width]
    Image.fromarray(image).save(path)
    return image


def lr_of(data_dir: Path, name: str, scale: int) -> np.ndarray:
    return read_rgb(data_dir / "Set5" / f"LRx{scale}" / f"{name}.png")


# ---- layouts ----


def test_lr_files_and_imresize_are_the_same_images(published_dir):
    files = open_benchmark(published_dir / "Set5", 4)
    made = open_benchmark(published_dir / "Set5", 4, lr="imresize")
    assert (files.name, files.folder) == ("Set5", published_dir / "Set5" / "HR")
    assert (len(files), files.lr_origin()) == (5, "files in LRx4")
    assert made.lr_origin() == "made from HR by imresize (symmetric border)"
    assert made.lr_origin("replicate").endswith("(replicate border)")
    for from_file, from_hr in zip(files, made, strict=True):
        assert from_file.name == from_hr.name
        np.testing.assert_array_equal(from_file.lr, from_hr.lr)
        np.testing.assert_array_equal(from_file.hr, from_hr.hr)
    inside = open_benchmark(published_dir / "Set5" / "HR", 4)
    assert inside == files
    alone = open_benchmark(published_dir / "Set5" / "HR", 4, lr="imresize")
    assert (alone.name, alone.folder, alone.names) == (made.name, made.folder, made.names)
    given = open_benchmark(published_dir / "Set5", 4, lr=published_dir / "Set5" / "LRx4")
    for other in (alone, given):
        for image, same in zip(other, made, strict=True):
            np.testing.assert_array_equal(image.lr, same.lr)


@pytest.mark.parametrize("mark", ["x2", "X2", ""])
def test_hr_beside_lr_bicubic(data_dir, tmp_path, mark):
    shutil.copytree(data_dir / "Set5" / "HR", tmp_path / "Set5" / "HR")
    lr = tmp_path / "Set5" / "LR_bicubic" / "X2"
    lr.mkdir(parents=True)
    for path in (data_dir / "Set5" / "LRx2").iterdir():
        shutil.copy(path, lr / f"{path.stem}{mark}.png")
    benchmark = open_benchmark(tmp_path / "Set5", 2)
    assert benchmark.lr_origin() == "files in LR_bicubic/X2"
    assert benchmark.names == ["baby", "bird", "butterfly", "head", "woman"]
    for image in benchmark:
        np.testing.assert_array_equal(image.lr, lr_of(data_dir, image.name, 2))


def test_div2k(data_dir, tmp_path):
    pairs = {"0801": "head", "0802": "woman"}
    hr, lr = tmp_path / "DIV2K_valid_HR", tmp_path / "DIV2K_valid_LR_bicubic" / "X4"
    hr.mkdir()
    lr.mkdir(parents=True)
    for number, name in pairs.items():
        shutil.copy(data_dir / "Set5" / "HR" / f"{name}.png", hr / f"{number}.png")
        shutil.copy(data_dir / "Set5" / "LRx4" / f"{name}.png", lr / f"{number}x4.png")
    benchmark = open_benchmark(hr, 4)
    assert (benchmark.name, benchmark.names) == ("DIV2K_valid_HR", ["0801", "0802"])
    assert benchmark.lr_origin() == "files in DIV2K_valid_LR_bicubic/X4"
    for image in benchmark:
        np.testing.assert_array_equal(image.lr, lr_of(data_dir, pairs[image.name], 4))
    assert open_benchmark(hr, 2).lr_folder == ""
    assert open_benchmark(tmp_path, 4) == benchmark

    for degradation in ("unknown", "mild", "x8"):
        save(tmp_path / f"DIV2K_valid_LR_{degradation}" / "X4" / "0801x4d.png", 40, 40)
    assert open_benchmark(tmp_path, 4) == benchmark
    assert open_benchmark(tmp_path, 2) == open_benchmark(hr, 2)
    save(tmp_path / "DIV2K_train_HR" / "0001.png", 40, 40)
    assert open_benchmark(tmp_path, 4) == benchmark
    save(tmp_path / "DIV2K_test_HR" / "0901.png", 40, 40)
    with pytest.raises(ValueError, match=r"several .*HR images; give one of them: DIV2K_test_HR, "):
        open_benchmark(tmp_path, 4)
    assert open_benchmark(hr, 4) == benchmark


@pytest.mark.parametrize("name", ["LR_unknown/X2", "LRx2", "LR", "LR_bicubic/X4", "old_LR_mild"])
def test_folders_of_lr_images_hold_no_hr_images(tmp_path, name):
    hr = save(tmp_path / "photos" / "a.png", 40, 40)
    save(tmp_path / name / "b.png", 20, 20)
    benchmark = open_benchmark(tmp_path, 3)
    assert benchmark.names == ["a"]
    np.testing.assert_array_equal(benchmark.image("a").hr, hr[:39, :39])


def test_self_ex_sr(data_dir, tmp_path):
    folder = tmp_path / "Set5" / "image_SRF_2"
    folder.mkdir(parents=True)
    for i, name in enumerate(("bird", "woman"), start=1):
        hr = modcrop(read_rgb(data_dir / "Set5" / "HR" / f"{name}.png"), 2)
        for kind, image in {
            "HR": hr,
            "LR": imresize(hr, 1 / 2, border="replicate"),
            "bicubic": imresize(imresize(hr, 1 / 2), 2),
            "SRCNN": hr,
        }.items():
            Image.fromarray(image).save(folder / f"img_00{i}_SRF_2_{kind}.png")
    for given in (folder, folder.parent):
        benchmark = open_benchmark(given, 2)
        assert (benchmark.name, benchmark.names) == ("Set5", ["img_001", "img_002"])
        assert benchmark.lr_origin() == "files in image_SRF_2"
    made = open_benchmark(folder.parent, 2, lr="imresize")
    for file, image in zip(benchmark, made.images("replicate"), strict=True):
        np.testing.assert_array_equal(file.lr, image.lr)
        np.testing.assert_array_equal(file.hr, image.hr)
    for file, image in zip(benchmark, made, strict=True):
        assert not np.array_equal(file.lr, image.lr)

    for given in (folder, folder.parent):
        with pytest.raises(ValueError, match=r"no HR images of x4, only of x2, in image_SRF_2; "):
            open_benchmark(given, 4)
    (folder / "img_002_SRF_2_LR.png").unlink()
    with pytest.raises(ValueError, match="image_SRF_2 has no LR image for img_002; add them"):
        open_benchmark(folder, 2)


def test_odd_sizes_are_cropped_and_folders_searched(tmp_path):
    original = save(tmp_path / "a" / "odd name.bmp", 25, 34)
    save(tmp_path / "plain.png", 24, 24)
    odd, plain = open_benchmark(tmp_path, 3)
    assert (odd.name, plain.name) == ("odd name", "plain")
    np.testing.assert_array_equal(odd.hr, original[:24, :33])
    np.testing.assert_array_equal(odd.lr, imresize(original[:24, :33], 1 / 3))


def test_lr_beside_hr_without_a_folder_of_its_own(tmp_path):
    hr = [save(tmp_path / f"{name}.png", 40, 32) for name in "ab"]
    for name, image in zip("ab", hr, strict=True):
        lr = tmp_path / "LRx2" / f"{name}.png"
        lr.parent.mkdir(exist_ok=True)
        Image.fromarray(imresize(image, 1 / 2)).save(lr)
    benchmark = open_benchmark(tmp_path, 2)
    assert [image.name for image in benchmark] == ["a", "b"]  # LR images are no HR images
    assert benchmark.lr_origin() == "files in LRx2"


def test_the_folder_gives_the_name(tmp_path, monkeypatch):
    save(tmp_path / "real" / "x.png", 20, 20)
    (tmp_path / "Set5").symlink_to("real")
    assert open_benchmark(tmp_path / "Set5", 2).name == "Set5"
    monkeypatch.chdir(tmp_path / "real")
    assert open_benchmark(".", 2).name == "real"


# ---- images ----


def test_hr_is_read_as_the_training_reads_it(data_dir):
    for image in open_benchmark(data_dir / "Set14", 2):
        path = data_dir / "Set14" / "HR" / f"{image.name}.png"
        np.testing.assert_array_equal(image.hr, modcrop(read_rgb(path), 2))
        assert image.gray == (image.name == "bridge")


def test_in_memory_is_read_once(tmp_path):
    save(tmp_path / "x.png", 20, 20)
    held = open_benchmark(tmp_path, 2).in_memory()
    replicated = next(held.images("replicate"))
    (tmp_path / "x.png").unlink()
    (image,) = held
    assert (len(held), image.name) == (1, "x")
    assert not np.array_equal(image.lr, replicated.lr)  # which is not what is in memory


def test_one_image(data_dir):
    benchmark = open_benchmark(data_dir / "Set5", 2)
    image = benchmark.image("head")
    np.testing.assert_array_equal(image.lr, lr_of(data_dir, "head", 2))
    with pytest.raises(ValueError, match="Set5 has no image 'heads'; it has baby, bird"):
        benchmark.image("heads")


# ---- what is wrong ----


def test_unusable_folders_say_why(tmp_path):
    with pytest.raises(ValueError, match=r"no folder or .*nowhere, nor a dataset of .*; give"):
        open_benchmark(tmp_path / "nowhere", 2)
    with pytest.raises(ValueError, match="no images in this folder or its sub-folders; expected"):
        open_benchmark(tmp_path, 2)
    save(tmp_path / "LRx2" / "x.png", 20, 20)
    with pytest.raises(ValueError, match="LR images alone, in LRx2; give a folder of HR images"):
        open_benchmark(tmp_path, 2)
    save(tmp_path / "x.png", 40, 40)
    with pytest.raises(ValueError, match="files: cannot be listed"):
        open_benchmark(tmp_path, 2, lr="files")


def test_lr_files_must_be_there_and_fit(tmp_path):
    for name in ("one", "two"):
        hr = save(tmp_path / "HR" / f"{name}.png", 33, 40)
    save(tmp_path / "LRx2" / "three.png", 16, 20)
    with pytest.raises(
        ValueError, match=r"LRx2 has no LR image for one, two; add them, .* lr=\"imr"
    ):
        open_benchmark(tmp_path, 2)

    lr = imresize(modcrop(hr, 2), 0.5)
    Image.fromarray(lr).save(tmp_path / "LRx2" / "one.bmp")  # formats may differ
    Image.fromarray(lr[:, 1:]).save(tmp_path / "LRx2" / "two.png")
    images = iter(open_benchmark(tmp_path, 2))
    np.testing.assert_array_equal(next(images).lr, lr)
    with pytest.raises(ValueError, match=r"two\.png is 19x16 .* x2 of two\.png needs 20x16; .*lr="):
        next(images)

    assert len(list(open_benchmark(tmp_path, 2, lr="imresize"))) == 2
    assert open_benchmark(tmp_path, 3).lr_folder == ""  # no LRx3


def test_names_must_tell_images_apart(tmp_path):
    for folder in ("one", "two"):
        save(tmp_path / folder / "same.png", 20, 20)
    with pytest.raises(ValueError, match="several images of one name: same"):
        open_benchmark(tmp_path, 2)


def test_damaged_and_tiny_files_are_named(tmp_path):
    save(tmp_path / "good.png", 24, 24)
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"broken\.png: cannot be read"):
        list(open_benchmark(tmp_path, 2))
    save(tmp_path / "broken.png", 3, 24)
    with pytest.raises(ValueError, match=r"broken\.png is 24x3 pixels, too small for x4"):
        list(open_benchmark(tmp_path, 4))
