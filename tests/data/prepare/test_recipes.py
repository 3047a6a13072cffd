"""Tests of building datasets: from real images and damaged ones, through interruptions."""

import io
import json
import os
import shutil
import sys
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lnln_jax.data.degradations import Degradation
from lnln_jax.data.prepare.shards import BadImageError
from lnln_jax.data.prepare.sub_images import Cut, sub_images
from lnln_jax.data.records import RecordSource, find_dataset
from lnln_jax.images.arrays import modcrop
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize
from tests.support.prepared import (
    CUT,
    build,
    contents,
    copy_images,
    find_unfinished,
)


@pytest.fixture(scope="module")
def images(data_dir, tmp_path_factory):
    return copy_images(data_dir, tmp_path_factory.mktemp("images"), 9)


@pytest.fixture(scope="module")
def prepared(images, tmp_path_factory):
    return build(images, tmp_path_factory.mktemp("tfds"), license="for tests", citation="@none")


# ---- what is built ----


def test_tfds_reads_it_without_tensorflow(prepared, images):
    assert "tensorflow" not in sys.modules
    builder = tfds.builder_from_directory(prepared.folder)
    info = builder.info
    assert (builder.name, str(builder.version)) == ("photos", "1.0.0")
    assert (info.citation, info.redistribution_info.license) == ("@none", "for tests")
    assert (prepared.folder / "LICENSE").read_text() == "for tests"
    assert set(info.features) == {"hr", "lr_x2", "lr_x3", "image", "top", "left"}
    assert {split: s.num_examples for split, s in info.splits.items()} == prepared.examples
    assert prepared.size == sum(path.stat().st_size for path in prepared.folder.iterdir())

    paths = sorted(images.rglob("*.jpg"))
    held_out = paths[2::4]
    assert [p.relative_to(images).as_posix() for p in held_out] == [
        example["image"].decode() for example in builder.as_data_source(split="validation")
    ]
    expected = [
        (path, part)
        for path in paths
        if path not in held_out
        for part in sub_images(read_rgb(path), CUT)
    ]
    records = builder.as_data_source(split="train")
    assert len(records) == len(expected) == prepared.examples["train"]
    for record, (path, part) in zip(records, expected, strict=True):
        assert record["image"].decode() == path.relative_to(images).as_posix()
        assert (record["top"], record["left"]) == (part.top, part.left)
        np.testing.assert_array_equal(record["hr"], part.hr, strict=True)
        for scale in (2, 3):
            np.testing.assert_array_equal(record[f"lr_x{scale}"], part.lr[scale], strict=True)
    for record, path in zip(builder.as_data_source(split="validation"), held_out, strict=True):
        hr = read_rgb(path)
        np.testing.assert_array_equal(record["hr"], hr)
        np.testing.assert_array_equal(record["lr_x3"], imresize(modcrop(hr, 3), 1 / 3))


def test_the_number_of_processes_changes_nothing(prepared, images, tmp_path):
    again = build(images, tmp_path, license="for tests", citation="@none", workers=2)
    assert contents(again.folder) == contents(prepared.folder)


def test_the_name_of_div2k_is_a_name_like_others(data_dir, tmp_path):
    for count, refused in ((2, False), (3, True)):
        folder = copy_images(data_dir, tmp_path / f"images{count}", count)
        with pytest.raises(ValueError, match="of other images") if refused else nullcontext():
            build(folder, tmp_path / "tfds", "div2k_sub")


def test_folders_of_splits_are_the_splits(images, tmp_path):
    folder = tmp_path / "images"
    paths = sorted(images.rglob("*.jpg"))
    for split, chosen in (("train", paths[:2]), ("validation", paths[:1])):
        (folder / split).mkdir(parents=True)
        for path in chosen:
            shutil.copy(path, folder / split)
    prepared = build(folder, tmp_path / "tfds")
    assert prepared.examples["validation"] == 1
    source = RecordSource(prepared.folder, scale=2, split="validation")
    assert source.image_name(0) == f"validation/{paths[0].name}"


def test_div2k_as_it_is_unpacked(images, tmp_path, caplog):
    folder = tmp_path / "DIV2K"
    for split, path in zip(
        ("train", "train", "valid"), sorted(images.rglob("*.jpg")), strict=False
    ):
        hr = read_rgb(path)
        for name, image in (("HR", hr), ("LR_bicubic/X2", 255 - imresize(modcrop(hr, 2), 0.5))):
            target = folder / f"DIV2K_{split}_{name}" / f"{path.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(target)
    prepared = build(folder, tmp_path / "tfds", cut=Cut((2,), 120, 120, 96))
    assert "LR images are made from HR, and not taken from DIV2K_train_LR_bicubic/X2" in caplog.text
    assert prepared.left_out == {}
    for split, count in (("train", 2), ("validation", 1)):
        source = RecordSource(prepared.folder, scale=2, split=split)
        names = {source.image_name(i) for i in range(len(source))}
        assert len(names) == count
        assert {name.split("_")[-1].split("/")[0] for name in names} == {"HR"}
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", folder)
    zipped = build(Path(archive), tmp_path / "zip", cut=Cut((2,), 120, 120, 96))
    assert zipped.examples == prepared.examples


def test_degraded_lr_images(images, tmp_path):
    degradation = Degradation("dn", noise_level=15)
    cut = Cut((2,), 120, 120, 96, degradation)
    first = build(images, tmp_path / "a", cut=cut, workers=2)
    assert first.folder.parent.name == "x2_120_120_dn15"
    again = build(images, tmp_path / "b", cut=cut)
    assert contents(first.folder) == contents(again.folder)  # the noise too
    assert RecordSource(first.folder, scale=2).degradation == degradation


def test_a_dataset_that_is_there_is_left_alone(prepared, images):
    before = contents(prepared.folder)
    again = build(images, prepared.folder.parents[2], license="for tests")
    assert again.examples == prepared.examples
    assert contents(prepared.folder) == before


def test_another_dataset_of_the_same_name_is_refused(prepared, data_dir, tmp_path):
    other = copy_images(data_dir, tmp_path / "images", 2)
    before = contents(prepared.folder)
    with pytest.raises(ValueError, match=r"of other images or settings; choose another name"):
        build(other, prepared.folder.parents[2])
    assert contents(prepared.folder) == before


# ---- images that can't be used ----


def damaged_images(data_dir: Path, folder: Path) -> dict[str, str]:
    """Good images beside bad ones; returns what is to be said of the bad ones."""
    whole = (data_dir / "Set5" / "HR" / "bird.png").read_bytes()
    photo = Image.open(io.BytesIO(whole)).convert("RGB")
    folder.mkdir()
    shutil.copy(data_dir / "Set5" / "HR" / "bird.png", folder / "good.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("no image\n")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (folder / "flipped_bit.png").write_bytes(flipped)
    frames = [photo.rotate(angle) for angle in (0, 90)]
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:])
    (folder / "link.png").symlink_to(folder / "nowhere")
    shutil.copy(folder / "good.png", os.fsencode(folder / "name") + b"\xff.png")
    header = bytearray(whole[:64])
    header[16:24] = (200_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (folder / "huge_header.png").write_bytes(header)
    # What may look bad and isn't:
    photo.save(folder / "wrong_extension.png", "JPEG")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    gray = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    Image.fromarray(gray).save(folder / "gray16.png")
    return {
        "empty.png": "zero bytes",
        "truncated.png": "cannot be read",
        "text.png": "not an image of a known format",
        "dot.png": "1x1 pixels",
        "flipped_bit.png": "cannot be read",
        "animated.webp": "animated",
        "huge_header.png": "exceeds",
        "link.png": "No such file",
    }


def test_bad_images_are_named_at_the_end(data_dir, tmp_path):
    bad = damaged_images(data_dir, tmp_path / "images")
    prepared = build(tmp_path / "images", tmp_path / "tfds", validation_every=0)
    assert set(prepared.left_out) == set(bad)
    for name, reason in bad.items():
        assert reason in prepared.left_out[name]
        assert not prepared.left_out[name].startswith(name)
    assert list(prepared.examples) == ["train"]
    source = RecordSource(prepared.folder, scale=2)
    names = [source.image_name(i) for i in range(len(source))]
    assert set(names) == {
        "good.png",
        "wrong_extension.png",
        "cmyk.jpg",
        "palette.png",
        "gray16.png",
        r"name\xff.png",
    }
    gray = read_rgb(tmp_path / "images" / "gray16.png")
    np.testing.assert_array_equal(source[names.index("gray16.png")][1], gray[:120, :120])
    assert json.loads((prepared.folder / "metadata.json").read_text())["left_out"].keys() == set(
        bad
    )
    again = build(tmp_path / "images", tmp_path / "tfds", validation_every=0)
    assert again.left_out == prepared.left_out  # it is said again


@pytest.mark.parametrize("workers", [1, 2])
def test_the_build_stops_at_a_bad_image_and_goes_on_when_it_is_mended(data_dir, tmp_path, workers):
    folder = copy_images(data_dir, tmp_path / "images", 40)
    bad = sorted(folder.rglob("*.jpg"))[-1]
    whole = bad.read_bytes()
    bad.write_bytes(b"")
    with pytest.raises(BadImageError, match=f"{bad.name}: cannot be read"):
        build(folder, tmp_path / "tfds", on_bad_image="stop", workers=workers)
    assert find_unfinished(tmp_path / "tfds") == [True]
    with pytest.raises(ValueError, match="is not complete; run the `lnln prepare` that began"):
        find_dataset("photos", 2, tmp_path / "tfds")
    made = {path: path.stat().st_ino for path in (tmp_path / "tfds").rglob("train-*")}
    bad.write_bytes(whole)
    prepared = build(folder, tmp_path / "tfds", on_bad_image="stop")
    assert prepared.left_out == {}
    assert find_unfinished(tmp_path / "tfds") == []
    kept = {path.stat().st_ino for path in prepared.folder.iterdir()}
    files = [inode for path, inode in made.items() if path.suffix != ".json"]
    assert files
    assert len(kept.intersection(files)) >= len(files) - 1  # all but the last, if it was there


def test_images_none_of_which_can_be_used(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the images for training .* a.png: .*zero byte"):
        build(tmp_path / "images", tmp_path / "tfds")
    assert find_dataset("photos", 2, tmp_path / "tfds") is None
    assert find_unfinished(tmp_path / "tfds") == []


def test_images_beside_those_of_the_splits(images, tmp_path):
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        shutil.copy(sorted(images.rglob("*.jpg"))[0], tmp_path / split)
    shutil.copy(sorted(images.rglob("*.jpg"))[1], tmp_path / "beside.jpg")
    with pytest.raises(ValueError, match=r"images beside them, such as beside\.jpg"):
        build(tmp_path, tmp_path / "tfds")


def test_a_damaged_dataset_in_its_place(prepared, images, tmp_path):
    copy = tmp_path / "photos" / CUT.label / "1.0.0"
    shutil.copytree(prepared.folder, copy)
    for damage in (lambda path: path.write_text("{"), Path.unlink):
        damage(copy / "metadata.json")
        with pytest.raises(ValueError, match=r"is not a dataset of `lnln prepare`, or is damaged"):
            build(images, tmp_path)


def test_an_unfinished_dataset_of_other_images_is_kept(data_dir, tmp_path):
    images = copy_images(data_dir, tmp_path / "images", 20)
    (images / "zz.png").write_bytes(b"")
    with pytest.raises(BadImageError):
        build(images, tmp_path / "tfds", on_bad_image="stop")
    done = sorted((tmp_path / "tfds").rglob("*.json"))
    assert done
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(data_dir / "Set5" / "HR" / "bird.png", other)
    with pytest.raises(ValueError, match="is an unfinished dataset of other images or settings"):
        build(other, tmp_path / "tfds")
    assert sorted((tmp_path / "tfds").rglob("*.json")) == done


@pytest.mark.parametrize("name", ["Photos", "my-photos", "2photos", "", "a/b"])
def test_names_that_tfds_cannot_use(images, tmp_path, name):
    with pytest.raises(ValueError, match="name is"):
        build(images, tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_no_folder_and_an_empty_one(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        build(tmp_path / "nowhere", tmp_path / "tfds")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no images in this folder"):
        build(tmp_path / "empty", tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


# ---- the disk ----


def test_free_space_is_looked_at_first(images, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**26 + 1000))
    with pytest.raises(OSError, match=r"not enough space in .*GB are needed and 0\.07 GB are free"):
        build(images, tmp_path)
    assert find_unfinished(tmp_path) == []
