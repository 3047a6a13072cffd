"""Builds the training and validation images of the shipped networks, and keeps test images out.

    pip install -e ".[recipes]"
    python -m scripts.recipes.training_set data data/training_set

Takes the folders BSDS400, T91 and General100 and the test sets Set5, Set14 and B100 of `data`.
Images whose perceptual hash is near that of a test image, in any of the eight symmetries, are left
out, and so are repeated images. Of the rest of BSDS400 and General100 every 20th is for validation.
Writes `train/`, `validation/` and `report.json` into the output folder.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from lnln_jax.images.files import read_rgb
from lnln_jax.images.listing import find_images

TRAIN = ("BSDS400", "T91", "General100")
TEST = ("Set5", "Set14", "B100")
HELD_OUT_OF = ("BSDS400", "General100")
VALIDATION_EVERY = 20
# Bits, of 64, up to which two hashes are taken for the same picture. Of a training image and a test
# image that differ, none are nearer than 12 (in the report).
SAME = 9


def perceptual_hash(rgb: np.ndarray) -> np.ndarray:
    """Returns 64 booleans about the low frequencies of a picture, `H W 3` uint8."""
    return imagehash.phash(Image.fromarray(rgb)).hash.ravel()


def symmetries(rgb: np.ndarray) -> list[np.ndarray]:
    """Returns a picture turned and mirrored in all eight ways."""
    turned = [np.rot90(rgb, k) for k in range(4)]
    return turned + [np.fliplr(picture) for picture in turned]


def hashes(rgb: np.ndarray) -> np.ndarray:
    """Returns a picture's hashes in all symmetries, `8 64`, the first of the picture as it is."""
    return np.array([perceptual_hash(way) for way in symmetries(rgb)])


def nearest(rgb: np.ndarray, others: Sequence[np.ndarray]) -> tuple[int, int]:
    """Returns which of the pictures with these `hashes` is nearest, and its bits."""
    distances = (np.array(others) != perceptual_hash(rgb)).sum(-1).min(-1)
    best = int(distances.argmin())
    return best, int(distances[best])


def build(data: Path, output: Path) -> dict[str, object]:
    """Writes the training set and returns the report about it.

    Raises:
      ValueError: the output folder holds something else, two images have one name, or there are no
        images of a test set.
    """
    _check_output(data, output)
    found = {name: _files(data, name) for name in (*TRAIN, *TEST)}
    if empty := [name for name in TEST if not found[name]]:
        raise ValueError(f"{data} has no images of {', '.join(empty)}, with which to compare")
    tests = [(f"{name}/{path.name}", path) for name in TEST for path in found[name]]
    of_tests = [hashes(read_rgb(path)) for _, path in tests]
    kept: list[tuple[str, Path]] = []
    of_kept: list[np.ndarray] = []
    left_out = []
    least = 64
    for name in TRAIN:
        for path in found[name]:
            rgb, shown = read_rgb(path), f"{name}/{path.name}"
            test, bits = nearest(rgb, of_tests)
            if bits <= SAME:
                left_out.append({"image": shown, "is": tests[test][0], "bits": bits})
                continue
            least = min(least, bits)
            if kept:
                twin, bits = nearest(rgb, of_kept)
                if bits <= SAME:
                    other = f"{kept[twin][0]}/{kept[twin][1].name}"
                    left_out.append({"image": shown, "is": other, "bits": bits})
                    continue
            kept.append((name, path))
            of_kept.append(hashes(rgb))
    validation = [
        path
        for name in HELD_OUT_OF
        for path in [path for kind, path in kept if kind == name][::VALIDATION_EVERY]
    ]
    targets = [f"{name}_{path.name}" for name, path in kept]
    if len(set(targets)) < len(targets):
        twice = sorted({name for name in targets if targets.count(name) > 1})
        raise ValueError(f"{data} has several images of one name: {', '.join(twice)}; rename them")
    for split in ("train", "validation"):
        shutil.rmtree(output / split, ignore_errors=True)
        (output / split).mkdir(parents=True)
    for name, path in kept:
        split = "validation" if path in validation else "train"
        shutil.copyfile(path, output / split / f"{name}_{path.name}")
    report: dict[str, object] = {
        "train": len(kept) - len(validation),
        "validation": len(validation),
        "left_out": left_out,
        "nearest_to_a_test_image_bits": least,
        "test_images": {name: len(found[name]) for name in TEST},
    }
    (output / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _check_output(data: Path, output: Path) -> None:
    """Raises ValueError where writing would remove what this script has not written."""
    sources = [(data / name).resolve() for name in (*TRAIN, *TEST)]
    here = output.resolve()
    if any(here == source or source in here.parents for source in sources):
        raise ValueError(f"output is {output}, inside the images; choose another folder")
    written = (output / "report.json").is_file()
    taken = [split for split in ("train", "validation") if (output / split).exists()]
    if taken and not written:
        raise ValueError(f"output is {output}, which has {taken[0]}/ of others; choose another")


def _files(data: Path, name: str) -> list[Path]:
    folder = data / name
    return find_images(folder / "HR" if (folder / "HR").is_dir() else folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of BSDS400, T91, General100 and test sets")
    parser.add_argument("output", type=Path, help="folder to write")
    arguments = parser.parse_args()
    for name in (*TRAIN, *TEST):
        if not (arguments.data / name).is_dir():
            parser.error(f"data is {arguments.data}, which has no folder {name}")
    try:
        report = build(arguments.data, arguments.output)
    except ValueError as error:
        parser.error(str(error))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
