"""Tests of training images in .zip files, which must be those of the unpacked folder."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.data import load_folder
from lnln_jax.data.image_sets import Archive, open_images
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.training.inputs import open_sources, open_validation
from tests.support.runs import CONFIG, save_pictures


@pytest.fixture
def pictures(tmp_path):
    """A folder of images, whose paths sort otherwise than their names, and of other files."""
    folder = save_pictures(tmp_path / "hr", 6, 48)
    for number, name in enumerate(["a-b.png", "a/b.PNG", "a/.hidden.png", ".git/x.png", "é.png"]):
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / f"{number}.png", target)
    with Image.open(folder / "5.png") as image:
        image.convert("L").save(folder / "a" / "gray.jpg")
    (folder / "readme.txt").write_text("text")
    return folder


def zipped(folder: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """Packs a folder, in another order than its own, with what zips have besides."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(folder))
        archive.writestr("__MACOSX/0.png", b"junk")
        archive.writestr("folder.png/", b"")
    return path


def load(root: Path, **options):
    return load_folder(root, scale=2, min_lr_size=12, **options)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_has_the_pairs_of_its_folder(pictures, compression):
    path = zipped(pictures, compression)
    expected, source = load(pictures), load(path)
    assert len(source) == 10
    assert source.name == str(path)
    for pair, same in zip(source, expected, strict=True):
        for image, other in zip(pair, same, strict=True):
            np.testing.assert_array_equal(image, other)
    assert source.identity == expected.identity
    with open_images(path) as images, open_images(pictures) as folder:
        assert images.names == folder.names
        assert images.names.index("a/b.PNG") < images.names.index("a-b.png")


def test_lr_images_in_a_zip(pictures, tmp_path):
    lr = tmp_path / "lr"
    with open_images(pictures) as images:
        names = images.names
    for (image, _), name in zip(load(pictures), names, strict=True):
        target = lr / name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - image).save(target.with_stem(f"{target.stem}x2"), quality=90)
    expected = load(pictures, lr_root=lr)
    assert expected.identity != load(pictures, lr_root="imresize").identity
    lr_zip = zipped(lr)
    for root in (pictures, zipped(pictures)):
        assert load(root, lr_root=lr_zip).identity == expected.identity


def test_a_config_names_zips(pictures, tmp_path):
    path = zipped(pictures)
    data = replace(CONFIG.data, dead_leaves=0, data_dir=str(tmp_path / "none"))
    mixed = replace(data, train=(str(path), str(pictures)))
    first, second = open_sources(replace(CONFIG, data=mixed))
    assert first.identity == second.identity
    held = open_validation(replace(CONFIG, data=replace(data, validation=str(path))))
    assert held.names == open_benchmark(pictures, 2).names
    for name in (pictures / "0.png", tmp_path / "none.zip"):
        for field, value, opened in (
            ("train", (str(name),), open_sources),
            ("validation", str(name), open_validation),
        ):
            with pytest.raises(ValueError, match=rf"data\.{field} names .*, which is not a folder"):
                opened(replace(CONFIG, data=replace(data, **{field: value})))


def test_a_damaged_image_is_named_or_left_out(pictures, caplog):
    path = zipped(pictures)
    with Archive(path) as archive:
        member = archive._file.getinfo("a/b.PNG")
    data = bytearray(path.read_bytes())
    data[member.header_offset + member.file_size // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"1 of the 10 images .*\n  a/b\.PNG: cannot be .*CRC"):
        load(path)
    source = load(path, on_bad_image="skip")
    assert len(source) == 9
    assert [path for path, _ in source.skipped] == [path / "a" / "b.PNG"]
    assert "1 of the 10 images" in caplog.text


@pytest.mark.parametrize("kept", [0, 10, 1000])
def test_a_damaged_zip(pictures, kept):
    path = zipped(pictures)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"hr\.zip cannot be read as a \.zip file: "):
        load(path)


def test_a_zip_without_images(tmp_path):
    path = tmp_path / "none.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "text")
        archive.writestr("__MACOSX/0.png", b"junk")
    with pytest.raises(ValueError, match=r"none\.zip: no images in this \.zip file; expected"):
        load(path)


@pytest.mark.parametrize(
    "name", ["/etc/0.png", "../0.png", "a/../../0.png", "C:/0.png", "a\\..\\0.png"]
)
def test_names_that_lead_out_of_the_zip(tmp_path, name):
    path = tmp_path / "out.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"junk")
    with pytest.raises(ValueError, match=r"out\.zip has an image named .*0\.png, which leads out"):
        load(path)


def test_backslashes_of_old_programs_are_slashes(pictures, tmp_path):
    path = tmp_path / "windows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(3):
            archive.write(pictures / f"{number}.png", f"D_HR\\{number}.png")
            archive.write(pictures / f"{number}.png", f"D_LR_unknown\\X2\\{number}.png")
    assert len(load(path)) == 3


def test_a_password(pictures):
    path = zipped(pictures)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\1\2", data.index(b"PK\1\2"))
    data[directory + 8] |= 1  # the flag that a member is encrypted; the first is é.png
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"hr\.zip has a password on é\.png; make it again"):
        load(path)


def test_bombs(tmp_path, monkeypatch):
    # One that unpacks to more than any image has, and one whose image has more pixels than Pillow's
    # limit, which is lowered here.
    path = tmp_path / "bombs.zip"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    Image.new("RGB", (200, 200)).save(tmp_path / "large.png")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(2**21))
        archive.write(tmp_path / "large.png", "large.png")
    with pytest.raises(ValueError, match="none of the 2 images") as caught:
        load(path)
    assert "bomb.png: cannot be read: it unpacks to 2097152 bytes, more than" in str(caught.value)
    assert "large.png: cannot be read: Image size (40000 pixels) exceeds limit" in str(caught.value)
