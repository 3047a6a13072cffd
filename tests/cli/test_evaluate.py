"""`lnln evaluate` as its users call it."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from lnln_jax.cli import main
from tests.support.commands import fails


def test_evaluate_bicubic(published_dir, tmp_path, capsys):
    output = tmp_path / "new" / "out"
    set5, head = published_dir / "Set5", tmp_path / "Head"
    head.mkdir()
    (head / "head.png").write_bytes((set5 / "HR" / "head.png").read_bytes())
    arguments = ["evaluate", "bicubic", "--data", set5, "--data", head, "--output", output]
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "mean       33.67 / 0.9303  33.66 / 0.9299" in captured.out
    assert "LR files in LRx2" in captured.out
    assert "LR made from HR by imresize" in captured.out
    assert captured.out.endswith(f"written to {output}\n")
    results = json.loads((output / "results.json").read_text())["results"]
    assert [result["benchmark"] for result in results] == ["Set5", "Set5", "Head", "Head"]
    names = [image["image"] for image in results[0]["images"]]
    assert names == ["baby", "bird", "butterfly", "head", "woman"]
    assert results[2]["psnr"] == results[0]["images"][3]["psnr"]
    assert (output / "results.md").read_text().startswith("# Evaluation x2\n")


def test_evaluate_options(tmp_path, pixels, capsys):
    (tmp_path / "set" / "LRx4").mkdir(parents=True)
    pixels = pixels.repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(pixels).save(tmp_path / "set" / "x.png")
    Image.fromarray(pixels[::4, ::4]).save(tmp_path / "set" / "LRx4" / "x.png")
    common = ["evaluate", "bicubic", "--data", str(tmp_path / "set"), "--scale", "4"]
    output = tmp_path / "out"
    options = ["--lr", "imresize", "--border", "replicate", "--channel", "rgb", "--shave", "3"]
    options += ["--no-rounding", "--self-ensemble", "--save-images", "--output", str(output)]
    assert main([*common, *options, "--figure", "x:0,0,8,8", "--figure", "x"]) == 0
    head, columns, *_ = capsys.readouterr().out.splitlines()
    assert head == (
        "PSNR (dB) / SSIM on RGB, shaved 3, of unrounded results; "
        "LR made from HR by imresize (replicate border); self-ensemble"
    )
    assert columns.split()[1:] == ["x4", "bicubic"]
    protocol = json.loads((output / "results.json").read_text())["protocol"]
    assert protocol.pop("degradation")["kind"] == "bicubic"
    assert protocol == {"channel": "rgb", "shave": 3, "rounding": False, "border": "replicate"}
    assert (output / "images" / "set_x4" / "bicubic" / "x.png").exists()
    assert (output / "figure.png").exists()

    assert main(common) == 0
    assert "shaved 4, of rounded results; LR files in LRx4" in capsys.readouterr().out
    error = fails(capsys, *common, "--res-scale", "0.3")
    assert error.startswith("res_scale is 0.3, but there is no EDSR that takes it")


def test_a_damaged_test_image_is_named(broken, capsys):
    error = fails(capsys, "evaluate", "bicubic", "--data", broken.parent)
    assert error == f"{broken}: cannot be read: image file is truncated"


def test_results_of_others(tmp_path, pixels, capsys):
    image = Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1))
    (tmp_path / "sr").mkdir()
    image.save(tmp_path / "x.png")
    image.save(tmp_path / "sr" / "x_x2_SR.png")
    data, results = ["--data", tmp_path / "x"], ["--results", f"Mine={tmp_path / 'sr'}"]
    (tmp_path / "x").mkdir()
    image.save(tmp_path / "x" / "x.png")
    call = [str(word) for word in ("evaluate", *data, *results, "--scale", "2")]
    assert main(call) == 0
    assert "x     " in capsys.readouterr().out.splitlines()[3]
    assert main([*call, "--quiet"]) == 0
    assert "inf / 1.0000" in capsys.readouterr().out
    error = fails(capsys, "evaluate", *data, *results)
    assert error == "results do not tell their scale; give scale (--scale)"


def test_wrong_calls(tmp_path, capsys):
    for words, complaint in (
        ((), "there is nothing to evaluate; name a model, or results (--results)"),
        (("--results", "sr"), "'sr' is not name=folder"),
        (("--results", "A=a", "--results", "A=b"), "--results gives 'A' twice"),
        (("bicubic", "--scale", "2", "--scale", "3"), "--scale is given twice"),
        (("bicubic", "--lr", ""), "--lr is empty"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["evaluate", "--data", str(tmp_path), *words])
        assert caught.value.code == 2
        assert complaint in capsys.readouterr().err


def test_options_before_models_and_names_that_are_not_utf8(tmp_path, pixels, capsys):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9nch")
    os.mkdir(folder)
    picture = Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1))
    with open(os.fsencode(folder) + b"/caf\xe9.png", "wb") as file:
        picture.save(file, "PNG")
    picture.save(os.path.join(folder, "x" * 250 + ".png"))
    picture.save(os.path.join(folder, "CAF.png"))
    picture.save(os.path.join(folder, "caf.png"))
    output = tmp_path / "out"
    arguments = ["evaluate", "--data", folder, "bicubic", "--output", str(output), "--save-images"]
    assert main([*arguments, "--figure", os.fsdecode(b"caf\xe9")]) == 0
    assert r"caf\xe9" in capsys.readouterr().out
    for name in ("results.json", "results.md", "figure.html"):
        assert (output / name).read_bytes().decode()
    images = json.loads((output / "results.json").read_text())["results"][0]["images"]
    assert [image["image"] for image in images[1:3]] == ["caf", r"caf\xe9"]
    written = [path.name for path in (output / "images").rglob("*.png")]
    assert len({name.casefold() for name in written}) == 4


def test_lr_of_a_folder(tmp_path, pixels, capsys):
    hr = pixels.repeat(8, axis=0).repeat(8, axis=1)
    for name, image in (("set/a.png", hr), ("small/a_x2.png", hr[::2, ::2])):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(image).save(tmp_path / name)
    call = ["evaluate", "bicubic", "--data", str(tmp_path / "set")]
    assert main([*call, "--lr", str(tmp_path / "small")]) == 0
    assert f"LR files in {tmp_path / 'small'}" in capsys.readouterr().out
    error = fails(capsys, *call, "--lr", tmp_path / "small", "--scale", "3")
    assert error == f"{tmp_path / 'small'}: the images are of x2, not of x3"


def test_a_warning_is_a_line_whatever_libraries_have_set_up(tmp_path):
    for name, side in (("HR/a", 24), ("LR_unknown/X2/ax2", 12)):
        path = tmp_path / "set" / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (side, side)).save(path)
    code = (
        "import logging, sys; logging.basicConfig()\n"  # as absl does where Orbax is imported
        "from lnln_jax.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "evaluate", "bicubic", "--data", str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "LR_unknown" in line]
    assert line.startswith("warning: ")
