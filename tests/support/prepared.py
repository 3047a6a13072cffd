"""Small datasets of real images."""

import shutil
from pathlib import Path

from lnln_jax.data.prepare.recipes import Prepared, prepare_folder
from lnln_jax.data.prepare.sub_images import Cut
from lnln_jax.data.records import find_dataset

CUT = Cut((2, 3), size=120, step=60, min_side=96)


def copy_images(data_dir: Path, folder: Path, count: int) -> Path:
    """The first images of BSDS400, some of them in a sub-folder."""
    for i, path in enumerate(sorted((data_dir / "BSDS400").iterdir())[:count]):
        target = folder / ("more" if i % 3 == 2 else "") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def build(folder: Path, data_dir: Path, name: str = "photos", **options) -> Prepared:
    options = {"cut": CUT, "validation_every": 4} | options
    return prepare_folder(folder, name, data_dir=data_dir, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def find_unfinished(data_dir: Path) -> list[bool]:
    return [path.is_dir() for path in data_dir.glob("*/*/incomplete.*")]


def find_dataset_or_error(data_dir: Path) -> object:
    try:
        return find_dataset("photos", 2, data_dir)
    except ValueError:
        return "error"
