"""Tests of training images in memory."""

import logging
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from lnln_jax.data import Degradation, PairSource, dead_leaves_pairs, degrade, load_folder
from lnln_jax.data.image_sets import ImageSet
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize

# ---------------------------------------------------------------------------------------- folders


@pytest.fixture
def t91(data_dir, tmp_path):
    """A folder with four images of T91, one of them in a sub-folder."""
    root = tmp_path / "images"
    (root / "more").mkdir(parents=True)
    for name in ("t1.png", "t10.png", "t11.png"):
        shutil.copy(data_dir / "T91" / name, root / name)
    shutil.copy(data_dir / "T91" / "t13.png", root / "more" / "t13.png")
    return root


def damage(root):
    """Adds files that cannot be used, and returns their names."""
    whole = (root / "t1.png").read_bytes()
    (root / "empty.png").write_bytes(b"")
    (root / "text.png").write_text("this is not an image\n")
    (root / "truncated.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (1, 1)).save(root / "more" / "dot.png")
    return {"empty.png", "text.png", "truncated.png", "dot.png"}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_load_folder_makes_aligned_pairs(t91, scale):
    source = load_folder(t91, scale=scale, min_lr_size=16)
    paths = [t91 / "more" / "t13.png", t91 / "t1.png", t91 / "t10.png", t91 / "t11.png"]
    assert len(source) == 4
    assert source.scale == scale
    assert source.name == str(t91)
    assert source.skipped == []
    for path, (lr, hr) in zip(paths, source, strict=True):
        whole = read_rgb(path)
        np.testing.assert_array_equal(hr, whole[: hr.shape[0], : hr.shape[1]])
        assert hr.shape[0] > whole.shape[0] - scale
        assert hr.shape == (scale * lr.shape[0], scale * lr.shape[1], 3)
        np.testing.assert_array_equal(lr, imresize(hr, 1 / scale))
        assert lr.dtype == hr.dtype == np.uint8


def test_load_folder_reads_every_format(t91, tmp_path):
    image = Image.open(t91 / "t1.png")
    for suffix in ("png", "jpg", "bmp", "webp", "tif"):
        (tmp_path / "formats").mkdir(exist_ok=True)
        image.save(tmp_path / "formats" / f"image.{suffix}")
    (tmp_path / "formats" / "notes.txt").write_text("ignored\n")
    assert len(load_folder(tmp_path / "formats", scale=2, min_lr_size=16)) == 5


def test_load_folder_stops_with_all_bad_images_listed(t91):
    names = damage(t91)
    with pytest.raises(ValueError, match="4 of the 8 images") as error:
        load_folder(t91, scale=2, min_lr_size=16)
    message = str(error.value)
    assert all(message.count(name) == 1 for name in names)
    assert "t10.png" not in message
    assert "1x1 pixels" in message
    assert 'data.on_bad_image="skip"' in message


def test_load_folder_skips_and_warns_once(t91, caplog):
    names = damage(t91)
    with caplog.at_level(logging.WARNING):
        source = load_folder(t91, scale=2, min_lr_size=16, on_bad_image="skip")
    assert len(source) == 4
    assert {path.name for path, _ in source.skipped} == names
    assert all(reason for _, reason in source.skipped)
    assert len(caplog.records) == 1
    assert all(name in caplog.text for name in names)


def test_load_folder_lists_at_most_twenty(tmp_path):
    for index in range(25):
        (tmp_path / f"{index:02}.png").write_bytes(b"")
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    with pytest.raises(ValueError, match="25 of the 26 images") as error:
        load_folder(tmp_path, scale=2, min_lr_size=16)
    message = str(error.value)
    assert "19.png" in message
    assert "20.png" not in message
    assert "and 5 more" in message


@pytest.mark.parametrize("on_bad_image", ["stop", "skip"])
def test_load_folder_without_one_good_image(tmp_path, on_bad_image):
    Image.new("RGB", (20, 90)).save(tmp_path / "narrow.png")
    with pytest.raises(
        ValueError, match=r"none of the 1 images(.|\n)*narrow.png.*20x90.*at least 32x32"
    ):
        load_folder(tmp_path, scale=2, min_lr_size=16, on_bad_image=on_bad_image)


def test_load_folder_missing_or_empty(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        load_folder(tmp_path / "nowhere", scale=2, min_lr_size=16)
    with pytest.raises(ValueError, match="no images in this folder"):
        load_folder(tmp_path, scale=2, min_lr_size=16)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file"):
        load_folder(tmp_path / "file", scale=2, min_lr_size=16)


def test_images_that_memory_cannot_hold_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    for name in ("a", "b"):
        Image.new("RGB", (100, 80)).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"damaged")
    needed = 2 * 100 * 80 * 3 * 5 // 4  # HR, and LR of x2
    options = {"scale": 2, "min_lr_size": 16, "on_bad_image": "skip"}
    assert len(load_folder(tmp_path, memory=needed, **options)) == 2
    monkeypatch.setattr(ImageSet, "read", None)
    with pytest.raises(
        ValueError, match=r"take 0\.0 GiB in memory, and 0\.0 GiB are free; take fe"
    ):
        load_folder(tmp_path, memory=needed - 1, **options)


@pytest.mark.parametrize("option", [{"scale": 0}, {"on_bad_image": "ignore"}])
def test_load_folder_refuses(tmp_path, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        load_folder(tmp_path, **{"scale": 2, "min_lr_size": 16, **option})


def test_load_folder_reports_progress(t91):
    calls = []
    load_folder(t91, scale=2, min_lr_size=16, progress=lambda *counts: calls.append(counts))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


# ------------------------------------------------------------------------------------- LR folders


@pytest.mark.parametrize("scale", [2, 3])
def test_lr_folder_of_matlab_equals_imresize(data_dir, scale):
    hr_root, lr_root = data_dir / "Set5" / "HR", data_dir / "Set5" / f"LRx{scale}"
    given = load_folder(hr_root, scale=scale, min_lr_size=16, lr_root=lr_root)
    made = load_folder(hr_root, scale=scale, min_lr_size=16, lr_root="imresize")
    assert len(given) == len(made) == 5
    for pair, same_pair in zip(given, made, strict=True):
        np.testing.assert_array_equal(pair[0], same_pair[0])
        np.testing.assert_array_equal(pair[1], same_pair[1])


def test_lr_folder_with_div2k_names(data_dir, tmp_path):
    hr_root, lr_root = tmp_path / "hr", tmp_path / "lr"
    for split in ("first", "second"):
        (hr_root / split).mkdir(parents=True)
        (lr_root / split).mkdir(parents=True)
        shutil.copy(data_dir / "Set5" / "HR" / "bird.png", hr_root / split / "0001.png")
        lr = Image.open(data_dir / "Set5" / "LRx2" / "bird.png")
        lr.save(lr_root / split / "0001x2.bmp")
    source = load_folder(hr_root, scale=2, min_lr_size=16, lr_root=lr_root)
    assert len(source) == 2
    np.testing.assert_array_equal(source[1][0], np.asarray(lr.convert("RGB")))


def test_lr_folder_prefers_the_same_suffix(t91, tmp_path):
    hr_root, lr_root = tmp_path / "hr", tmp_path / "lr"
    hr_root.mkdir()
    lr_root.mkdir()
    image = Image.open(t91 / "t1.png").crop((0, 0, 64, 64))
    image.save(hr_root / "a.png")
    image.resize((32, 32)).save(lr_root / "a.png")
    Image.new("RGB", (32, 32)).save(lr_root / "a.bmp")
    (lr, _) = load_folder(hr_root, scale=2, min_lr_size=16, lr_root=lr_root)[0]
    assert lr.any()
    (lr_root / "a.png").rename(lr_root / "a.tif")
    with pytest.raises(ValueError, match="several LR images"):
        load_folder(hr_root, scale=2, min_lr_size=16, lr_root=lr_root)


def test_lr_folder_of_another_size_or_without_the_image(data_dir, tmp_path):
    hr_root, lr_root = tmp_path / "hr", tmp_path / "lr"
    hr_root.mkdir()
    lr_root.mkdir()
    for name in ("bird.png", "head.png", "baby.png"):
        shutil.copy(data_dir / "Set5" / "HR" / name, hr_root / name)
    shutil.copy(data_dir / "Set5" / "LRx2" / "bird.png", lr_root)
    shutil.copy(data_dir / "Set5" / "LRx3" / "baby.png", lr_root)
    source = load_folder(hr_root, scale=2, min_lr_size=16, lr_root=lr_root, on_bad_image="skip")
    assert len(source) == 1
    reasons = {path.name: reason for path, reason in source.skipped}
    assert "170x170" in reasons["baby.png"]
    assert "256x256" in reasons["baby.png"]
    assert "headx2" in reasons["head.png"]


# ------------------------------------------------------------------------------------ PairSource


@pytest.mark.parametrize(
    ("lr_shape", "hr_shape", "dtype"),
    [
        ((8, 8, 3), (16, 18, 3), np.uint8),
        ((8, 8, 1), (16, 16, 1), np.uint8),
        ((8, 8, 3), (16, 16, 3), np.float32),
    ],
)
def test_pair_source_refuses(lr_shape, hr_shape, dtype):
    pair = np.zeros(lr_shape, np.uint8), np.zeros(hr_shape, dtype)
    with pytest.raises(ValueError, match="pair 0 of source 'x'"):
        PairSource([pair], name="x", scale=2)


# ------------------------------------------------------------------------------------ dead leaves


def test_dead_leaves_pairs():
    source = dead_leaves_pairs(3, size=50, scale=3, seed=1)
    assert [hr.shape for _, hr in source] == [(48, 48, 3)] * 3
    np.testing.assert_array_equal(source[0][0], imresize(source[0][1], 1 / 3))
    longer = dead_leaves_pairs(4, size=50, scale=3, seed=1)
    np.testing.assert_array_equal(source[2][1], longer[2][1])
    assert (source[0][1] != source[1][1]).any()
    with pytest.raises(ValueError, match="count"):
        dead_leaves_pairs(0, size=50, scale=3, seed=1)
    with pytest.raises(ValueError, match="seed"):
        dead_leaves_pairs(1, size=50, scale=3, seed=-1)


# ------------------------------------------------------------------------------------ the rest


def test_degraded_pairs(t91):
    degradation = Degradation("jpeg", jpeg_quality=20)
    folder = load_folder(t91, scale=2, min_lr_size=16, degradation=degradation)
    synthetic = dead_leaves_pairs(1, size=48, scale=3, seed=0, degradation=degradation)
    for source in (folder, synthetic):
        for lr, hr in source:
            np.testing.assert_array_equal(lr, degrade(hr, source.scale, degradation))
            assert (lr != imresize(hr, 1 / source.scale)).any()


def test_identity_and_sizes_of_a_source(t91):
    source = load_folder(t91, scale=2, min_lr_size=16)
    sides = [lr.shape[:2] for lr, _ in source]
    assert source.smallest == min(map(min, sides))
    assert source.largest == tuple(max(axis) for axis in zip(*sides, strict=True))
    assert source.identity == load_folder(t91, scale=2, min_lr_size=16).identity
    changed = [(lr.copy(), hr.copy()) for lr, hr in source]
    changed[1][0][3, 4, 0] ^= 1
    assert PairSource(changed, name="x", scale=2).identity != source.identity


def test_a_pickled_source_shares_its_pixels(t91):
    source = load_folder(t91, scale=3, min_lr_size=16)
    expected = [(lr.copy(), hr.copy()) for lr, hr in source]
    message = pickle.dumps(source)
    assert len(message) < 2000
    other = pickle.loads(message)
    assert (other.name, other.scale, len(other)) == (source.name, 3, 4)
    for mine, theirs, pair in zip(source, other, expected, strict=True):
        for image, same, original in zip(mine, theirs, pair, strict=True):
            np.testing.assert_array_equal(image, original)
            np.testing.assert_array_equal(same, original)
    source[0][0][0, 0] = 255 - source[0][0][0, 0]  # the same bytes, not a copy
    np.testing.assert_array_equal(other[0][0][0, 0], source[0][0][0, 0])
