"""Arrays in one safetensors file, or in a set of small ones that are read as one.

The files of a set are `x-00001-of-00003.safetensors` and so on; any of them stands for the set, as
does `x.safetensors`. Each holds some of the arrays under their names, and `checksums`: the CRC-32
(uint32) of each of its other arrays, in the order of their sorted names. An array that is larger
than a part is cut: flat pieces of it lie under its name in several files. The metadata has under
`lnln_jax`, as JSON, what the caller has to say, the same in all files, and besides

    {"export": "9c1185a5c5e9fc54", "part": 2, "parts": 3,
     "pieces": {"optimizer/0/0/mu/head/kernel": {"shape": [3, 3, 3, 64], "start": 1000}}}

`export` is a digest of all the checksums and of what the caller says, by which files of two sets
are told apart. `pieces` gives for each array that is cut the shape of the whole, and the flat index
at which the piece begins.
"""

import hashlib
import itertools
import json
import math
import operator
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lnln_jax.runtime.files import printable, write_files
from lnln_jax.weights.part_names import files_of, files_of_set, name_part

METADATA_KEY = "lnln_jax"
LONGEST_METADATA = 50_000  # characters; a few hundred are usual, thousands with the training
_CHECKSUMS = "checksums"
_OF_THE_PART = ("export", "part", "parts", "pieces")


class _Piece(NamedTuple):
    """An array, or a flat piece of one.

    Attributes:
      array: values.
      shape: shape of the whole array where this is a piece, else None.
      start: flat index at which the piece begins.
    """

    array: np.ndarray
    shape: tuple[int, ...] | None = None
    start: int = 0


_Part = dict[str, _Piece]


def write_parts(
    target: Path,
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
    *,
    part_bytes: int | None = None,
) -> list[Path]:
    """Writes arrays to one file or several; all of them appear, or none.

    Files of that name that are there already (`files_of`) are replaced, or go.

    Args:
      target: `x.safetensors`; its folder is made where there is none.
      arrays: arrays by name, of any shapes and of dtypes that safetensors has.
      about: metadata, as JSON can hold it.
      part_bytes: size that a file may have, at least 2**20; None: one file takes everything.

    Returns:
      The files: `target`, where one file is enough.

    Raises:
      ValueError: `about` is longer than what is read.
      OSError: they cannot be written; nothing has changed then.
    """
    text = json.dumps(about)
    if len(text) > LONGEST_METADATA // 2:  # the rest is for "pieces"
        raise ValueError(
            f"the configuration and the training images take {len(text)} characters as JSON; "
            f"{LONGEST_METADATA // 2} can be written"
        )
    room = None if part_bytes is None else part_bytes - 2 * len(text) - 1024
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    parts = list(_cut(whole, room))
    sums = [
        np.array([_crc(part[name].array) for name in sorted(part)], np.uint32) for part in parts
    ]
    export = _digest(about, sums)
    names = [target]
    if len(parts) > 1:
        names = [name_part(target, i, len(parts)) for i in range(1, len(parts) + 1)]

    def contents() -> Iterator[tuple[Path, bytes]]:
        for i, (name, part) in enumerate(zip(names, parts, strict=True)):
            pieces = {
                key: {"shape": piece.shape, "start": piece.start}
                for key, piece in part.items()
                if piece.shape is not None
            }
            own = {"export": export, "part": i + 1, "parts": len(parts), "pieces": pieces}
            data = {key: piece.array for key, piece in part.items()} | {_CHECKSUMS: sums[i]}
            yield name, save(data, {METADATA_KEY: json.dumps({**about, **own})})

    target.parent.mkdir(parents=True, exist_ok=True)
    write_files(contents(), instead_of=files_of(target))
    return names


def _cut(arrays: Mapping[str, np.ndarray], room: int | None) -> Iterator[_Part]:
    """Deals arrays out to parts that take at most `room` bytes each, names included."""
    part: _Part = {}
    left = room or 0
    for name, array in arrays.items():
        for piece in _pieces(name, array, room):
            needed = piece.array.nbytes + _named_bytes(name, piece)
            if room is not None and needed > left and part:
                yield part
                part, left = {}, room
            part[name] = piece
            left -= needed
    yield part


def _pieces(name: str, array: np.ndarray, room: int | None) -> Iterator[_Piece]:
    whole = _Piece(array)
    if room is None or array.nbytes + _named_bytes(name, whole) <= room:
        yield whole
        return
    longest = _named_bytes(name, _Piece(array, array.shape, array.size))
    count = (room - longest) // array.itemsize
    for start in range(0, array.size, count):
        yield _Piece(array.reshape(-1)[start : start + count], array.shape, start)


def _named_bytes(name: str, piece: _Piece) -> int:
    """Returns no less than what an array takes in the head of a file, and its checksum."""
    place = {"dtype": "BF16_", "shape": piece.array.shape, "data_offsets": [2**40, 2**40]}
    cut = "" if piece.shape is None else {name: {"shape": piece.shape, "start": piece.start}}
    return len(json.dumps({name: place})) + 2 * len(json.dumps(cut)) + 4


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())


def _digest(about: Mapping[str, Any], sums: Sequence[np.ndarray]) -> str:
    """Returns what tells an export from every other: 16 characters."""
    text = json.dumps(about, sort_keys=True).encode()
    return hashlib.sha256(text + b"".join(array.tobytes() for array in sums)).hexdigest()[:16]


def read_metadata(path: Path) -> str | None:
    """Reads the entry `lnln_jax` of a file's metadata, as it stands there; None: it has none.

    Raises:
      ValueError: the file is damaged or of another format.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get(METADATA_KEY)
    except SafetensorError as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ValueError:
    """Returns what to raise for a file that cannot be read."""
    return ValueError(
        f"{printable(path)} is damaged, incomplete or not a safetensors file ({str(error)[:200]}); "
        "download it again"
    )


def read_parts(
    path: Path, wanted: Callable[[str], bool]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads what `write_parts` wrote, from all files of a set.

    Args:
      path: any of the files.
      wanted: tells by its name whether an array is read.

    Returns:
      The metadata, and the arrays that are wanted, by name.

    Raises:
      ValueError: a file is missing, damaged or of another export.
    """
    files = files_of_set(path)
    first: dict[str, Any] = {}
    found: dict[str, list[_Piece]] = {}
    sums = []
    for number, file in enumerate(files, 1):
        try:
            about, part, own_sums = _read_part(file, wanted)
            if len(files) != about["parts"] or number != about["part"]:
                raise ValueError(
                    f"it is part {about['part']} of {about['parts']}, and has another name"
                )
        except (SafetensorError, ValueError, TypeError, LookupError, RecursionError) as error:
            raise damaged(file, error) from error
        first = first or about
        if about["export"] != first["export"]:
            raise ValueError(
                f"{printable(files[0])} and {printable(file.name)} are of two exports; put the "
                "files of one of them together, or write all of them again (lnln convert --state "
                "--split)"
            )
        sums.append(own_sums)
        for name, piece in part.items():
            found.setdefault(name, []).append(piece)
    said = {key: value for key, value in first.items() if key not in _OF_THE_PART}
    try:
        if _digest(said, sums) != first["export"]:
            raise ValueError("other values than were written in the metadata")
        return said, {name: _joined(name, pieces) for name, pieces in found.items()}
    except (ValueError, TypeError, LookupError) as error:
        raise damaged(path, error) from error


def _read_part(
    path: Path, wanted: Callable[[str], bool]
) -> tuple[dict[str, Any], _Part, np.ndarray]:
    """Reads the metadata of one file, its arrays and its checksums, which are compared."""
    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {})[METADATA_KEY]
        if len(text) > LONGEST_METADATA:
            raise ValueError(f"its metadata is {len(text)} characters long")
        about = json.loads(text)
        names = sorted(set(file.keys()) - {_CHECKSUMS})
        sums = file.get_tensor(_CHECKSUMS)
        part, pieces = {}, about["pieces"]
        for name, expected in zip(names, sums, strict=True):
            if not wanted(name):
                continue
            array = file.get_tensor(name)
            if _crc(array) != expected:
                raise ValueError(f"other values than were written in {name}")
            part[name] = _Piece(array)
            if name in pieces:
                shape = tuple(map(operator.index, pieces[name]["shape"]))
                part[name] = _Piece(array, shape, operator.index(pieces[name]["start"]))
    return about, part, sums


def _joined(name: str, pieces: list[_Piece]) -> np.ndarray:
    """Joins the pieces of an array."""
    if len(pieces) == 1 and pieces[0].shape is None:
        return pieces[0].array
    shape = pieces[0].shape or ()
    starts = [0, *itertools.accumulate(piece.array.size for piece in pieces)]
    if (
        any(piece.shape != shape for piece in pieces)
        or [piece.start for piece in pieces] != starts[:-1]
        or math.prod(shape) != starts[-1]
    ):
        raise ValueError(f"{name} is not whole")
    return np.concatenate([piece.array.reshape(-1) for piece in pieces]).reshape(shape)
