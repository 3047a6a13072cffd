"""scripts/recipes/pack_images.py, on images that are made here."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from lnln_jax.data import dead_leaves, load_folder
from scripts.recipes import pack_images
from tests.support.checkout import run_script


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    (folder / "a").mkdir()
    (folder / "held").mkdir()
    for i in range(4):
        rgb = dead_leaves(np.random.default_rng(i), (120, 160))
        Image.fromarray(rgb).save(folder / "a" / f"{i}.png")
    Image.fromarray(rgb).save(folder / "a" / "again.png")  # the fourth once more
    Image.fromarray(rgb[:, ::-1]).save(folder / "a" / "photo.jpg", quality=50)
    Image.fromarray(rgb[:64]).save(folder / "a" / "small.png")
    Image.fromarray(np.full((200, 200, 3), 77, np.uint8)).save(folder / "a" / "flat.png")
    held = Image.open(folder / "a" / "1.png")
    held.save(folder / "held" / "other name.bmp")
    output = folder / "pack"
    held, module = folder / "held", "recipes.pack_images"
    done = run_script(module, folder / "a", "--validation", held, "--output", output)
    assert done.returncode == 0, done.stderr
    return folder, output


def test_whole_images_without_those_held_out(packed):
    folder, output = packed
    names = json.loads((output / "manifest.json").read_text())["images"]
    stems = {name.partition(".")[0] for name in names}
    assert stems == {"a_0", "a_2", "a_3", "a_photo", "a_flat"}
    with zipfile.ZipFile(output / "train.zip") as archive:
        assert archive.namelist() == names
        # A JPEG that is smaller than its WebP is packed as it is.
        assert archive.read("a_photo.jpg") == (folder / "a" / "photo.jpg").read_bytes()
        with archive.open("a_0.png.webp") as file, Image.open(file) as image:
            assert image.size == (160, 120)
            original = np.asarray(Image.open(folder / "a" / "0.png"), np.float64)
            error = np.square(np.asarray(image.convert("RGB"), np.float64) - original).mean()
            assert 10 * np.log10(255**2 / error) > 33  # WebP of quality 95, chroma halved
    assert [path.name for path in (output / "validation").iterdir()] == ["held_other name.bmp"]


def test_it_trains(packed):
    source = load_folder(packed[1] / "train.zip", scale=2, min_lr_size=24)
    assert len(source) == 5


def build(folders, validation, output, *, mebibytes=1.0, held_out=8):
    return pack_images.build(folders, validation, output, mebibytes=mebibytes, held_out=held_out)


def test_the_richest_are_chosen_and_the_size_kept(packed, tmp_path):
    folder, _ = packed
    build([folder / "a"], folder / "held", tmp_path, mebibytes=0.03)
    assert (tmp_path / "train.zip").stat().st_size <= 0.03 * 2**20
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert 0 < manifest["train"] < manifest["of"] == 5


def test_the_same_images_make_the_same_zip(packed, tmp_path):
    folder, output = packed
    build([folder / "a"], folder / "held", tmp_path)
    assert (tmp_path / "train.zip").read_bytes() == (output / "train.zip").read_bytes()


def test_names_of_hidden_folders_and_of_the_same_files(packed, tmp_path):
    """They must not be hidden in the zip, nor hide each other."""
    folder, _ = packed
    (tmp_path / "held" / "b").mkdir(parents=True)
    for name, source in (("1.png", "1.png"), ("b/1.png", "2.png")):
        (tmp_path / "held" / name).write_bytes((folder / "a" / source).read_bytes())
    (tmp_path / ".x").mkdir()
    (tmp_path / ".x" / "0.png").write_bytes((folder / "a" / "0.png").read_bytes())
    build([tmp_path / ".x"], tmp_path / "held", tmp_path / "o")
    assert len(load_folder(tmp_path / "o" / "train.zip", scale=2, min_lr_size=24)) == 1
    copies = sorted(path.name for path in (tmp_path / "o" / "validation").iterdir())
    assert copies == ["held_1.png", "held_b_1.png"]


def test_a_folder_of_others_stays(packed, tmp_path):
    folder, _ = packed
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="has a validation/ of others"):
        build([folder / "a"], folder / "held", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["validation"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--held-out", "0"], "--held-out"),
        (["--mib", "inf"], "--mib is inf"),
        (["--mib", "0.0001"], "5 do not fit into --mib 0.0001"),
        (["--output", "/proc/no"], "--output /proc/no cannot be written"),
    ],
)
def test_wrong_values(packed, tmp_path, call, arguments, problem):
    folder, _ = packed
    output = ["--output", tmp_path / "o"] if "--output" not in arguments else []
    held = ["--validation", folder / "held"]
    status, _, stderr = call(pack_images, folder / "a", *held, *output, *arguments)
    assert status == 2
    assert problem in stderr


def test_nothing_to_pack(packed, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no image can be packed"):
        build([tmp_path / "none"], packed[0] / "held", tmp_path / "o")
    assert not (tmp_path / "o").exists()
