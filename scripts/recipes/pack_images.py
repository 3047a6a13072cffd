"""Packs training images into one zip, small enough to be carried to where a GPU is.

    python -m scripts.recipes.pack_images data/training_set/train data/extra --output data/pack \\
        --validation data/training_set/validation

Takes images with the most detail for their bytes until the zip is full. Each is whole, and as its
file encodes it, or as WebP of quality 95 where that is smaller; so none is worse than that. Images
of the validation folder are kept out (by their pixels), and a few of them are copied. Writes
`train.zip`, `validation/` and `manifest.json` into the output folder. `data.train` takes a zip
wherever it takes a folder.
"""

import argparse
import io
import json
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lnln_jax.cli.options import positive
from lnln_jax.images.arrays import rgb_to_y
from lnln_jax.images.files import ImageFileError, read_rgb
from lnln_jax.images.listing import find_images
from lnln_jax.runtime.files import replacing

MEBIBYTES = 38.0
QUALITY = 95
LEAST_SIDE = 96  # an HR patch of 48x48 at x2


class Packed(NamedTuple):
    """An image as it is going to be packed.

    Attributes:
      name: in the zip.
      data: bytes of its file.
      detail: the sum over its pixels of the gradient's absolute value, in levels of luma.
      pixels: how many it has.
      identity: CRC-32 of its pixels.
    """

    name: str
    data: bytes
    detail: float
    pixels: int
    identity: int


def pack(rgb: np.ndarray, data: bytes, name: str) -> Packed:
    """Returns the smaller of an image's own file and its WebP of quality 95.

    Args:
      rgb: uint8 `H W 3`, upright.
      data: bytes of its own file.
      name: of that file, with its suffix.
    """
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "WEBP", quality=QUALITY, method=6)
    suffix = Path(name).suffix.lower()
    if len(file.getvalue()) < len(data) or suffix not in (".jpg", ".jpeg", ".png", ".webp"):
        name, data = f"{name}.webp", file.getvalue()  # a.png and a.jpg may be in one folder
    luma = rgb_to_y(rgb.astype(np.float32))
    detail = sum(float(np.abs(np.diff(luma, axis=axis)).sum()) for axis in (0, 1))
    return Packed(name, data, detail, rgb.shape[0] * rgb.shape[1], zlib.crc32(rgb.tobytes()))


def name_of(folder: Path, path: Path) -> str:
    """Returns an image's name in a zip: its folder's name and its place in it."""
    return "_".join((folder.resolve().name.lstrip("."), *path.relative_to(folder).parts)).lstrip(
        "_"
    )


def read_all(folders: Sequence[Path], reasons: Counter[str]) -> Iterator[Packed]:
    """Packs the images of folders, and counts why others are left out."""

    def read(item: tuple[Path, Path]) -> Packed | str:
        folder, path = item
        try:
            rgb = read_rgb(path)
        except ImageFileError:
            return "unreadable"
        if min(rgb.shape[:2]) < LEAST_SIDE:
            return f"smaller than {LEAST_SIDE} pixels"
        return pack(rgb, path.read_bytes(), name_of(folder, path))

    items = [(folder, path) for folder in folders for path in find_images(folder)]
    with ThreadPoolExecutor() as pool:
        for packed in pool.map(read, items):
            if isinstance(packed, str):
                reasons[packed] += 1
            else:
                yield packed


def choose(images: Sequence[Packed], budget: int) -> list[Packed]:
    """Returns those with the most detail for their bytes, as many as fit, by name."""
    chosen, used = [], 22  # bytes of the zip's end
    for image in sorted(images, key=lambda image: -image.detail / len(image.data)):
        size = len(image.data) + 2 * len(image.name.encode()) + 30 + 46  # its two headers
        if used + size <= budget:
            chosen.append(image)
            used += size
    return sorted(chosen, key=lambda image: image.name)


def write_zip(path: Path, images: Sequence[Packed]) -> None:
    """Writes a zip that depends on the images alone; they are compressed already."""
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for image in images:
            archive.writestr(zipfile.ZipInfo(image.name), image.data)


def build(
    folders: Sequence[Path], validation: Path, output: Path, *, mebibytes: float, held_out: int
) -> dict[str, object]:
    """Writes both zips and the manifest, and returns it.

    Raises:
      ValueError: no images, two of one name, or a folder of others in the place of ours.
    """
    held = find_images(validation)
    if not held:
        raise ValueError(f"--validation {validation} has no images; name the held-out ones")
    identities = {zlib.crc32(read_rgb(path).tobytes()) for path in held}
    images, reasons = [], Counter[str]()
    for image in read_all(folders, reasons):
        if image.identity in identities:
            reasons["held out, or packed before"] += 1
            continue
        identities.add(image.identity)
        images.append(image)
    chosen = choose(images, int(mebibytes * 2**20))
    names = [image.name for image in chosen]
    if not chosen:
        raise ValueError(
            f"no image can be packed of {', '.join(map(str, folders))}; {len(images)} do not fit "
            f"into --mib {mebibytes:g}; others: {dict(reasons) or 'none'}"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two images are called {twice}; give folders of different names")
    every = max(1, len(held) // held_out)
    copies = {name_of(validation, path): path for path in held[::every][:held_out]}
    if (output / "validation").exists() and not (output / "manifest.json").exists():
        raise ValueError(f"--output {output} has a validation/ of others; choose another folder")
    shutil.rmtree(output / "validation", ignore_errors=True)
    (output / "validation").mkdir(parents=True)
    for name, path in copies.items():
        shutil.copyfile(path, output / "validation" / name)
    write_zip(output / "train.zip", chosen)
    manifest: dict[str, object] = {
        "train": len(chosen),
        "of": len(images),
        "megapixels": round(sum(image.pixels for image in chosen) / 1e6, 2),
        "megapixels_of": round(sum(image.pixels for image in images) / 1e6, 2),
        "bytes": (output / "train.zip").stat().st_size,
        "left_out": dict(reasons),
        "validation": list(copies),
        "images": names,
    }
    (output / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="of training images")
    parser.add_argument("--validation", type=Path, required=True, help="folder of held-out images")
    parser.add_argument("--output", type=Path, default=Path("data/pack"))
    parser.add_argument("--mib", type=float, default=MEBIBYTES, help="of train.zip, at most")
    parser.add_argument("--held-out", type=positive, default=8, help="images in validation/")
    args = parser.parse_args()
    if not 0 < args.mib < 2**20:
        parser.error(f"--mib is {args.mib:g}; it must be larger than 0 and below 2**20")
    try:
        manifest = build(
            args.folders, args.validation, args.output, mebibytes=args.mib, held_out=args.held_out
        )
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--output {args.output} cannot be written ({error.strerror}); name another")
    print(json.dumps({key: manifest[key] for key in manifest if key != "images"}, indent=1))


if __name__ == "__main__":
    main()
