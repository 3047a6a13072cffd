"""`lnln evaluate` from its arguments to its files; the numbers are tested in test_evaluate.py."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from lnln_jax import load_model
from lnln_jax.config import ModelConfig
from lnln_jax.evaluation.figure_picture import draw
from lnln_jax.evaluation.figures import Figure, Method, default_box
from lnln_jax.evaluation.protocol import Protocol
from lnln_jax.evaluation.report import CONVENTIONS, format_table
from lnln_jax.evaluation.results import SRCNN_BICUBIC
from lnln_jax.evaluation.run import run
from lnln_jax.images.files import read_rgb
from lnln_jax.images.resize import imresize
from lnln_jax.models import create_model
from lnln_jax.models.variables import initialize
from lnln_jax.weights.safetensors_files import save_safetensors
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import make_variables

OPTIONS = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4}
IMAGES = {"Set5": ("bird", "head"), "a set": ("head", "a comic: page")}


def network(path: Path, scale: int = 2, seed: int = 0) -> str:
    """Writes a small untrained network."""
    variables = initialize(create_model("lnln", scale, **OPTIONS), seed)
    save_safetensors(path, ModelConfig("lnln", scale, OPTIONS), variables)
    return str(path)


def torch_weights(path: Path, name: str, **options) -> str:
    """Writes the weights of a small network as PyTorch names them."""
    save_file(to_torch(make_variables(name, **options), name=name), path)
    return str(path)


@pytest.fixture(scope="module")
def sets(data_dir, tmp_path_factory) -> list[Path]:
    """Two small sets with an image of one name; the first has LR files."""
    folder = tmp_path_factory.mktemp("sets")
    origins = {"bird": "Set5/HR/bird", "head": "Set5/HR/head", "a comic: page": "Set14/HR/comic"}
    for name, images in IMAGES.items():
        (folder / name / "HR").mkdir(parents=True)
        for image in images:
            hr = read_rgb(data_dir / f"{origins[image]}.png")[60:108, 60:124]
            Image.fromarray(hr).save(folder / name / "HR" / f"{image}.png")
    for path in (folder / "Set5" / "HR").iterdir():
        (folder / "Set5" / "LRx2").mkdir(exist_ok=True)
        lr = imresize(read_rgb(path), 1 / 2, border="replicate")
        Image.fromarray(lr).save(folder / "Set5" / "LRx2" / path.name)
    return [folder / name for name in IMAGES]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---- all of it ----


@pytest.mark.slow
def test_models_over_sets(sets, tmp_path, capsys):
    sources = [network(tmp_path / f"run {i}" / "net.safetensors", seed=i) for i in (1, 2)]
    output = tmp_path / "new" / "out"
    boxed = "a comic: page:2,3,24,16"
    results = run(
        [sources[0], "bicubic", sources[1]],
        sets,
        output=output,
        save_images=True,
        figures=["Set5/head", boxed, "a set/head:0,0,48,64"],
    )
    names = ["bicubic", SRCNN_BICUBIC, "net", "net#2"]
    assert [(r.benchmark, r.model) for r in results] == [(s, n) for s in IMAGES for n in names]

    printed = capsys.readouterr()
    assert printed.err == ""
    tables = "\n\n".join(format_table(results[i : i + 4]) for i in (0, 4))
    assert printed.out == (f"net#2: {sources[1]}\n{tables}\n\n{CONVENTIONS}\nwritten to {output}\n")
    assert "LR files in LRx2" in tables
    assert "LR made from HR by imresize (symmetric border)" in tables

    report = json.loads((output / "results.json").read_text())
    assert report["models"] == dict(zip(("net", "net#2"), sources, strict=True))
    assert [(r["benchmark"], r["model"], r["psnr"]) for r in report["results"]] == [
        (r.benchmark, r.model, r.psnr) for r in results
    ]
    markdown = (output / "results.md").read_text()
    options = "n_resgroups 1, n_resblocks 1, n_feats 8, reduction 4"
    assert f"- net#2: LNLN ({options}) from {sources[1]}\n" in markdown
    assert f"| net | {results[2].psnr:.2f} / {results[2].ssim:.4f} |" in markdown
    assert "| LNLN (paper) | 38.32 / 0.9618 |  |" in markdown
    assert "of other sizes here: net, net#2." in markdown
    assert {r["paper"] and r["paper"]["psnr"] for r in report["results"]} == {None, 33.66}

    enlarged = {
        f"images/{name}_x2/{model}/{image}.png"
        for name, images in IMAGES.items()
        for image in images
        for model in ("bicubic", "net", "net#2")
    }
    files = {"results.json", "results.md", "figure.png", "figure.html"}
    assert files_below(output) == files | enlarged

    def methods(benchmark: str, image: str) -> tuple[Method, ...]:
        found = []
        for result in results:
            if result.benchmark == benchmark and result.model != SRCNN_BICUBIC:
                sr = read_rgb(output / "images" / f"{benchmark}_x2" / result.model / f"{image}.png")
                (score,) = (score for score in result.scores if score.image == image)
                found.append(Method(result.model, sr, score.psnr, score.ssim))
        return tuple(found)

    figures = []
    for folder, image, box in (
        (sets[0], "head", None),
        (sets[1], "a comic: page", (2, 3, 24, 16)),
        (sets[1], "head", (0, 0, 48, 64)),
    ):
        hr = read_rgb(folder / "HR" / f"{image}.png")
        columns = methods(folder.name, image)
        if box is None:
            box = default_box(hr, columns)
        figures.append(Figure(f"{folder.name} x2, {image}", hr, columns, box))
    np.testing.assert_array_equal(read_rgb(output / "figure.png"), draw(figures))
    page = (output / "figure.html").read_text()
    assert "a comic: page" in page
    assert "PSNR (dB) / SSIM on Y, shaved 2, of rounded results" in page

    lr = read_rgb(sets[0] / "LRx2" / "head.png")
    for source, name in zip(sources, ("net", "net#2"), strict=True):
        sr = read_rgb(output / "images" / "Set5_x2" / name / "head.png")
        np.testing.assert_array_equal(sr, load_model(source).upscale(lr))


def test_without_an_output_nothing_is_written(sets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(["bicubic"], sets)
    assert list(tmp_path.iterdir()) == []
    assert "written" not in capsys.readouterr().out


def test_other_protocols_have_no_published_row(sets, tmp_path, capsys):
    results = run(["bicubic"], sets, protocol=Protocol("rgb"), output=tmp_path)
    assert [result.model for result in results] == ["bicubic", "bicubic"]
    printed = capsys.readouterr().out
    assert "SSIM on RGB" in printed
    assert "SRCNN" not in printed + (tmp_path / "results.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["protocol"]["channel"] == "rgb"


def test_lr_files_can_be_left_alone(sets):
    from_files, made = (run(["bicubic"], sets[:1], lr=lr)[0] for lr in ("auto", "imresize"))
    assert from_files.lr_origin == "files in LRx2"
    assert made.lr_origin.startswith("made from HR")
    assert from_files.psnr != made.psnr  # these files have replicated borders


def test_sets_of_one_name_are_told_apart(sets, tmp_path):
    results = run(["bicubic"], [sets[0], sets[0]], output=tmp_path, save_images=True)
    assert {result.benchmark for result in results} == {"Set5", "Set5#2"}
    assert (tmp_path / "images" / "Set5#2_x2" / "bicubic" / "head.png").exists()
    with pytest.raises(ValueError, match="several images; write one of Set5/head, Set5#2/head"):
        run(["bicubic"], [sets[0], sets[0]], output=tmp_path, figures=["head"])
    run(["bicubic"], [sets[0], sets[0]], output=tmp_path, figures=["Set5/head"])


# ---- scales ----


@pytest.mark.slow
def test_the_first_network_gives_the_scale(sets, tmp_path):
    four, two = network(tmp_path / "four.safetensors", 4), network(tmp_path / "two.safetensors")
    results = run(["bicubic", four], sets[1:])
    assert [(r.model, r.scale) for r in results] == [
        ("bicubic", 4),
        (SRCNN_BICUBIC, 4),
        ("four", 4),
    ]
    assert run(["bicubic"], sets[1:])[0].scale == 2
    assert run(["bicubic"], sets[1:], scale=3)[0].scale == 3
    for sources, scale in (([four, two], None), ([two], 4)):
        with pytest.raises(ValueError, match=r"two\.safetensors .*4"):
            run(sources, sets, scale=scale)


def test_a_network_after_it_may_show_the_scale(sets, tmp_path, capsys):
    vdsr = torch_weights(tmp_path / "vdsr.safetensors", "vdsr")
    four = network(tmp_path / "four.safetensors", 4)
    for sources in ([vdsr, four], [four, vdsr]):
        results = run(["bicubic", *sources], sets[1:])
        names = ["bicubic", SRCNN_BICUBIC, *(Path(source).stem for source in sources)]
        assert [(r.model, r.scale) for r in results] == [(name, 4) for name in names]
    capsys.readouterr()
    refused(capsys, r"vdsr\.safetensors: .* do not show the scale", [vdsr, "bicubic"], sets)
    missing = str(tmp_path / "missing.pt")
    refused(capsys, r"there is no model .*missing\.pt", [missing, vdsr, four], sets)


def test_res_scale_is_for_those_that_do_not_show_it(sets, tmp_path, capsys):
    own = str(tmp_path / "own.safetensors")
    options = {"n_resblocks": 1, "n_feats": 8, "res_scale": 0.5}
    variables = initialize(create_model("edsr", **options), 0)
    save_safetensors(own, ModelConfig("edsr", 2, options), variables)
    edsr = torch_weights(tmp_path / "edsr.safetensors", "edsr")
    vdsr = torch_weights(tmp_path / "vdsr.safetensors", "vdsr")

    results = run([vdsr, edsr, own], sets[1:], res_scale=0.25)
    shown = {result.model: result.options.get("res_scale") for result in results[2:]}
    assert shown == {"vdsr": None, "edsr": 0.25, "own": 0.5}
    authors = run([edsr], sets[1:])[-1]
    assert authors.options["res_scale"] == 1.0
    assert authors.psnr != results[3].psnr
    capsys.readouterr()
    for sources, value, message in (
        ([own], 0.25, r"res_scale is 0\.25, but there is no EDSR that takes it; leave it out"),
        ([edsr], -1.0, r"res_scale is -1\.0; it must be a number above 0"),
    ):
        refused(capsys, message, sources, sets, res_scale=value)


# ---- what is wrong is found before anything runs ----


def refused(capsys, match: str, *arguments, **options) -> None:
    with pytest.raises(ValueError, match=match):
        run(*arguments, **options)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heads", "figure 'heads' names no image; write one of bird, head, a comic: page, with"),
        ("Set14/head", "figure 'Set14/head' names no image"),
        ("bird:1,2,3", "figure 'bird:1,2,3' names no image; .* :top,left,height,width after it"),
        ("head", "figure 'head' names several images; write one of Set5/head, a set/head"),
        ("bird:40,0,9,9", r"figure 'bird:40,0,9,9': box is \(40, 0, 9, 9\), which does not lie"),
        ("bird:-1,0,9,9", "figure 'bird:-1,0,9,9': box is .* which does not lie"),
        ("bird:0,0,0,9", "figure 'bird:0,0,0,9': box is .* which does not lie"),
    ],
)
def test_figures_that_there_are_not(sets, tmp_path, capsys, text, message):
    output = tmp_path / "out"
    refused(capsys, message, ["bicubic"], sets, output=output, figures=[text])
    assert not output.exists()


def test_outputs_that_there_cannot_be(sets, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file", tmp_path / "file" / "out"):
        message = rf"{re.escape(str(output))} cannot be written to \(.*\); choose another --output"
        refused(capsys, message, ["bicubic"], sets, output=output)
    message = f"out lies in {re.escape(str(sets[1] / 'HR'))}, whose images would include its"
    for folder in (sets[1], sets[1] / "HR"):
        refused(capsys, message, ["bicubic"], [sets[0], folder], output=sets[1] / "HR" / "out")
    for options in ({"save_images": True}, {"figures": ["bird"]}):
        refused(capsys, "pictures need a folder; give --output", ["bicubic"], sets, **options)


@pytest.mark.parametrize("channel", ["y", "rgb"])
@pytest.mark.parametrize("kind", ["HR", "LRx2"])
def test_a_damaged_image_in_the_last_set_is_found_first(sets, tmp_path, capsys, channel, kind):
    shutil.copytree(sets[0], tmp_path / "set")
    damaged = tmp_path / "set" / kind / "head.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    options = {"protocol": Protocol(channel), "output": tmp_path / "new" / "out"}
    message = rf"{kind}/head\.png: cannot be read"
    refused(capsys, message, ["bicubic"], [*sets, tmp_path / "set"], **options)
    assert not (tmp_path / "new").exists()


def test_an_image_too_small_to_measure_is_found_first(sets, tmp_path, capsys):
    options = {"protocol": Protocol(shave=19), "output": tmp_path / "out"}
    (tmp_path / "set").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "set" / "small.png")
    message = "small: shave must .* got shave 19 for 48x64"
    refused(capsys, message, ["bicubic"], [tmp_path / "set"], **options)
    assert not (tmp_path / "out").exists()


# ---- what fails later ----


def test_a_failure_leaves_no_empty_folders(sets, tmp_path):
    path = tmp_path / "nan.safetensors"
    variables = initialize(create_model("lnln", 2, **OPTIONS), 0)
    damaged = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan, leaf.dtype), variables)
    save_safetensors(path, ModelConfig("lnln", 2, OPTIONS), damaged)
    new, old = tmp_path / "new" / "out", tmp_path / "old"
    old.mkdir()
    for output in (new, old):
        with pytest.raises(ValueError, match="the network of nan returned NaN"):
            run([str(path)], sets, output=output)
    assert not new.parent.exists()
    assert old.exists()
    with pytest.raises(ValueError, match="the network of nan returned NaN"):
        run([str(path)], sets, output=new, save_images=True)
    assert files_below(new) == {f"images/Set5_x2/bicubic/{name}.png" for name in IMAGES["Set5"]}


def test_an_output_beside_the_images_of_div2k(sets, tmp_path):
    shutil.copytree(sets[1] / "HR", tmp_path / "DIV2K_valid_HR")
    run(["bicubic"], [tmp_path], output=tmp_path / "out", save_images=True)
    results = run(["bicubic"], [tmp_path], output=tmp_path / "out")  # replaces the report
    assert [score.image for score in results[0].scores] == ["a comic: page", "head"]
