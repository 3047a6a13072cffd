"""The published weights of PAN give its authors' results, and the numbers in their own log."""

import csv

import pytest

from lnln_jax import psnr, ssim
from lnln_jax.cli import main
from tests.support.commands import fails
from tests.support.published_weights import check_against_the_authors, published_file, upscaled


@pytest.mark.slow
def test_pan_on_set5(published_dir):
    check_against_the_authors(published_dir, published_file(published_dir, "pan_x2.pt"), 2)


@pytest.mark.slow
def test_the_authors_own_log(published_dir):
    path = published_file(published_dir, "pan_x2.pt")
    with (published_dir.parent / "golden" / "pan" / "per_image_scores.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    logged = {(row["set"], row["image"]): row for row in rows if row["scale"] == "2"}
    for benchmark, count in (("Set5", 5), ("Set14", 14)):
        images = list(upscaled(published_dir, path, benchmark, 2))
        assert len(images) == count
        for stem, hr, sr in images:
            row = logged[benchmark, stem]
            assert psnr(sr, hr, shave=2) == pytest.approx(float(row["psnr_y"]), abs=2e-4)
            assert ssim(sr, hr, shave=2) == pytest.approx(float(row["ssim_y"]), abs=5e-6)


def test_the_scale_is_asked_for_where_it_does_not_show(published_dir, tmp_path, capsys):
    path = published_file(published_dir, "pan_x2.pt")
    message = fails(capsys, "convert", path, tmp_path / "x.safetensors")
    assert "the weights of this pan do not show the scale; give scale (--scale)" in message
    assert main(["convert", str(path), str(tmp_path / "x.pt"), "--scale", "4"]) == 1
    assert "missing upconv2.weight" in capsys.readouterr().err
