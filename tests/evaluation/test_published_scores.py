"""Published weights give what their authors' modules give, image by image.

`scores.json` beside the weights has PSNR and SSIM on Y of the authors' own modules, measured with
the same files; ../golden has what PAN's authors logged. Of Set14 and B100 the suite takes some
images; LNLN_WHOLE_SETS=1 takes all.
"""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest

from lnln_jax import load_model
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.files import read_rgb

pytestmark = pytest.mark.slow

FILES = {
    ("rlfn_x2", 2): "rlfn_x2.pt",
    ("rlfn_s_x4", 4): "rlfn_s_x4.pt",
    ("rfdn_aim_x4", 4): "rfdn_aim_x4.pt",
    ("pan_x2", 2): "pan_x2.pt",
    **{(f"carn_m_x{scale}", scale): "carn_m.pt" for scale in (2, 3, 4)},
}
EVERY = {"Set5": 1, "Set14": 4, "B100": 12}  # one image of so many


@pytest.fixture(scope="module")
def published(published_dir):
    folder = published_dir.parent
    if not (folder / "weights" / "scores.json").is_file():
        pytest.skip(f"no published weights: {folder / 'weights'} is not there")
    return folder


def measure(folder, name, scale, benchmark, done=None):
    model = load_model(folder / "weights" / FILES[name, scale], scale=scale)
    images = open_benchmark(folder / "data" / benchmark, scale=scale)
    step = 1 if os.environ.get("LNLN_WHOLE_SETS") else EVERY[benchmark]
    images = dataclasses.replace(images, files=images.files[::step])
    return evaluate([model], images, done=done)[0].scores


def largest_differences(measured, expected, psnr, ssim):
    off = [
        (
            abs(score.psnr - float(expected[score.image][psnr])),
            abs(score.ssim - float(expected[score.image][ssim])),
        )
        for score in measured
    ]
    return np.max(off, axis=0)


@pytest.mark.parametrize("benchmark", EVERY)
@pytest.mark.parametrize(("name", "scale"), FILES)
def test_scores_of_the_authors_modules(name, scale, benchmark, published):
    scores = json.loads((published / "weights" / "scores.json").read_text("utf-8"))
    expected = scores[f"{name}/{benchmark}"]["images"]
    pictures, golden = {}, published / "golden" / "sr_by_authors_modules" / name
    measured = measure(
        published, name, scale, benchmark, lambda _, image, sr: pictures.update({image.name: sr})
    )
    psnr, ssim = largest_differences(measured, expected, "psnr", "ssim")
    print(f"{name} on {benchmark}: within {psnr:.1e} dB and {ssim:.1e} on {len(measured)} images")
    # A pixel that is rounded the other way changes PSNR by some 1e-6 dB.
    assert psnr <= 2e-3
    assert ssim <= 2e-5
    if benchmark == "Set5":
        files = sorted(golden.glob("*.png"))
        assert len(files) >= 4  # baby's is there at x4 alone
        for file in files:
            sr = next(sr for image, sr in pictures.items() if file.stem.startswith(image))
            difference = np.abs(sr.astype(int) - read_rgb(file).astype(int))
            assert difference.max() <= 1
            assert (difference.max(axis=2) > 0).mean() <= 1e-3, file.name
    if name == "pan_x2" and benchmark != "B100":  # their B100 is not quite this one
        compare_with_the_log_of_pans_authors(published, benchmark, measured)


def compare_with_the_log_of_pans_authors(published, benchmark, measured):
    with (published / "golden" / "pan" / "per_image_scores.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    logged = {row["image"]: row for row in rows if (row["set"], row["scale"]) == (benchmark, "2")}
    psnr, ssim = largest_differences(measured, logged, "psnr_y", "ssim_y")
    print(f"the log of PAN's authors on {benchmark}: within {psnr:.1e} dB and {ssim:.1e}")
    assert psnr <= 2e-4
    assert ssim <= 2e-6
