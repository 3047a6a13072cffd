"""Tests of reading datasets by random access."""

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lnln_jax.data.batches import make_train_iterator
from lnln_jax.data.degradations import Degradation
from lnln_jax.data.prepare.recipes import prepare_folder
from lnln_jax.data.prepare.sub_images import Cut, sub_images
from lnln_jax.data.records import RecordSource, default_data_dir, find_dataset
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize
from lnln_jax.runtime.extras import MissingExtraError

CUT = Cut((2, 3), size=120, step=60, min_side=96)


@pytest.fixture(scope="module")
def datasets(data_dir, tmp_path_factory):
    """A folder of TFDS with "set5", whose validation images are bird and woman."""
    root = tmp_path_factory.mktemp("tfds")
    folder = data_dir / "Set5" / "HR"
    prepare_folder(folder, "set5", cut=CUT, data_dir=root, validation_every=3)
    return root


@pytest.fixture
def folder(datasets):
    return datasets / "set5" / CUT.label / "1.0.0"


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("cache_bytes", [0, 200_000, 2**30])
def test_pairs_are_those_that_were_cut(folder, data_dir, scale, cache_bytes):
    source = RecordSource(folder, scale=scale, cache_bytes=cache_bytes)
    paths = [data_dir / "Set5" / "HR" / f"{name}.png" for name in ("baby", "butterfly", "head")]
    expected = [part for path in paths for part in sub_images(read_rgb(path), CUT)]
    assert len(source) == len(expected)
    order = np.random.default_rng(0).permutation(len(source)).tolist()
    for index in order + order:  # the second time from the cache
        lr, hr = source[index]
        np.testing.assert_array_equal(hr, expected[index].hr, strict=True)
        np.testing.assert_array_equal(lr, expected[index].lr[scale], strict=True)
    assert source.smallest == min(min(part.lr[scale].shape[:2]) for part in expected)
    assert source.largest == (120 // scale, 120 // scale)
    with pytest.raises(IndexError):
        source[len(source)]


def test_pillow_reads_the_same(folder, monkeypatch):
    quick = RecordSource(folder, scale=2, cache_bytes=0)
    expected = [quick.read(i) for i in range(len(quick))]
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for pair, same in zip(map(quick.read, range(len(quick))), expected, strict=True):
        for image, other in zip(pair, same, strict=True):
            np.testing.assert_array_equal(image, other, strict=True)


def test_tfds_is_needed_and_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(MissingExtraError, match=r"1\.0\.0 needs tensorflow_datasets: .*\[prepare"):
        RecordSource(folder, scale=2)


def test_the_cache_reads_each_record_once_and_is_shared(folder):
    source = RecordSource(folder, scale=2)
    first = [source[i][1].copy() for i in range(len(source))]
    other = pickle.loads(pickle.dumps(source))

    def refuse(index):
        raise AssertionError(f"record {index} was read again")

    source.read = other.read = refuse
    for i, hr in enumerate(first):
        np.testing.assert_array_equal(source[i][1], hr)
        np.testing.assert_array_equal(other[i][1], hr)


def test_the_cache_takes_no_more_than_it_may(folder):
    slot = 3 * 120 * 120 + 3 * 60 * 60
    source = RecordSource(folder, scale=2, cache_bytes=3 * slot + 5)
    assert len(source._cache.bytes) == 3 * slot


@pytest.mark.slow
def test_batches_from_records_in_any_number_of_processes(folder):
    def batches(**options):
        source = RecordSource(folder, scale=2, cache_bytes=options.pop("cache_bytes", 2**30))
        stream = make_train_iterator(
            [source], lr_patch_size=24, batch_size=4, seed=1, prefetch=2, **options
        )
        try:
            return [next(stream) for _ in range(6)]
        finally:
            stream.close()

    reference = batches()
    for options in ({"num_threads": 2}, {"num_workers": 1}, {"num_workers": 4, "cache_bytes": 0}):
        for batch, same in zip(batches(**options), reference, strict=True):
            for key in ("lr", "hr"):
                np.testing.assert_array_equal(batch[key], same[key], strict=True)


def test_identities(folder, datasets, data_dir, tmp_path):
    source = RecordSource(folder, scale=2)
    assert source.identity == RecordSource(folder, scale=2, cache_bytes=0).identity
    assert source.identity != RecordSource(folder, scale=3).identity
    images = tmp_path / "images"
    shutil.copytree(data_dir / "Set5" / "HR", images)
    other = prepare_folder(images, "set5", cut=CUT, data_dir=tmp_path, validation_every=3)
    assert RecordSource(other.folder, scale=2).identity == source.identity  # the same pixels
    shutil.copy(images / "bird.png", images / "baby.png")
    other = prepare_folder(images, "changed", cut=CUT, data_dir=tmp_path, validation_every=3)
    assert RecordSource(other.folder, scale=2).identity != source.identity


def test_a_damaged_dataset(folder, tmp_path):
    copy = tmp_path / "1.0.0"
    shutil.copytree(folder, copy)
    for path in copy.glob("*train.array_record*"):
        data = bytearray(path.read_bytes())
        # Records take most of the file, so these bits are in their middle.
        for place in range(len(data) // 10, len(data), len(data) // 10):
            data[place] ^= 0xFF
        path.write_bytes(data)
    source = RecordSource(copy, scale=2)
    damaged = 0
    for i in range(len(source)):
        try:
            source[i]
        except ValueError as error:
            assert f"record {i} of {copy} is damaged" in str(error)  # noqa: PT017 (some are whole)
            damaged += 1
    assert damaged
    (copy / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match="is not a dataset of `lnln prepare`, or is damaged"):
        RecordSource(copy, scale=2)
    metadata = json.loads((folder / "metadata.json").read_text())
    (copy / "metadata.json").write_text(json.dumps(metadata | {"format": 0}))
    with pytest.raises(ValueError, match="its format is 0"):
        RecordSource(copy, scale=2)


def test_finding_datasets(folder, datasets, data_dir, tmp_path, monkeypatch):
    for name in ("set5", "set5/x2-x3_120_60", "set5/x2-x3_120_60/1.0.0"):
        monkeypatch.chdir(tmp_path)
        assert find_dataset(name, 2, datasets) == folder
        monkeypatch.chdir(datasets)
        assert find_dataset(name, 3, tmp_path).resolve() == folder
        assert find_dataset(str(datasets / name), 2, tmp_path) == folder
    assert find_dataset("nothing", 2, datasets) is None
    assert find_dataset(str(data_dir / "Set5"), 2, datasets) is None
    with pytest.raises(ValueError, match=r"no LR images of scale 4; build it with --scales 4"):
        find_dataset("set5", 4, datasets)
    with pytest.raises(ValueError, match="scale 2, 3, not 4"):
        RecordSource(folder, scale=4)
    with pytest.raises(ValueError, match="no images for test, only for train, validation"):
        RecordSource(folder, scale=2, split="test")


def test_a_folder_in_the_place_of_a_dataset(folder, datasets, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(datasets))
    (tmp_path / "set5").touch()  # a file is nothing that could be meant
    assert find_dataset("set5", 2, datasets) == folder
    assert open_benchmark("set5", 2).names == ["bird", "woman"]
    assert caplog.records == []
    (tmp_path / "set5").unlink()
    (tmp_path / "set5").mkdir()
    assert find_dataset("set5", 2, datasets) is None
    (record,) = caplog.records
    assert record.getMessage().startswith("set5 is what lies in the current folder, not the datas")


def test_without_a_home_folder(monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", "")
    assert find_dataset("set5", 2, default_data_dir()) is None


def test_an_image_is_not_an_unfinished_dataset(tmp_path):
    (tmp_path / "images" / "more").mkdir(parents=True)
    (tmp_path / "images" / "incomplete.png").touch()
    (tmp_path / "images" / "more" / "incomplete.1.0.0").mkdir()
    assert find_dataset(str(tmp_path / "images"), 2, tmp_path) is None


def test_several_that_fit(data_dir, tmp_path):
    for size in (96, 120):
        cut = Cut((2,), size, size, 96)
        prepare_folder(data_dir / "Set5" / "HR", "set5", cut=cut, data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"several .*x2_120_120, .*x2_96_96; give one of these"):
        find_dataset("set5", 2, tmp_path)
    assert find_dataset("set5/x2_96_96", 2, tmp_path) is not None


@pytest.mark.parametrize("scale", [2, 3])
def test_a_benchmark_of_its_validation_images(folder, datasets, data_dir, scale):
    for path in (folder, datasets / "set5"):
        benchmark = open_benchmark(path, scale)
        assert (benchmark.name, benchmark.names) == ("set5", ["bird", "woman"])
        original = open_benchmark(data_dir / "Set5", scale)
        for image in benchmark:
            same = original.image(image.name)
            np.testing.assert_array_equal(image.hr, same.hr)
            np.testing.assert_array_equal(image.lr, imresize(same.hr, 1 / scale))
            assert image.gray == same.gray
    assert benchmark.image("woman").name == "woman"
    assert [image.name for image in open_benchmark(folder, scale, first=1)] == ["bird"]
    assert open_benchmark(data_dir / "Set5", scale, first=2).names == ["baby", "bird"]
    with pytest.raises(ValueError, match="are bicubic, not jpeg40"):
        open_benchmark(folder, scale, degradation=Degradation("jpeg"))


READING = """
import sys
from pathlib import Path
from lnln_jax.data.records import RecordSource
source = RecordSource(Path(sys.argv[1]), scale=2, cache_bytes=0)
before = set(sys.modules)
source[0]
print(sorted(name for name in set(sys.modules) - before if "tensorflow_datasets" in name))
"""


def test_reading_imports_nothing_of_tfds(folder):
    """Imports of TFDS in several threads at a time, those that read, can deadlock."""
    result = subprocess.run(
        [sys.executable, "-c", READING, str(folder)], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
