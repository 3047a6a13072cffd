"""Layouts: which images are HR, which are their LR images, and what is left out and told."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnln_jax.data import load_folder
from lnln_jax.data.folder_names import read_folder_name
from lnln_jax.data.layout_folders import MADE, find_images_of
from lnln_jax.data.layouts import find_layout
from lnln_jax.evaluation.test_sets import open_benchmark
from lnln_jax.images.resize import imresize

SIDE = 24


def sizes(name: str) -> tuple[int, int]:
    return (SIDE, SIDE) if read_role(name) == "hr" else (SIDE // 2, SIDE // 2)


def read_role(name: str) -> str:
    roles = [read_folder_name(part).role for part in name.split("/")[:-1]]
    return next(filter(None, reversed(roles)), "")


# Each: HR images, the LR image of the first, folders of both.
PAIRED = {
    "HR/a.png LR/a.png": ("HR", "LR"),
    "hr/a.png lr/a.png": ("hr", "lr"),
    "HR/a.png LRx2/a.png": ("HR", "LRx2"),
    "HR/a.png lr_x2/a.png": ("HR", "lr_x2"),
    "HR/a.png LR_x2/a.png": ("HR", "LR_x2"),
    "HR/a.png LR_bicubic/x2/aX2.png": ("HR", "LR_bicubic/x2"),
    "HR/a.png LR_bicubic/X2/ax2.png": ("HR", "LR_bicubic/X2"),
    "HR/0001.png lr_bicubic_x2/0001_x2.png": ("HR", "lr_bicubic_x2"),
    "HR/a.png LR_bicubic/X2/a_LR.png": ("HR", "LR_bicubic/X2"),
    "HR/sub/a.png LR_bicubic/X2/sub/ax2.png": ("HR", "LR_bicubic/X2"),
    "X2/HR/a.png X2/LR/a.png": ("X2/HR", "X2/LR"),
    "HR/X2/a.png LR/X2/a.png": ("HR/X2", "LR/X2"),
    "HR/x2/a.png HR/x3/a.png LR/x2/a.png": ("HR/x2", "LR/x2"),
    "Flickr2K_HR/1.png Flickr2K_LR_bicubic/X2/1x2.png": ("Flickr2K_HR", "Flickr2K_LR_bicubic/X2"),
    "D_train_HR/1.png D_train_LR_bicubic/X2/1x2.png D_train_LR_unknown/X2/1x2.png "
    "D_train_LR_mild/1x2m.png D_train_LR_wild/1x2w1.png": ("D_train_HR", "D_train_LR_bicubic/X2"),
    "D_train_HR_sub/1_s1.png D_train_LR_bicubic/X2_sub/1_s1.png": (
        "D_train_HR_sub",
        "D_train_LR_bicubic/X2_sub",
    ),
    "GTmod12/a.png original/a.png LRbicx2/a.png LRbicx4/a.png": ("GTmod12", "LRbicx2"),
    "original/a.png LRbicx2/a.png": ("original", "LRbicx2"),
    "GT/a.png LQ/a.png": ("GT", "LQ"),
    "hq/a.png lq_x2/a.png": ("hq", "lq_x2"),
    "hires/a.png lores/a.png": ("hires", "lores"),
    "GT/a.png x2/a.png": ("GT", "x2"),
    "GT/a.png bicubic_x2/ax2.png": ("GT", "bicubic_x2"),
    "HR/a.png bicubic/X2/ax2.png": ("HR", "bicubic/X2"),
    "HR/a.png bicx2/a.png": ("HR", "bicx2"),
    "HR/a.png LR2/a.png": ("HR", "LR2"),
    "a_HR.png a_LR2.png": ("", ""),
    "high_resolution/a.png low_resolution/X2/a.png": ("high_resolution", "low_resolution/X2"),
    "HR_train/a.png LR_train/X2/a.png": ("HR_train", "LR_train/X2"),
    "train/HR/a.png train/LR/a.png": ("train/HR", "train/LR"),
    "image_SRF_2/i_SRF_2_HR.png image_SRF_2/i_SRF_2_LR.png image_SRF_2/i_SRF_2_ScSR.png": (
        "image_SRF_2",
        "image_SRF_2",
    ),
    "HR/Set5/x2/a_HR_x2.png LR/LRBI/Set5/x2/a_LRBI_x2.png LR/LRBD/Set5/x2/a_LRBD_x2.png": (
        "HR/Set5/x2",
        "LR/LRBI/Set5/x2",
    ),
    "a.png LRx2/a.png": ("", "LRx2"),
    "city/a.png LRx2/city/a.png": ("", "LRx2"),
    "city/a.png city/LRx2/a.png": ("", "city/LRx2"),
    "a_HR.png a_LR_x2.png": ("", ""),
}


@pytest.mark.parametrize("names", PAIRED)
@pytest.mark.parametrize("upper", [False, True])
def test_layouts_in_use(names, upper):
    hr_folder, lr_folder = PAIRED[names]
    if upper:
        names, hr_folder, lr_folder = names.upper(), hr_folder.upper(), lr_folder.upper()
    listing = names.split()
    layout = find_layout(listing, 2, purpose="training", size=sizes)
    assert (layout.hr_folders, layout.lr_folders) == ((hr_folder,), (lr_folder,))
    lr = next(name for name in listing[1:] if name.rpartition("/")[0].startswith(lr_folder))
    assert (layout.hr, dict(layout.lr)) == ((listing[0],), {listing[0]: lr})
    assert not layout.missing


@pytest.mark.parametrize(
    ("names", "unused"),
    [
        ("HR/a.png LRx3/a.png", {"LRx3": "of x3"}),
        ("HR/a.png LR/a_x4.png", {"LR": "of x4"}),
        ("HR/a.png LR_unknown/X2/a.png", {"LR_unknown/X2": "unknown, not bicubic"}),
        ("HR/a.png LR/b.png", {"LR": "none of its names is that of an HR image"}),
        ("HR/a.png LR_sub/X2/a_1.png", {"LR_sub/X2": "none of its names is that of an HR image"}),
        (
            "A_HR/a.png B_HR/b.png C_LR/X2/a.png",
            {"C_LR/X2": "it belongs to none of the HR images"},
        ),
    ],
)
def test_lr_folders_that_are_not_used_are_told(names, unused):
    layout = find_layout(names.split(), 2, purpose="training", size=sizes)
    assert (dict(layout.unused), layout.lr, layout.missing) == (unused, {}, {})


def test_a_digit_in_some_names_is_no_scale():
    names = ["HR/dog.png", "HR/fox4.png", "LR/dog.png", "LR/fox4.png"]
    assert len(find_layout(names, 2, purpose="training", size=sizes).lr) == 2


def test_sizes_tell_the_scale_of_a_folder_that_does_not():
    names = ["HR/a.png", "LR/a.png"]
    assert find_layout(names, 2, purpose="training", size=sizes).lr
    for scale, size, reason in ((3, sizes, "its sizes are not those"), (2, None, "not known")):
        layout = find_layout(names, scale, purpose="training", size=size)
        assert not layout.lr
        assert reason in layout.unused["LR"]


def test_training_and_validation_side_by_side():
    names = [
        f"D_{split}_{kind}.png" for split in ("train", "valid") for kind in ("HR/a", "LR/X2/a")
    ]
    for purpose, split in (("training", "train"), ("evaluation", "valid")):
        layout = find_layout(names, 2, purpose=purpose)
        assert layout.hr == (f"D_{split}_HR/a.png",)
        assert layout.lr == {f"D_{split}_HR/a.png": f"D_{split}_LR/X2/a.png"}
        assert len(layout.left_out) == 1
    both = find_layout(names, 2, purpose="both")
    assert (len(both.hr), both.validation) == (2, {"D_valid_HR/a.png"})
    plain = ["train/a.png", "val/b.png", "test/c.png"]
    assert find_layout(plain[:2], 2, purpose="training").hr == ("train/a.png",)
    assert find_layout(plain[:2], 2, purpose="evaluation").hr == ("val/b.png",)
    assert find_layout(plain, 2, purpose="training").hr == ("train/a.png",)
    beside = find_layout([*plain[:2], "c.png"], 2, purpose="evaluation")
    assert beside.hr == ("val/b.png",)
    assert beside.left_out == ("what is in train, the folder itself, which is for training",)
    assert find_layout(plain[::2], 2, purpose="training").hr == ("train/a.png",)
    assert find_layout(plain[::2], 2, purpose="evaluation").hr == ("test/c.png",)
    assert find_layout(plain[1:], 2, purpose="training").hr == ("val/b.png", "test/c.png")


@pytest.mark.parametrize(
    ("names", "purpose", "error"),
    [
        ("Set5/HR/a.png Set14/HR/b.png", "evaluation", "several .*; give one of .*Set5/HR, Set14"),
        ("train/a.png val/b.png test/c.png", "evaluation", "validation and .* tests; give one of"),
        ("HR/a.png HR_sub/a_1.png", "training", "several .* of the same; .*: HR, HR_sub"),
        ("HR/a.png LRx2/a.png lr_x2/a.png", "training", "several folders of LR .*LRx2, lr_x2; cho"),
        ("LR/a.png LR_bicubic/X2/a.png", "training", "LR images alone, in LR, LR_bicubic/X2; give"),
        ("X3/HR/a.png X4/HR/a.png", "training", "no HR images of x2, only of x3, x4, in X3/HR, X4"),
    ],
)
def test_what_may_mean_several_things_is_an_error(names, purpose, error):
    with pytest.raises(ValueError, match=error):
        find_layout(names.split(), 2, purpose=purpose, size=sizes)


def test_several_sets_are_one_training_set():
    names = "A_HR/1.png A_LR_bicubic/X2/1x2.png B_HR/2.png B_LR_bicubic/X2/2x2.png C_HR/3.png"
    layout = find_layout(names.split(), 2, purpose="training")
    assert layout.hr == ("A_HR/1.png", "B_HR/2.png", "C_HR/3.png")
    assert [*layout.lr] == ["A_HR/1.png", "B_HR/2.png"]
    assert not layout.missing


def test_words_begin_with_capitals():
    layout = find_layout(["TrainHR/a.png", "TrainLRx2/a.png"], 2, purpose="training")
    assert (layout.hr, layout.lr_folders) == (("TrainHR/a.png",), ("TrainLRx2",))


def test_an_lr_image_belongs_to_one_hr_image():
    layout = find_layout(["HR/a.png", "HR/a.jpg", "LRx2/a.bmp"], 2, purpose="training")
    assert not layout.lr
    assert {*layout.missing} == {"HR/a.png", "HR/a.jpg"}
    assert all("is that of another one, too" in why for why in layout.missing.values())


@pytest.mark.parametrize("lr", [MADE, None, "given"])
def test_equal_lr_folders_are_no_matter_where_none_is_asked_for(tmp_path, lr):
    for name, side in (("GTmod12/a", 24), ("LRbicx2/a", 12), ("LR_bicubic/X2/a", 12)):
        path = tmp_path / "set" / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (side, side)).save(path)
    given = tmp_path / "set" / "LRbicx2" if lr == "given" else lr
    with find_images_of(tmp_path / "set", 2, purpose="training", lr=given) as found:
        assert found.layout.hr == ("GTmod12/a.png",)
        assert bool(found.layout.lr) == (lr == "given")
    with (
        pytest.raises(ValueError, match="several folders of LR images"),
        find_images_of(tmp_path / "set", 2, purpose="training"),
    ):
        pass


def test_a_missing_lr_image_is_no_reason_to_make_it():
    layout = find_layout(["HR/a.png", "HR/b.png", "LRx2/a.png"], 2, purpose="training")
    assert [*layout.missing] == ["HR/b.png"]
    layout = find_layout(["HR/a.png", "LRx2/b.png"], 2, purpose="training")
    assert [*layout.missing] == ["HR/a.png"]


# ---- folders and .zip files ----


@pytest.fixture
def div2k(tmp_path: Path) -> Path:
    """DIV2K as it is unpacked, with LR images that nobody would make."""
    folder = tmp_path / "DIV2K"
    rng = np.random.default_rng(0)
    for i in range(3):
        hr = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        save(folder / "DIV2K_train_HR" / f"000{i}.png", hr)
        lr = 255 - imresize(hr, 1 / 2)
        save(folder / "DIV2K_train_LR_bicubic" / "X2" / f"000{i}x2.png", lr)
    return folder


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.mark.parametrize("given", ["", "DIV2K_train_HR", "zip"])
def test_training_and_evaluation_take_the_same_pairs(div2k, given):
    root = zipped(div2k) if given == "zip" else div2k / given
    source = load_folder(root, scale=2, min_lr_size=4)
    benchmark = open_benchmark(root, 2)
    assert len(source) == len(benchmark) == 3
    assert benchmark.name == "DIV2K_train_HR"
    for (lr, hr), image in zip(source, benchmark, strict=True):
        np.testing.assert_array_equal(lr, 255 - imresize(hr, 1 / 2))
        np.testing.assert_array_equal(image.lr, lr)
        np.testing.assert_array_equal(image.hr, hr)
    for made in (
        load_folder(root, scale=2, min_lr_size=4, lr_root="imresize"),
        [(image.lr, image.hr) for image in open_benchmark(root, 2, lr="imresize")],
    ):
        for lr, hr in made:
            np.testing.assert_array_equal(lr, imresize(hr, 1 / 2))


def test_given_lr_images(div2k, tmp_path):
    lr = (div2k / "DIV2K_train_LR_bicubic").rename(tmp_path / "small")
    root = div2k / "DIV2K_train_HR"
    expected = load_folder(root, scale=2, min_lr_size=4, lr_root=lr / "X2").identity
    assert load_folder(div2k, scale=2, min_lr_size=4, lr_root=lr).identity == expected
    for image in open_benchmark(div2k, 2, lr=zipped(lr)):
        np.testing.assert_array_equal(image.lr, 255 - imresize(image.hr, 1 / 2))
    with pytest.raises(ValueError, match="small: the images are of x2, not of x3"):
        open_benchmark(div2k, 3, lr=lr)


def test_what_is_left_out_is_told_once(div2k, caplog):
    (div2k / "DIV2K_train_LR_bicubic").rename(div2k / "DIV2K_train_LR_unknown")
    (div2k / "DIV2K_train_HR" / "photo.heic").write_bytes(b"x")
    (div2k / "notes.txt").write_text("x")
    (div2k / "linked").symlink_to(div2k / "DIV2K_train_HR")
    load_folder(div2k, scale=2, min_lr_size=4)
    left_out, lr = (record.getMessage() for record in caplog.records)
    assert left_out == f"{div2k}: left out: 1 .heic; 1 linked folder"
    assert lr == (
        f"{div2k}: LR images are made from HR, and not taken from DIV2K_train_LR_unknown/X2 "
        "(unknown, not bicubic)"
    )
    caplog.clear()
    load_folder(div2k, scale=2, min_lr_size=4, lr_root="imresize")
    assert len(caplog.records) == 1  # it was asked for


def test_other_scales_are_told_only_where_lr_is_made(div2k, caplog):
    with find_images_of(div2k, 2, purpose="evaluation"):
        assert caplog.records == []
    with find_images_of(div2k, 4, purpose="evaluation") as found:
        assert not found.lr_folder
    assert "DIV2K_train_LR_bicubic/X2 (of x2)" in caplog.text
