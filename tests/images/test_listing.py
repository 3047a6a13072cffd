"""Listing the images of a folder."""

import pytest

from lnln_jax.images.files import ImageFileError
from lnln_jax.images.listing import find_images


def test_find_images_is_recursive_sorted_and_case_blind(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.TiFf", "sub/d.webp", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "e.png").touch()
    (tmp_path / "folder.png").mkdir()
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "sub/c.TiFf", "sub/d.webp"]


def test_find_images_wants_a_folder(tmp_path):
    with pytest.raises(ImageFileError, match=r"absent: .*No such file"):
        find_images(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(ImageFileError, match=r"file: .*Not a directory"):
        find_images(tmp_path / "file")
