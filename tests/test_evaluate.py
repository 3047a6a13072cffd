"""The protocol of the published numbers; docs and README compare networks with what it prints."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluate import evaluate, format_table, open_benchmark, score
from lnln_jax.image import modcrop
from lnln_jax.image_files import read_rgb
from lnln_jax.inference import Bicubic, SuperResolver
from lnln_jax.metrics import psnr, ssim
from lnln_jax.models import create_model
from lnln_jax.resize import imresize
from lnln_jax.state import initialize

RNG = np.random.default_rng(0)
SET5 = ["baby", "bird", "butterfly", "head", "woman"]


def save(path: Path, height: int, width: int) -> np.ndarray:
    """Writes a smooth random picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = RNG.integers(0, 256, (-(-height // 4), -(-width // 4), 3), np.uint8)
    image = imresize(small, 4)[:height, :width]
    Image.fromarray(image).save(path)
    return image


# ---- published numbers ----


@pytest.mark.parametrize(("scale", "mean"), [(2, (33.673, 0.9303)), (4, (28.429, 0.8111))])
@pytest.mark.parametrize("lr_files", [True, False])
def test_bicubic_on_set5(data_dir, tmp_path, scale, mean, lr_files):
    folder = data_dir / "Set5"
    if not lr_files:
        shutil.copytree(folder / "HR", tmp_path / "Set5" / "HR")
        folder = tmp_path / "Set5"
    (result,) = evaluate([Bicubic(scale)], open_benchmark(folder, scale))
    assert (round(result.psnr_y, 3), round(result.ssim_y, 4)) == mean
    assert [one.image for one in result.scores] == SET5
    assert result.psnr_y == pytest.approx(np.mean([one.psnr_y for one in result.scores]))
    assert (result.model, result.benchmark, result.scale) == ("bicubic", "Set5", scale)
    origin = f"files in LRx{scale}" if lr_files else "made from HR by imresize"
    assert result.lr_origin == origin

    header, columns, _, *rows, _, last = format_table([result]).splitlines()
    assert header == (f"PSNR (dB) / SSIM on Y, shaved {scale}, of rounded results; LR {origin}")
    assert columns.split() == ["Set5", f"x{scale}", "bicubic"]
    assert [row.split()[0] for row in rows] == SET5
    assert last.split() == ["mean", f"{mean[0]:.2f}", "/", f"{mean[1]:.4f}"]


# ---- a benchmark's folder ----


def test_lr_files_and_imresize_are_the_same_images(data_dir):
    files = open_benchmark(data_dir / "Set5", 4)
    made = open_benchmark(data_dir / "Set5" / "HR", 4)
    assert len(files) == len(made) == 5
    for from_file, from_hr in zip(files, made, strict=True):
        assert from_file.name == from_hr.name
        np.testing.assert_array_equal(from_file.lr, from_hr.lr)
        np.testing.assert_array_equal(from_file.hr, from_hr.hr)


def test_odd_sizes_are_cropped_and_folders_searched(tmp_path):
    original = save(tmp_path / "a" / "odd.bmp", 25, 34)
    save(tmp_path / "plain.png", 24, 24)
    odd, plain = open_benchmark(tmp_path, 3)
    assert (odd.name, plain.name) == ("odd", "plain")
    np.testing.assert_array_equal(odd.hr, original[:24, :33])
    np.testing.assert_array_equal(odd.lr, imresize(original[:24, :33], 1 / 3))


def test_unusable_folders_say_why(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere; give one"):
        open_benchmark(tmp_path / "nowhere", 2)
    with pytest.raises(ValueError, match="holds no images"):
        open_benchmark(tmp_path, 2)
    (tmp_path / "HR").mkdir()
    with pytest.raises(ValueError, match="HR holds no images"):
        open_benchmark(tmp_path, 2)


def test_lr_files_must_be_there_and_fit(tmp_path):
    for name in ("one", "two"):
        hr = save(tmp_path / "HR" / f"{name}.png", 33, 40)
        (tmp_path / "LRx2").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=r"LRx2 has no LR image for one, two; add them, or remove"):
        open_benchmark(tmp_path, 2)

    lr = imresize(modcrop(hr, 2), 0.5)
    Image.fromarray(lr).save(tmp_path / "LRx2" / "one.bmp")  # formats may differ
    Image.fromarray(lr[:, 1:]).save(tmp_path / "LRx2" / "two.png")
    images = iter(open_benchmark(tmp_path, 2))
    np.testing.assert_array_equal(next(images).lr, lr)
    with pytest.raises(ValueError, match=r"two\.png is 16x19 .* x2 of two\.png needs 16x20"):
        next(images)

    assert open_benchmark(tmp_path, 3).lr_origin == "made from HR by imresize"  # no LRx3


def test_lr_beside_hr_without_a_folder_of_its_own(tmp_path):
    hr = [save(tmp_path / f"{name}.png", 40, 32) for name in "ab"]
    for name, image in zip("ab", hr, strict=True):
        lr = tmp_path / "LRx2" / f"{name}.png"
        lr.parent.mkdir(exist_ok=True)
        Image.fromarray(imresize(image, 1 / 2)).save(lr)
    benchmark = open_benchmark(tmp_path, 2)
    assert [image.name for image in benchmark] == ["a", "b"]  # LR images are no HR images
    assert benchmark.lr_origin == "files in LRx2"


def test_names_must_tell_images_apart(tmp_path):
    for folder in ("one", "two"):
        save(tmp_path / folder / "same.png", 20, 20)
    with pytest.raises(ValueError, match="several images of one name: same"):
        open_benchmark(tmp_path, 2)


def test_in_memory_is_read_once(tmp_path):
    save(tmp_path / "x.png", 20, 20)
    held = open_benchmark(tmp_path, 2).in_memory()
    (tmp_path / "x.png").unlink()
    assert [image.name for image in held] == ["x"]
    assert len(held) == 1


def test_a_damaged_file_is_named(tmp_path):
    save(tmp_path / "good.png", 24, 24)
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"broken\.png: cannot be read"):
        list(open_benchmark(tmp_path, 2))


# ---- several models ----


@pytest.fixture(scope="module")
def network() -> SuperResolver:
    module = create_model("lnln", n_resgroups=1, n_resblocks=1, n_feats=8, reduction=4)
    return SuperResolver("tiny", 2, module, initialize(module, 0))


def test_a_network_beside_bicubic(tmp_path, network):
    save(tmp_path / "x.png", 40, 40)
    save(tmp_path / "y.png", 40, 40)
    benchmark = open_benchmark(tmp_path, 2)
    seen = []
    bicubic, tiny = evaluate(
        [Bicubic(2), network],
        benchmark,
        done=lambda model, image, sr: seen.append((model, image.name, sr)),
    )
    assert [(model, name) for model, name, _ in seen] == [
        ("bicubic", "x"),
        ("tiny", "x"),
        ("bicubic", "y"),
        ("tiny", "y"),
    ]
    first = next(iter(benchmark))
    np.testing.assert_array_equal(seen[0][2], imresize(first.lr, 2))
    np.testing.assert_array_equal(seen[1][2], network.upscale(first.lr))
    for result, (_, _, sr) in zip((bicubic, tiny), seen, strict=False):
        assert result.scores[0].psnr_y == float(psnr(sr, first.hr, shave=2))
        assert result.scores[0].ssim_y == float(ssim(sr, first.hr, shave=2))
        assert result.scores[0].seconds > 0

    table = format_table([bicubic, tiny]).splitlines()
    assert table[1].split()[-2:] == ["bicubic", "tiny"]
    assert len({len(line) for line in table[1:]}) == 1  # a rectangle
    for line, scores in zip(table[3:5], zip(bicubic.scores, tiny.scores, strict=True), strict=True):
        for one in scores:
            assert f"{one.psnr_y:.2f} / {one.ssim_y:.4f}" in line


def test_self_ensemble_is_passed_on_and_said(tmp_path, network):
    save(tmp_path / "x.png", 40, 40)
    benchmark = open_benchmark(tmp_path, 2)
    image = next(iter(benchmark))
    (result,) = evaluate([network], benchmark, self_ensemble=True)
    expected = network.upscale(image.lr, self_ensemble=True)
    assert not np.array_equal(expected, network.upscale(image.lr))
    assert result.scores[0].psnr_y == float(psnr(expected, image.hr, shave=2))
    np.testing.assert_array_equal(score(network, image, self_ensemble=True)[1], expected)
    assert format_table([result]).splitlines()[0].endswith("by imresize; self-ensemble")
    assert result.to_json()["self_ensemble"] is True


def test_json_holds_everything(tmp_path):
    save(tmp_path / "set" / "x.png", 40, 40)
    (result,) = evaluate([Bicubic(2)], open_benchmark(tmp_path / "set", 2))
    assert json.loads(json.dumps(result.to_json())) == {
        "model": "bicubic",
        "benchmark": "set",
        "scale": 2,
        "lr_origin": "made from HR by imresize",
        "self_ensemble": False,
        "psnr_y": result.psnr_y,
        "ssim_y": result.ssim_y,
        "scores": [
            {
                "image": "x",
                "psnr_y": result.scores[0].psnr_y,
                "ssim_y": result.scores[0].ssim_y,
                "seconds": result.scores[0].seconds,
            }
        ],
    }


def test_models_must_fit(data_dir):
    benchmark = open_benchmark(data_dir / "Set5", 2)
    with pytest.raises(ValueError, match="bicubic enlarges x4, but the benchmark is x2; open it"):
        evaluate([Bicubic(4)], benchmark)
    with pytest.raises(ValueError, match="two models have one name: bicubic, bicubic"):
        evaluate([Bicubic(2), Bicubic(2)], benchmark)


def test_a_picture_too_small_to_measure_is_refused(tmp_path):
    save(tmp_path / "x.png", 14, 30)
    with pytest.raises(ValueError, match=r"x: shave .* for 14x30; use .* a larger image"):
        evaluate([Bicubic(2)], open_benchmark(tmp_path, 2))


def test_hr_is_read_as_the_training_reads_it(data_dir):
    path = data_dir / "Set5" / "HR" / "head.png"
    images = {image.name: image for image in open_benchmark(data_dir / "Set5", 2)}
    np.testing.assert_array_equal(images["head"].hr, modcrop(read_rgb(path), 2))
