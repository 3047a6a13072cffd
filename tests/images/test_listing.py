"""Listing the images of a folder, and what is told of the rest."""

import os
import socket
import sys
from pathlib import Path

import pytest

from lnln_jax.images.files import IMAGE_SUFFIXES, ImageFileError
from lnln_jax.images.listing import (
    PICTURE_SUFFIXES,
    Listing,
    find_images,
    list_images,
    skipped,
)
from tests.support.permissions import public_folder, unprivileged

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and permissions of Unix")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_find_images_is_recursive_sorted_and_case_blind(tmp_path):
    touch(tmp_path, "b.PNG", "a.jpg", "sub/c.TiFf", "sub/d.webp", "notes.txt", ".hidden.png")
    touch(tmp_path, ".git/e.png", "folder.png/f.png")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.jpg", "b.PNG", "folder.png/f.png", "sub/c.TiFf", "sub/d.webp"]


def test_find_images_wants_a_folder(tmp_path):
    with pytest.raises(ImageFileError, match=r"absent: .*No such file"):
        find_images(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(ImageFileError, match=r"file: .*Not a directory"):
        find_images(tmp_path / "file")


def test_what_looks_like_pictures_is_told_by_kind_and_number(tmp_path):
    touch(tmp_path, "a.png", "a.HEIC", "sub/b.heic", "c.SVG", "sub/d.mov")
    touch(tmp_path, "notes.txt", "a.xmp", "Thumbs.db", ".DS_Store", ".e.heic", "no_suffix")
    listing = list_images(tmp_path)
    assert listing.images == [tmp_path / "a.png"]
    assert skipped([listing]) == ["2 .heic", "1 .mov", "1 .svg"]
    assert skipped([listing, listing]) == ["4 .heic", "2 .mov", "2 .svg"]
    assert skipped([]) == []


@UNIX
def test_links_to_folders_are_told_and_not_followed(tmp_path):
    touch(tmp_path, "in/a.png", "elsewhere/b.png")
    root = tmp_path / "in"
    (root / "loop").symlink_to(root)
    (root / "other").symlink_to(tmp_path / "elsewhere")
    (root / "linked.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    listing = list_images(root)
    assert listing.images == [root / "a.png", root / "linked.png"]
    assert listing.links == [root / "loop", root / "other"]
    assert skipped([listing]) == ["2 linked folders"]
    assert list_images(root / "other").images == [root / "other" / "b.png"]  # named by the user


@UNIX
def test_links_to_nowhere_and_in_a_circle_are_listed_so_that_reading_tells(tmp_path):
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "absent.png")
    assert [path.name for path in find_images(tmp_path)] == ["circle.png", "dangling.png"]


@UNIX
def test_pipes_and_sockets_are_not_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes
    os.mkfifo("pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        listing = list_images(tmp_path)
    assert listing.images == []
    assert skipped([listing]) == ["2 .png (not a file)"]


@UNIX
def test_a_folder_without_permission_is_told_and_ends_nothing():
    with public_folder() as folder:
        touch(folder, "a.png", "lost+found/b.png", "z/c.png")
        (folder / "lost+found").chmod(0)
        with unprivileged():
            listing = list_images(folder)
            with pytest.raises(ImageFileError, match="cannot be listed: Permission denied"):
                list_images(folder / "lost+found")
        assert listing.images == [folder / "a.png", folder / "z" / "c.png"]
        assert skipped([listing]) == [f"{folder / 'lost+found'} (Permission denied)"]
    unread = [(Path(str(number)), "no") for number in range(5)]
    expected = ["0 (no)", "1 (no)", "2 (no)", "2 more that cannot be listed"]
    assert skipped([Listing([], {}, [], unread)]) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow text alone")
def test_names_of_any_bytes_are_listed(tmp_path):
    strange = [b"\xff.png", b"new\nline.png", b"\x1b[31m.png", b"a" * 251 + b".png"]
    for name in strange:
        open(os.path.join(os.fsencode(tmp_path), name), "wb").close()
    assert sorted(os.fsencode(path.name) for path in find_images(tmp_path)) == sorted(strange)


def test_all_that_can_be_read_is_taken_for_pictures():
    assert set(IMAGE_SUFFIXES) <= PICTURE_SUFFIXES
