"""Stored results: which files they are, what is refused, and that they measure as models do."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.evaluation.file_names import file_name, file_names
from lnln_jax.evaluation.measure import check_images, evaluate
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.run import run
from lnln_jax.evaluation.stored import StoredResults
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.inference.bicubic import BicubicUpscaler

NAMES = ("a", "a_2")


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Two images of 33x40 pixels, in colour."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "Small" / "HR"
    folder.mkdir(parents=True)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (33, 40, 3), np.uint8)).save(folder / f"{name}.png")
    return folder.parent


def bicubic_results(small_set: Path, folder: Path, pattern: str = "{}.png") -> Path:
    """Writes what bicubic interpolation makes of a set."""
    for image in open_benchmark(small_set, 2):
        path = folder / pattern.format(image.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(BicubicUpscaler(2).upscale(image.lr)).save(path)
    return folder


def scores(small_set: Path, root: Path, name: str = "SR") -> list[tuple[float, float]]:
    (result,) = evaluate([StoredResults(name, root, 2)], open_benchmark(small_set, 2))
    assert (result.model, result.network) == (name, "")
    return [(score.psnr, score.ssim) for score in result.scores]


@pytest.mark.parametrize(
    "pattern",
    [
        *("{}.png", "{}x2.png", "{}_x2.bmp", "{}_SR.png", "{}_x2_EDSR.png", "{}_SRF_2_SwinIR.png"),
        *("Small/{}.png", "Small_x2/x/{}.png", "x2/{}_RCAN.png", "{}/{}_5000.png"),
    ],
)
def test_names_in_use(small_set, tmp_path, pattern):
    pattern = pattern.replace("{}", "{0}")
    root = bicubic_results(small_set, tmp_path / "results", pattern)
    if pattern.startswith(("Small", "x2")):
        for name in NAMES:  # of another set, and of another scale
            other = root / pattern.replace("Small", "Other").replace("x2", "x4").format(name)
            other.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 32)).save(other)
    (expected,) = evaluate([BicubicUpscaler(2)], open_benchmark(small_set, 2))
    expected = [(score.psnr, score.ssim) for score in expected.scores]
    assert scores(small_set, root) == expected
    archive = tmp_path / "results.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in root.rglob("*.*"):
            file.write(path, path.relative_to(root))
    assert scores(small_set, archive) == expected


def test_own_images_measure_as_before(small_set, tmp_path):
    shutil.copytree(small_set, tmp_path / "B")
    sets = [small_set, tmp_path / "B"]
    before = run(["bicubic"], sets, output=tmp_path / "out", save_images=True)
    images = tmp_path / "out" / "images"
    again = run([], sets, stored={"again": images}, scale=2, output=tmp_path / "new")
    values = [
        [[(s.image, s.psnr, s.ssim) for s in r.scores] for r in results if r.model == name]
        for name, results in (("bicubic", before), ("again", again))
    ]
    assert values[0] == values[1]
    assert f"- again: results from {images}" in (tmp_path / "new" / "results.md").read_text()
    with pytest.raises(ValueError, match=r"results do not tell their scale; give scale"):
        run([], sets, stored={"again": images})


def test_the_name_chooses_among_methods(small_set, tmp_path):
    root = bicubic_results(small_set, tmp_path / "results", "{}_EDSR.png")
    for name in NAMES:
        for kind in ("VDSR", "HR", "LR"):
            Image.new("RGB", (40, 32)).save(root / f"{name}_{kind}.png")
    assert scores(small_set, root, "EDSR") != scores(small_set, root, "VDSR")
    with pytest.raises(ValueError, match=r"several results for .*: a_EDSR\.png, a_VDSR\.png; g"):
        scores(small_set, root, "mine")


def test_the_uncropped_size_is_taken(small_set, tmp_path):
    root = bicubic_results(small_set, tmp_path / "results")
    expected = scores(small_set, root)
    for path in root.iterdir():
        image = np.asarray(Image.open(path))
        Image.fromarray(np.pad(image, ((0, 1), (0, 0), (0, 0)))).save(path)
    assert scores(small_set, root) == expected


def test_what_is_refused_before_anything_runs(small_set, tmp_path):
    root = bicubic_results(small_set, tmp_path / "results")
    benchmark, results = open_benchmark(small_set, 2), StoredResults("SR", root, 2)

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            check_images(benchmark, Protocol(), [results])

    picture = Image.open(root / "a.png")
    picture.convert("L").save(root / "a.png")
    refused(r"a\.png is gray, but HR of a has colours; save")
    picture.crop((0, 0, 30, 32)).save(root / "a.png")
    refused(r"a\.png is 30x32 pixels, but HR of a at x2 is 40x32, or 40x33 as the HR file is; ups")
    (root / "a.png").write_bytes(b"x")
    refused(r"a\.png: cannot be read")
    (root / "a.png").unlink()
    results = StoredResults("SR", root, 2)
    refused(r"results has no result of SR for a of Small; add files such as a\.png or ax2\.png")
    with pytest.raises(ValueError, match=r"no folder or .* nowhere of results of SR; give one"):
        StoredResults("SR", Path("nowhere"), 2)


def test_gray_results_of_gray_images(small_set, tmp_path):
    for path in (small_set / "HR").iterdir():
        Image.open(path).convert("L").save(path)
    root = bicubic_results(small_set, tmp_path / "results")
    expected = scores(small_set, root)
    for path in root.iterdir():
        Image.open(path).convert("L").save(path)
    assert scores(small_set, root) == expected


def test_names_of_files():
    long, longer = "x" * 240, "x" * 241
    names = ["a", "A", "b/c", "b_c", long, longer, "é" * 120, "..", ""]
    chosen = file_names(names)
    assert chosen["a"] == "a"
    assert len({name.casefold() for name in chosen.values()}) == len(names)
    assert all(len(name.encode()) <= 200 for name in chosen.values())
    assert not any("/" in name for name in chosen.values())
    assert chosen[long] == file_name(long)
