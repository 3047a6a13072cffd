"""Tests of the training data: sources, the dead leaves model and the pipeline."""

import itertools
import json
import logging
import shutil

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image

from lnln_jax.data import (
    PairSource,
    dead_leaves,
    dead_leaves_pairs,
    load_folder,
    make_train_iterator,
    random_patch,
)
from lnln_jax.image import dihedral
from lnln_jax.image_files import read_rgb
from lnln_jax.resize import imresize

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
    made = load_folder(hr_root, scale=scale, min_lr_size=16)
    assert len(given) == len(made) == 5
    for pair, same_pair in zip(given, made, strict=True):
        np.testing.assert_array_equal(pair[0], same_pair[0])
        np.testing.assert_array_equal(pair[1], same_pair[1])


def test_lr_folder_with_div2k_names(data_dir, tmp_path):
    hr_root, lr_root = tmp_path / "hr", tmp_path / "lr"
    for split in ("train", "valid"):
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


def spectrum_slope(image):
    """Returns the slope of the power spectrum on logarithmic axes, averaged over directions."""
    grey = image.mean(-1) - image.mean()
    rows, columns = grey.shape
    window = np.hanning(rows)[:, None] * np.hanning(columns)
    power = np.abs(np.fft.fft2(grey * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    edges = np.geomspace(0.02, 0.4, 12)
    rings = [(low <= frequency) & (frequency < high) for low, high in itertools.pairwise(edges)]
    x = [np.log(frequency[ring].mean()) for ring in rings]
    y = [np.log(power[ring].mean()) for ring in rings]
    return np.polyfit(x, y, 1)[0]


def test_dead_leaves_is_deterministic():
    image = dead_leaves(np.random.default_rng(0), 64)
    assert image.dtype == np.uint8
    assert image.shape == (64, 64, 3)
    np.testing.assert_array_equal(image, dead_leaves(np.random.default_rng(0), 64))
    assert (image != dead_leaves(np.random.default_rng(1), 64)).mean() > 0.5
    assert dead_leaves(np.random.default_rng(0), (40, 72)).shape == (40, 72, 3)
    assert dead_leaves(np.random.default_rng(0), 1).shape == (1, 1, 3)


def test_dead_leaves_has_the_statistics_of_photographs():
    images = [dead_leaves(np.random.default_rng([5, i]), 192) for i in range(8)]
    assert -3.0 < np.mean([spectrum_slope(image) for image in images]) < -1.0
    for image in images:
        grey = image.mean(-1)
        assert grey.std() > 10
        steps = np.abs(np.diff(grey))
        assert (steps > 40).mean() > 0.005  # edges
        assert (steps < 4).mean() > 0.1  # and smooth regions
        correlation = np.corrcoef(image.reshape(-1, 3).T)
        assert correlation.min() > 0.3


def test_dead_leaves_has_no_hot_border():
    mean = np.mean([dead_leaves(np.random.default_rng([6, i]), 64) for i in range(40)], axis=0)
    border = np.concatenate([mean[:4].ravel(), mean[-4:].ravel()]).mean()
    assert abs(border - mean[28:36].mean()) < 16


@pytest.mark.parametrize("size", [0, (16, -1)])
def test_dead_leaves_refuses(size):
    with pytest.raises(ValueError, match="size must be positive"):
        dead_leaves(np.random.default_rng(0), size)


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


# --------------------------------------------------------------------------------------- pipeline


def coded_source(count, *, height=12, width=17, scale=2, first=0):
    """Images whose pixels tell where they are: row, column and image number in the channels.

    HR pixels hold the row and column of the LR pixel they belong to, so a patch must be equal to
    its LR patch with every pixel repeated `scale` times.
    """
    pairs = []
    for number in range(first, first + count):
        rows, columns = np.mgrid[:height, :width]
        lr = np.stack([rows, columns, np.full_like(rows, number)], -1).astype(np.uint8)
        pairs.append((lr, lr.repeat(scale, 0).repeat(scale, 1)))
    return PairSource(pairs, name=f"coded {first}", scale=scale)


def make(sources, **options):
    options = {"lr_patch_size": 6, "batch_size": 4, "seed": 0} | options
    return make_train_iterator(sources, **options)


def numbers(batches):
    """Returns the image numbers of the patches of some batches of `coded_source`."""
    return np.concatenate([batch["lr"][:, 0, 0, 2] for batch in batches]).tolist()


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        np.testing.assert_array_equal(batch["lr"], other["lr"])
        np.testing.assert_array_equal(batch["hr"], other["hr"])


@pytest.mark.parametrize("weights", [None, [1.0, 1.0]])
def test_batches_of_one(weights):
    sources = [coded_source(2), coded_source(2, first=2)]
    single = make(sources, batch_size=1, weights=weights)
    (pair,) = itertools.islice(make(sources, batch_size=2, weights=weights), 1)
    for i, batch in enumerate(itertools.islice(single, 2)):
        assert batch["hr"].shape == (1, 12, 12, 3)
        np.testing.assert_array_equal(batch["lr"], pair["lr"][i : i + 1])


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_patches_are_aligned_crops_in_eight_symmetries(scale):
    source = coded_source(5, scale=scale)
    seen = set()
    with_corners = set()
    for batch in itertools.islice(make([source], batch_size=8), 60):
        assert batch["lr"].shape == (8, 6, 6, 3)
        assert batch["hr"].shape == (8, 6 * scale, 6 * scale, 3)
        assert batch["lr"].dtype == batch["hr"].dtype == np.uint8
        np.testing.assert_array_equal(batch["hr"], batch["lr"].repeat(scale, 1).repeat(scale, 2))
        for patch in batch["lr"]:
            top, left, number = patch.min(axis=(0, 1))
            crop = source[number][0][top : top + 6, left : left + 6]
            found = [i for i in range(8) if np.array_equal(patch, dihedral(crop, i))]
            assert len(found) == 1
            seen.update(found)
            with_corners.add((top, left))
    assert seen == set(range(8))
    assert with_corners == set(itertools.product(range(12 - 6 + 1), range(17 - 6 + 1)))


def test_patch_of_a_photograph_is_the_aligned_slice(t91):
    lr, hr = load_folder(t91, scale=2, min_lr_size=24)[0]
    patch = random_patch((lr, hr), np.random.default_rng(3), lr_patch_size=24, scale=2)
    # Bicubic LR of the HR patch is the LR patch, but for the pixels whose kernel leaves the patch.
    np.testing.assert_array_equal(
        imresize(np.ascontiguousarray(patch["hr"]), 0.5)[2:-2, 2:-2], patch["lr"][2:-2, 2:-2]
    )


def test_image_of_exactly_the_patch_size():
    batch = next(make([coded_source(1, height=6, width=6)]))
    assert batch["lr"].shape == (4, 6, 6, 3)


def test_an_epoch_visits_every_image_once():
    sources = [coded_source(5), coded_source(3, height=30, first=5)]
    order = numbers(itertools.islice(make(sources, batch_size=4), 6))
    epochs = [order[:8], order[8:16], order[16:]]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_weights_set_the_shares_of_the_sources():
    sources = [coded_source(3), coded_source(3, first=3)]
    order = np.array(numbers(itertools.islice(make(sources, weights=[3, 1]), 48)))
    assert (order < 3).mean() == pytest.approx(0.75, abs=0.02)
    # Each source goes through epochs of its own, in its own order.
    small, other = order[order < 3], order[order >= 3] - 3
    assert all(sorted(epoch) == [0, 1, 2] for epoch in small[:144].reshape(-1, 3))
    assert small[:48].tolist() != other[:48].tolist()


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_batches_do_not_depend_on_threads(num_threads):
    sources = [coded_source(5), coded_source(4, first=5)]
    reference = list(itertools.islice(make(sources, weights=[1, 2]), 12))
    iterator = make(sources, weights=[1, 2], num_threads=num_threads, prefetch=5)
    assert_same(itertools.islice(iterator, 12), reference)


def test_seeds_give_different_streams():
    first, second = (next(make([coded_source(5)], seed=seed)) for seed in (0, 1))
    assert (first["lr"] != second["lr"]).any()


def test_resumes_from_the_middle():
    sources = [coded_source(5), coded_source(4, first=5)]
    iterator = make(sources)
    for _ in range(7):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    reference = [next(iterator) for _ in range(5)]
    resumed = make(sources, num_threads=0)
    resumed.set_state(state)
    assert_same([next(resumed) for _ in range(5)], reference)
    iterator.set_state(state)
    assert_same([next(iterator) for _ in range(5)], reference)


def test_resumes_through_orbax(tmp_path):
    iterator = make([coded_source(5)])
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        for _ in range(3):
            next(iterator)
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(iterator)))
        manager.wait_until_finished()
        reference = [next(iterator) for _ in range(3)]
        resumed = make([coded_source(5)])
        manager.restore(
            3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(resumed))
        )
        assert_same([next(resumed) for _ in range(3)], reference)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr_patch_size": 0}, "lr_patch_size must be at least 1"),
        ({"lr_patch_size": 13}, "lr_patch_size is 13.*side of 12"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"num_threads": -1}, "num_threads must be at least 0"),
        ({"prefetch": 0}, "prefetch must be at least 1"),
        ({"weights": [1, 1]}, "2 weights for 1 sources"),
        ({"weights": [0]}, "weights must be positive"),
    ],
)
def test_make_train_iterator_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        make([coded_source(2)], **options)


def test_make_train_iterator_refuses_sources():
    with pytest.raises(ValueError, match="sources is empty"):
        make([])
    with pytest.raises(ValueError, match=r"same scale.*x2.*x3"):
        make([coded_source(2), coded_source(2, scale=3)])
    with pytest.raises(ValueError, match="has no images"):
        make([PairSource([], name="nothing", scale=2)])
