"""Training pairs from datasets that `lnln prepare` built, by random access.

A visit to a sub-image decodes two PNG files. The decoded pixels are kept in memory that all worker
processes share, as long as there is room, so that later visits cost as little as a slice.
"""

import io
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lnln_jax.data.degradations import Degradation
from lnln_jax.data.image_sets import may_hold_images
from lnln_jax.data.pairs import Pair
from lnln_jax.data.shared_memory import SharedMemory
from lnln_jax.runtime.extras import installed, require
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.local_paths import local_path
from lnln_jax.runtime.numbers import whole

FORMAT = 1  # of the records
_CACHE_BYTES = 2**30  # that decoded images may take, unless told otherwise
_logger = logging.getLogger(__name__)


class RecordSource:
    """The (lr, hr) pairs of one split: `len`, an index, iteration.

    Attributes:
      name: name of the dataset.
      scale: HR size / LR size.
      degradation: how the LR images were made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scale: int,
        split: str = "train",
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        """Opens a dataset.

        Args:
          folder: folder of its version, with `dataset_info.json`.
          scale: scale of the LR images.
          split: "train" or "validation".
          cache_bytes: memory that decoded images may take.

        Raises:
          ValueError: it is not one of ours, is damaged, or has no such scale or split.
          MissingExtraError: TensorFlow Datasets is not installed.
        """
        scale, cache_bytes = whole("scale", scale, least=1), whole("cache_bytes", cache_bytes)
        self._folder = folder
        self._split = split
        metadata, lengths = _describe(folder)
        if scale not in metadata["scales"]:
            made = ", ".join(map(str, metadata["scales"]))
            raise ValueError(
                f"{folder} has LR images of scale {made}, not {scale}; build a dataset with "
                f"--scales {scale}"
            )
        if split not in lengths:
            raise ValueError(f"{folder} has no images for {split}, only for {', '.join(lengths)}")
        self.name = metadata["name"]
        self.scale = scale
        self.degradation = Degradation(**metadata["degradation"])
        self._identity = f"{metadata['fingerprint']} {split} x{scale}"
        self._smallest = metadata["smallest_side"][split] // scale
        height, width = metadata["largest"][split]
        self._largest = height // scale, width // scale
        self._length = lengths[split]
        self._slot = 3 * math.prod(self._largest) * (1 + scale**2)
        self._slots = min(self._length, max(0, cache_bytes) // self._slot)
        self._cache = SharedMemory(self._slots * self._slot)
        # Height and width of the LR images that are decoded; written after the pixels.
        self._shapes = SharedMemory(self._slots * 8)
        # Now, and not where images are read: TFDS replaces `__import__` while it is imported, and
        # two threads that do so wait for each other forever.
        self._records = _open(folder, split)

    @property
    def cache_bytes(self) -> int:
        """Bytes of memory that decoded images can come to take."""
        return self._slots * self._slot

    @property
    def smallest(self) -> int:
        """Shortest LR side of a pair."""
        return self._smallest

    @property
    def largest(self) -> tuple[int, int]:
        """Longest LR height and width."""
        return self._largest

    @property
    def identity(self) -> str:
        """Text that changes with any of the images."""
        return self._identity

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Pair:
        """Reads a pair: uint8 `H W 3` and uint8 `H*scale W*scale 3`."""
        if not 0 <= index < self._length:
            raise IndexError(f"{self.name} has {self._length} images, no number {index}")
        if index >= self._slots:
            return self.read(index)
        shape = self._shapes.bytes.view(np.int32)[2 * index : 2 * index + 2]
        height, width = shape.tolist()
        if not width:
            lr, hr = self.read(index)
            height, width = lr.shape[:2]
            for kept, image in zip(self._kept(index, height, width), (lr, hr), strict=True):
                kept[:] = image
            # Another process may be doing the same; both write the same. The width is written last,
            # since it says that the rest is there.
            shape[0] = height
            shape[1] = width
        return self._kept(index, height, width)

    def image_name(self, index: int) -> str:
        """Returns the name of the file that a pair is of."""
        return self._records[index]["image"].decode()

    def _kept(self, index: int, height: int, width: int) -> Pair:
        start = index * self._slot
        lr = self._cache.array(start, (height, width, 3))
        factor = self.scale
        return lr, self._cache.array(start + lr.size, (factor * height, factor * width, 3))

    def read(self, index: int) -> Pair:
        """Reads a pair without keeping it."""
        try:
            record = self._records[index]
            lr, hr = (_decode_png(record[key]) for key in (f"lr_x{self.scale}", "hr"))
        except Exception as error:  # damaged files make readers raise almost anything
            raise ValueError(
                f"record {index} of {self._folder} is damaged ({str(error)[:200]}); remove the "
                "folder and build the dataset again"
            ) from error
        height, width = lr.shape[:2]
        return lr, hr[: self.scale * height, : self.scale * width]

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_records"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._records = _open(self._folder, self._split)  # anew in each process

    def __repr__(self) -> str:
        return f"RecordSource(name={self.name!r}, scale={self.scale}, {len(self)} pairs)"


def default_data_dir() -> Path:
    """Returns where TFDS keeps datasets: `TFDS_DATA_DIR`, or `~/tensorflow_datasets`.

    Without a home folder `~` stays, and there are no datasets in such a place.
    """
    place = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    try:
        return Path(local_path(place))
    except ValueError:
        return Path(place)


def find_dataset(name: str, scale: int, data_dir: Path) -> Path | None:
    """Returns the folder of the dataset of a scale that a name or path stands for, or None.

    Args:
      name: path to a dataset, to one of its configurations or versions; or, where there is no such
        folder or .zip file, the same below `data_dir`: "bsds400" or "bsds400/x2_480_384". Where
        there are both, and only the second is a dataset, the first counts, and a warning says so.
      scale: HR size / LR size.
      data_dir: folder of TFDS datasets.

    Raises:
      ValueError: several, or one that isn't finished or has other scales.
    """
    path, named = Path(local_path(name)), data_dir / name
    if not may_hold_images(path):
        return _dataset_in(named, name, scale)
    found = _dataset_in(path, name, scale)
    if found is None and not path.is_absolute() and any(_versions(named)):
        _logger.warning(
            "%s is what lies in the current folder, not the dataset of this name in %s; to have "
            "that, give its path",
            printable(name),
            printable(data_dir),
        )
    return found


def _versions(base: Path) -> list[Path]:
    """Returns the folders of versions of a dataset, below that of the dataset or a part of it."""
    return [
        info.parent
        for pattern in ("", "*/", "*/*/")
        for info in sorted(base.glob(f"{pattern}dataset_info.json"))
        if not info.parent.name.startswith("incomplete")
        and (info.parent / "metadata.json").exists()
    ]


def _dataset_in(base: Path, name: str, scale: int) -> Path | None:
    """Returns the one dataset of a scale in a folder; None where there is no dataset."""
    versions = _versions(base)
    fitting = [folder for folder in versions if scale in _describe(folder)[0]["scales"]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"{printable(name)} is several datasets of scale {scale}: "
            f"{', '.join(str(folder.parent) for folder in fitting)}; give one of these"
        )
    if versions:
        raise ValueError(
            f"{base} has no LR images of scale {scale}; build it with --scales {scale} "
            f"(there: {', '.join(folder.parent.name for folder in versions)})"
        )
    if any(any(base.glob(f"{pattern}incomplete.*/shards/")) for pattern in ("", "*/")):
        raise ValueError(f"{base} is not complete; run the `lnln prepare` that began it again")
    return None


def _describe(folder: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Reads the metadata of a dataset, and the number of records in each split."""
    try:
        info = json.loads((folder / "dataset_info.json").read_text())
        metadata = json.loads((folder / "metadata.json").read_text())
        lengths = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
        if metadata["format"] != FORMAT:
            raise ValueError(f"its format is {metadata['format']}, this version has {FORMAT}")
        keys = ("scales", "fingerprint", "smallest_side", "largest", "degradation")
        return {"name": info["name"]} | {key: metadata[key] for key in keys}, lengths
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder} is not a dataset of `lnln prepare`, or is damaged ({error}); build it again"
        ) from error


def _decode_png(data: bytes) -> np.ndarray:
    """Decodes a record's image, quicker than Pillow where imagecodecs is installed."""
    if not installed("imagecodecs"):
        return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))
    import imagecodecs

    return imagecodecs.spng_decode(data)


def _open(folder: Path, split: str) -> Any:
    """Opens records for random access, images as the PNG files that they are."""
    require("tensorflow_datasets", "prepare", f"the dataset {folder}")
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    images = [key for key in builder.info.features if key == "hr" or key.startswith("lr_x")]
    decoders = {key: tfds.decode.SkipDecoding() for key in images}
    return builder.as_data_source(split=split, decoders=decoders)
