import zipfile
from pathlib import Path

import numpy as np
import pytest

from lnln_jax.data.image_sets import open_images
from lnln_jax.data.prepare.origins import Origin, origins_of
from lnln_jax.images.files import read_rgb
from tests.support.prepared import copy_images


def in_archive(path: Path) -> list[Origin]:
    with open_images(path) as images:
        return origins_of(images, images.names)


def test_images_in_an_archive(data_dir, tmp_path):
    images = copy_images(data_dir, tmp_path / "images", 9)
    path = tmp_path / "images.zip"
    files = sorted(images.rglob("*.jpg"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("set/readme.txt", "text")
        archive.writestr("__MACOSX/set/._a.jpg", b"junk")
        for file in files:
            archive.write(file, f"set/{file.name}")
    origins = in_archive(path)
    assert [origin.name for origin in origins] == sorted(f"set/{file.name}" for file in files)
    by_name = {file.name: file for file in files}
    for origin in origins:
        expected = read_rgb(by_name[Path(origin.name).name])
        np.testing.assert_array_equal(origin.read(), expected)
        assert origin.shape() == expected.shape[:2]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    offset = len(data) // 3
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    damaged = max((m for m in members if m.header_offset < offset), key=lambda m: m.header_offset)
    for origin in in_archive(path):
        if origin.name == damaged.filename:
            with pytest.raises(ValueError, match=rf"{origin.name}: cannot be read: .*CRC"):
                origin.read()
        else:
            origin.read()
    path.write_bytes(data[:1000])
    with pytest.raises(ValueError, match=r"cannot be read as a .zip file"):
        in_archive(path)
