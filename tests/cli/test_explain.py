"""`lnln explain` as its users call it."""

import csv
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax import psnr, ssim
from lnln_jax.cli import main
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize
from lnln_jax.inference.bicubic import BicubicUpscaler
from tests.support.commands import fails, refuses


@pytest.fixture
def golden(published_dir) -> Path:
    """What authors' own programs put out."""
    folder = published_dir.parent / "golden"
    if not folder.is_dir():
        pytest.skip(f"no results of other programs: {folder} is not a folder")
    return folder


@pytest.fixture
def small(tmp_path) -> Path:
    """HR of 41x33 and 40x32 pixels, LR of both, and bicubic results of both."""
    rng = np.random.default_rng(0)
    for folder in ("HR", "LR", "SR"):
        (tmp_path / folder).mkdir()
    for name, (height, width) in {"a": (41, 33), "b": (40, 32)}.items():
        hr = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(hr).save(tmp_path / "HR" / f"{name}.png")
        lr = imresize(hr[:40, :32], 1 / 2)
        Image.fromarray(lr).save(tmp_path / "LR" / f"{name}.png")
        Image.fromarray(BicubicUpscaler(2).upscale(lr)).save(tmp_path / "SR" / f"{name}.png")
    return tmp_path


def facts(capsys, *arguments: object) -> dict:
    assert main(["explain", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def shown(capsys, *arguments: object) -> str:
    assert main(["explain", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_a_published_row(golden, published_dir, capsys):
    sr, set5 = golden / "rdn" / "SR" / "BI" / "RDN" / "Set5" / "x2", published_dir / "Set5"
    out = shown(capsys, sr, set5 / "HR", "--published", "38.24", "--lr", set5 / "LRx2")
    lines = out.splitlines()
    assert lines[0] == "PSNR (dB) / SSIM of 5 images, x2"
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells == ["", "shave 0", "shave 2", "shave 8"]
    (luma,) = (line for line in lines if line.startswith("| Y  "))
    assert luma.split("|")[3].strip() == "38.242 / 0.96136"
    assert "38.24 fits 1 of 30 conventions:\n\n- Y, shave 2 (38.242 / 0.96136): MATLAB's " in out
    assert out.endswith("\nLR was made by MATLAB's imresize: all pixels are equal.\n")


def test_no_convention_fits(golden, published_dir, capsys):
    """The paper of RDN prints 34.58 for blurred images, its own pictures have 34.575."""
    rdn = golden / "rdn"
    sr, lr = (rdn / kind / "Set5" / "x3" for kind in ("SR/BD/RDN", "LR/LRBD"))
    out = shown(
        capsys, sr, published_dir / "Set5", "--published=34.58/0.9280", "--lr", lr, "--scale=3"
    )
    assert (
        "34.58 / 0.9280 fits none of 30 conventions. The nearest is Y, shave 3 (34.575 / 0.92799), "
        "0.005 dB and 0.00001 away." in out
    )
    assert "\nLR was made by none of these. The nearest is " in out


def test_both_conventions_of_one_log(golden, published_dir, capsys):
    """PAN's own log has RGB and Y; its pictures were made again, so the last digits are not its."""
    with (golden / "pan" / "per_image_scores.tsv").open() as file:
        rows = [*csv.DictReader(file, delimiter="\t")]
    sr = golden / "sr_by_authors_modules" / "pan_x2" / "butterfly.png"
    (row,) = (row for row in rows if (row["scale"], row["image"]) == ("2", "butterfly"))
    for channel, colours in (("rgb", "RGB"), ("y", "Y")):
        printed = f"{float(row[f'psnr_{channel}']):.3f}/{float(row[f'ssim_{channel}']):.5f}"
        hr = published_dir / "Set5" / "HR" / "butterfly.png"
        found = facts(capsys, sr, hr, "--published", printed)
        assert [(each["colours"], each["shave"]) for each in found["fitting"]] == [(colours, 2)]
        assert found["scale"] == 2  # as the folder of the results says


def test_results_beside_their_originals(golden, capsys):
    """SAN's folder has SR, HR and LR of each image."""
    folder = golden / "san_x4"
    found = facts(capsys, folder, folder, "--published", "32.61/0.9002")
    assert [(each["colours"], each["shave"]) for each in found["fitting"]] == [("Y", 4)]
    with (folder / "scores.tsv").open() as file:
        rows = [*csv.DictReader(file, delimiter="\t")]
    assert found["images"] == [row["image"] for row in rows]
    (luma,) = (c for c in found["conventions"] if (c["colours"], c["shave"]) == ("Y", 4))
    expected = [float(row["psnr_y"]) for row in rows]
    np.testing.assert_allclose(luma["psnr_db_of_images"], expected, rtol=0, atol=6e-6)
    sr, hr, lr = (folder / f"bird_x4_{kind}.png" for kind in ("SR", "HR", "LR"))
    assert facts(capsys, sr, hr, "--lr", lr)["lr"]["made_by"] == ["MATLAB's imresize"]


def test_json(small, capsys):
    found = facts(capsys, small / "SR", small / "HR", "--lr", small / "LR")
    assert (found["scale"], found["images"]) == (2, ["a", "b"])
    assert not {"published", "fitting", "nearest"} & {*found}
    assert [each["name"] for each in found["lr"]["makers"] if each["equal_pixels"] == 1] == [
        "MATLAB's imresize"
    ]
    sr, hr = (
        [read_rgb(small / kind / f"{n}.png")[:40, :32] for n in "ab"] for kind in ("SR", "HR")
    )
    luma = next(c for c in found["conventions"] if (c["colours"], c["shave"]) == ("Y", 2))
    expected = [float(psnr(*pair, shave=2)) for pair in zip(sr, hr, strict=True)]
    np.testing.assert_allclose(luma["psnr_db_of_images"], expected, rtol=1e-6)
    assert luma["psnr_db"] == pytest.approx(np.mean(luma["psnr_db_of_images"]))
    expected = [float(ssim(*pair, shave=2)) for pair in zip(sr, hr, strict=True)]
    np.testing.assert_allclose(luma["ssim_of_images"], expected, rtol=0, atol=1e-6)
    printed = f"{luma['psnr_db']:.4f}"
    found = facts(capsys, small / "SR", small / "HR", "--scale=2", "--published", printed)
    assert found["published"] == {"psnr_db": float(printed), "ssim": None}
    assert found["fitting"][0] == found["nearest"]
    assert (found["nearest"]["colours"], found["nearest"]["shave"]) == ("Y", 2)
    assert "lr" not in found


def test_one_image_that_is_its_original(small, capsys):
    hr = small / "HR" / "b.png"
    found = facts(capsys, hr, hr, "--scale", "2", "--published", "48.1")
    assert found["conventions"][0]["psnr_db"] is None
    assert (found["conventions"][0]["ssim"], found["fitting"]) == (1.0, [])
    assert "| inf / 1.00000 " in shown(capsys, hr, hr, "--scale", "2")


def test_a_scale_that_nothing_tells(small, capsys):
    out = shown(capsys, small / "SR" / "b.png", small / "HR" / "b.png")
    head, _, columns, *_ = out.splitlines()
    assert head == "PSNR (dB) / SSIM of b, borders of x2 to x4 (give --scale)"
    shaves = [cell.strip() for cell in columns.split("|")[2:-1]]
    assert shaves == [f"shave {shave}" for shave in (0, 2, 3, 4, 8, 9, 10)]
    error = fails(capsys, "explain", small / "SR" / "a.png", small / "HR" / "a.png")
    assert error.endswith(
        "a.png is 32x40 pixels, but HR of a is 33x41; give results of that size, or the scale "
        "(--scale), by which HR is cropped"
    )
    shown(capsys, small / "SR" / "a.png", small / "HR" / "a.png", "--scale=2")


@pytest.mark.parametrize(
    "name", ["b_x2.png", "bx2.png", "x2/b.png", "EDSR_x2/b.png", "b_x2_EDSR.png", "X2/Set5/b.png"]
)
def test_the_scale_in_names(small, capsys, name, monkeypatch):
    monkeypatch.chdir(small)
    path = Path("results") / name
    path.parent.mkdir(parents=True)
    shutil.copy(small / "SR" / "b.png", path)
    assert facts(capsys, path, small / "HR" / "b.png")["scale"] == 2
    (small / "HR" / "a.png").unlink()
    assert facts(capsys, path.parent, small / "HR")["scale"] == 2


def test_results_of_several_scales(small, capsys):
    for folder in ("x2", "x3"):
        shutil.copytree(small / "SR", small / "results" / folder)
    error = fails(capsys, "explain", small / "results", small / "HR")
    assert error.endswith(
        "; add files such as a.png, called alike for all images, or give the scale (--scale)"
    )
    assert facts(capsys, small / "results", small / "HR", "--scale", "2")["images"] == ["a", "b"]


def test_the_current_folder(small, capsys, monkeypatch):
    (small / "SR").rename(small / "x2")
    monkeypatch.chdir(small / "x2")
    assert facts(capsys, ".", "../HR")["scale"] == 2
    (small / "x2" / "deep").mkdir()
    monkeypatch.chdir(small / "x2" / "deep")
    assert facts(capsys, "..", "../../HR")["scale"] == 2


def test_gray_images_count_as_they_are_stored(small, capsys):
    for folder in ("SR", "HR"):
        Image.open(small / folder / "a.png").convert("L").save(small / folder / "a.png")
    found = facts(capsys, small / "SR", small / "HR", "--scale", "2")
    scores = {
        each["colours"]: each["psnr_db_of_images"]
        for each in found["conventions"]
        if each["shave"] == 2
    }
    assert scores["Y, gray as it is"] == [scores["full-range Y"][0], scores["Y"][1]]
    one = [small / "SR" / "a.png", small / "HR" / "a.png", "--scale", "2", "--published"]
    printed = f"{scores['full-range Y'][0]:.3f}"
    fitting = facts(capsys, *one, printed)["fitting"]
    away = [abs(each["psnr_db"] - float(printed)) for each in fitting]
    assert away == sorted(away)
    assert {"full-range Y", "RGB", "Y, gray as it is"} <= {each["colours"] for each in fitting}
    out = shown(capsys, *one, printed)
    assert f"\n{printed} fits {len(fitting)} of 36 conventions, the nearest first:\n\n- " in out
    assert out.endswith("\n\nGive both (--published 38.24/0.9614) to tell them apart.\n")
    error = fails(capsys, "explain", small / "SR" / "a.png", small / "HR" / "b.png", "-s", "2")
    assert "a.png is gray, but HR of b has colours" in error


def test_what_cannot_be_compared(small, capsys, tmp_path):
    sr, hr = small / "SR", small / "HR"
    assert fails(capsys, "explain", tmp_path / "no", hr) == (
        f"SR: there is no file or folder {tmp_path / 'no'}; give one"
    )
    error = fails(capsys, "explain", sr / "a.png", hr)
    assert error.startswith("SR is a file, but HR is a folder; give files alone")
    error = fails(capsys, "explain", sr, hr, "--lr", small / "LR" / "a.png")
    assert error.startswith("LR is a file, but SR and HR are folders; ")
    error = fails(capsys, "explain", sr / "a.png", hr / "b.png", "--lr", hr / "b.png")
    assert error.endswith("fit no scale for " + str(hr / "b.png") + "; give the scale (--scale)")
    Image.new("RGB", (20, 20)).save(sr / "a.png")
    error = fails(capsys, "explain", sr, hr, "--scale", "2")
    assert "a.png is 20x20 pixels, but HR of a at x2 is 32x40, or 33x41 as the HR file is" in error
    Image.new("RGB", (10, 10)).save(sr / "a.png")
    error = fails(capsys, "explain", sr / "a.png", sr / "a.png")
    assert (
        error == "a: images must be of 11x11 pixels or more for SSIM, got 10x10; give larger ones"
    )
    (sr / "a.png").write_bytes(b"")
    error = fails(capsys, "explain", sr / "a.png", hr / "b.png")
    assert error.endswith("a.png: cannot be read: the file is empty (zero bytes)")
    assert "write 38.24, 0.9614 or 38.24/0.9614" in refuses(
        capsys, "explain", sr, hr, "--published", "38,24"
    )


def test_what_is_left_out_is_told_once(small, capsys, caplog):
    with caplog.at_level(logging.WARNING):
        found = facts(capsys, small / "SR", small, "--lr", small / "LR")
    (record,) = caplog.records
    assert "left out: 2 images in SR, beside the HR images in HR" in record.getMessage()
    assert found["images"] == ["a", "b"]
