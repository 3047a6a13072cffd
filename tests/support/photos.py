"""A folder laid out as the test sets are, with crops of scikit-image's photos under their names."""

from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from lnln_jax.images.resize import imresize

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
SET5 = {  # width and height of those images
    "baby": (512, 512),
    "bird": (288, 288),
    "butterfly": (256, 256),
    "head": (280, 280),
    "woman": (228, 344),
}
SET14 = {
    **dict.fromkeys(("baboon", "barbara"), (300, 280)),
    "bridge": (320, 320),  # the gray one
    **dict.fromkeys(("coastguard", "foreman"), (352, 288)),
    "comic": (250, 361),
    "face": (276, 276),
    **dict.fromkeys(("flowers", "lenna", "man", "monarch", "pepper", "ppt3", "zebra"), (320, 300)),
}


class _Crops:
    """A source of crops, each of another photo and another place."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._made = 0
        self._photos = []
        for name in PHOTOS:
            with Image.open(Path(skimage.__file__).parent / "data" / name) as photo:
                self._photos.append(photo.convert("RGB"))

    def make(self, width: int, height: int) -> Image.Image:
        fitting = [p for p in self._photos if p.width >= width and p.height >= height]
        photo = fitting[self._made % len(fitting)]
        self._made += 1
        left = int(self._rng.integers(photo.width - width + 1))
        top = int(self._rng.integers(photo.height - height + 1))
        return photo.crop((left, top, left + width, top + height))


def make_data(folder: Path) -> Path:
    """Writes Set5 and Set14 with LR images, and pictures of other sets."""
    crops = _Crops()
    for name, sizes in (("Set5", SET5), ("Set14", SET14)):
        for image, size in sizes.items():
            hr = crops.make(*size)
            _save(hr.convert("L") if image == "bridge" else hr, folder / name, image)
    for name, count, pattern, size in (
        ("B100/HR", 3, "img_{:03}.png", (240, 160)),
        ("BSDS400", 120, "1{:05}.jpg", (320, 240)),
        ("General100", 30, "im_{:03}.png", (160, 120)),
        ("T91", 13, "t{}.png", (150, 130)),
    ):
        (folder / name).mkdir(parents=True)
        for i in range(1, count + 1):
            crops.make(*size).save(folder / name / pattern.format(i))
    return folder


def _save(hr: Image.Image, folder: Path, name: str) -> None:
    images = {"HR": np.asarray(hr)}
    for scale in (2, 3, 4):
        width, height = (side - side % scale for side in hr.size)
        cropped = np.atleast_3d(hr.crop((0, 0, width, height)))
        images[f"LRx{scale}"] = imresize(cropped, 1 / scale).squeeze()
    for kind, image in images.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / kind / f"{name}.png", compress_level=1)
