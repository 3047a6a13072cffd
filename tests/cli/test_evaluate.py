"""`lnln evaluate` as its users call it."""

import json
import os
import termios

from PIL import Image

from lnln_jax.cli import main
from tests.support.commands import fails, lnln


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


def test_a_terminal_shows_what_is_going_on(tmp_path, pixels):
    Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1)).save(tmp_path / "x.png")
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 120))  # tqdm writes nothing where there are no columns
    done = lnln("evaluate", "bicubic", "--data", tmp_path, stderr=writer)
    shown = os.read(reader, 10_000).decode()  # before the last writer leaves
    os.close(writer)
    os.close(reader)
    assert done.returncode == 0
    assert f"{tmp_path.name} x2, bicubic: " in shown
    assert f"{tmp_path.name} x2, bicubic (SRCNN convention): " in shown
    assert "it/s" not in done.stdout


def test_a_damaged_test_image_is_named(broken, capsys):
    error = fails(capsys, "evaluate", "bicubic", "--data", broken.parent)
    assert error == f"{broken}: cannot be read: image file is truncated"
