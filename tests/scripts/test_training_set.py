"""The training set of the shipped networks: no test image in it, in any disguise."""

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lnln_jax.images.files import read_rgb
from lnln_jax.images.listing import find_images
from scripts.recipes.training_set import SAME, build, hashes, nearest


def _jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=25)
    return Image.open(buffer)


DISGUISES = {
    "itself": lambda image: image,
    "a strong JPEG": _jpeg,
    "smaller": lambda image: image.resize((image.width // 3, image.height // 3)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.rotate(90, expand=True),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
}


@pytest.fixture(scope="module")
def tests(data_dir):
    # Not Set5 as well: its head is Set14's face.
    pictures = [read_rgb(path) for path in find_images(data_dir / "Set14" / "HR")]
    return pictures, [hashes(rgb) for rgb in pictures]


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_test_image_is_recognised_in_disguise(tests, disguise):
    pictures, known = tests
    for number, rgb in enumerate(pictures):
        found, bits = nearest(
            np.asarray(DISGUISES[disguise](Image.fromarray(rgb)).convert("RGB")), known
        )
        assert (found, bits <= SAME) == (number, True), bits


def test_different_pictures_are_told_apart(tests, data_dir):
    _, known = tests
    for path in find_images(data_dir / "General100")[:30]:
        assert nearest(read_rgb(path), known)[1] > SAME


def test_a_set_without_test_images_and_twins(data_dir, tmp_path):
    data = tmp_path / "data"
    for name in ("Set5", "Set14", "B100", "T91"):
        (data / name / "HR").mkdir(parents=True)
    for name in ("BSDS400", "General100"):
        (data / name).mkdir()
    general = find_images(data_dir / "General100")[:24]
    for path in general:
        (data / "General100" / path.name).symlink_to(path)
    woman = Image.open(data_dir / "Set5" / "HR" / "woman.png")
    woman.save(data / "Set5" / "HR" / "woman.png")
    with pytest.raises(ValueError, match="has no images of Set14, B100, with which to compare"):
        build(data, tmp_path / "set")
    for name in ("Set14", "B100"):
        path = find_images(data_dir / name / "HR")[0]
        (data / name / "HR" / path.name).symlink_to(path)
    woman.resize((150, 225)).save(data / "BSDS400" / "302003.jpg")
    Image.open(general[3]).save(data / "T91" / "HR" / "twin.png")
    output = tmp_path / "set"
    report = build(data, output)
    assert report == json.loads((output / "report.json").read_text())
    assert (report["train"], report["validation"]) == (22, 2)
    assert report["test_images"] == {"Set5": 1, "Set14": 1, "B100": 1}
    assert [(item["image"], item["is"]) for item in report["left_out"]] == [
        ("BSDS400/302003.jpg", "Set5/woman.png"),
        (f"General100/{general[3].name}", "T91/twin.png"),
    ]
    train, validation = find_images(output / "train"), find_images(output / "validation")
    assert len(train) == 22
    assert [path.name for path in validation] == [
        f"General100_{path.name}" for path in (general[0], general[21])
    ]
    assert not {path.name for path in train} & {path.name for path in validation}
    assert build(data, output) == report  # again, in place of the first
    (output / "report.json").unlink()
    with pytest.raises(ValueError, match="which has train/ of others"):
        build(data, output)
    with pytest.raises(ValueError, match="inside the images"):
        build(data, data / "BSDS400")
    assert len(find_images(data / "BSDS400")) == 1
