"""PyTorch's own files in and out, without PyTorch and without running code of a file."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lnln_jax.runtime.files import printable, replacing
from lnln_jax.weights.nesting import flatten, list_keys, select_network
from lnln_jax.weights.torch_containers import damaged, read_contents
from lnln_jax.weights.torch_tensors import STORAGES, Tensor

_ALIGNMENT = 64  # of storages, as PyTorch has it
_LONGEST_AGO = (1980, 1, 1, 0, 0, 0)  # of a zip archive; equal weights make equal files
_RIGHTS = 0o600 << 16


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a file of `torch.save`, in PyTorch's zip or older format, and runs no code of it.

    Args:
      path: file with the state dict of a known network, on its own or within dictionaries and under
        prefixes (`nesting`); or with the network itself, of whose class nothing is imported. A
        large file is mapped: it must not be written to as long as the arrays are used.

    Returns:
      Arrays by key without prefix, in the dtypes of the file. They cannot be written to, and share
      memory where those of the file do.

    Raises:
      ValueError: the file is empty, damaged or of another kind, holds none or several of the known
        networks, or what cannot be read without running code that the file chooses.
    """
    path = Path(path)
    state_dict = select_network(_read_flat(path), path)
    strange = [key for key, value in state_dict.items() if not _is_plain(value)]
    if strange:
        raise ValueError(
            f"{printable(path)} holds what is not an array of floating-point numbers "
            f"({list_keys(strange)}); save model.state_dict(), as it is or in a dictionary"
        )
    if sum(value.nbytes for value in state_dict.values()) > 2 * path.stat().st_size:
        raise ValueError(
            f"{printable(path)} is smaller than the arrays that it claims to hold; it is damaged, "
            "or they share memory and must be cloned before they are saved"
        )
    try:
        return {key: value.array() for key, value in state_dict.items()}
    except ValueError as error:
        raise damaged(path, error) from error


def _read_flat(path: Path) -> dict[str, Any]:
    """Returns what a file holds by joined keys, arrays among it."""
    contents = read_contents(path)
    try:
        flat = flatten(contents.tree, contents.budget)
    except ValueError as error:
        raise damaged(path, error) from error
    if any(isinstance(value, Tensor) for value in flat.values()):
        return flat
    if contents.first_unknown:
        raise ValueError(
            f"{printable(path)} holds more than tensors ({list_keys([contents.first_unknown])}), "
            "and to read it would run code that the file chooses; where you trust the file, load "
            'it with PyTorch, torch.save(model.state_dict(), "weights.pt"), and take that'
        )
    raise ValueError(
        f"{printable(path)} holds no state dict but a {type(contents.tree).__name__}; save "
        "model.state_dict()"
    )


def _is_plain(value: Any) -> bool:
    """Returns whether an item of a state dict is an array of weights, counts or indices."""
    if not isinstance(value, Tensor):
        return False
    return value.dtype == np.int64 or value.dtype.name.startswith(("float", "bfloat"))


# ---- writing ----


def write_state_dict(path: str | Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes what `to_torch` returns as a `.pt` file, in PyTorch's zip format.

    The same arrays make the same bytes, and `torch.load` needs no more than `weights_only=True`.

    Args:
      path: file that appears whole or not at all, its folder where there is none. An older file of
        that name is replaced.
      state_dict: arrays by key.

    Raises:
      ValueError: an array has a dtype that PyTorch has no class of storages for.
    """
    arrays = {
        key: np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        for key, array in state_dict.items()
    }
    pickled = _pickle(arrays)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        _write_entry(file, archive, "data.pkl", pickled)
        _write_entry(file, archive, "byteorder", b"little")
        for i, array in enumerate(arrays.values()):
            _write_entry(file, archive, f"data/{i}", array.reshape(-1).view(np.uint8))
        _write_entry(file, archive, "version", b"3\n")


def _pickle(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the pickle of an ordered dictionary of tensors, whose storages are 0, 1, ..."""
    memo: dict[str, bytes] = {}
    classes = {dtype: name for name, dtype in STORAGES.items()}
    parts = [b"\x80\x02" + _name("collections", "OrderedDict", memo) + b")R("]
    for i, (key, array) in enumerate(arrays.items()):
        storage = classes.get(array.dtype.name)
        if storage is None:
            raise ValueError(f"{key} has dtype {array.dtype}, which PyTorch's files lack")
        strides = [stride // array.itemsize for stride in array.strides]
        parts += [
            _text(key) + _name("torch._utils", "_rebuild_tensor_v2", memo) + b"((",
            _text("storage") + _name("torch", storage, memo) + _text(str(i)) + _text("cpu"),
            _number(array.size) + b"tQ" + _number(0),  # the offset
            b"(" + b"".join(map(_number, array.shape)) + b"t",
            b"(" + b"".join(map(_number, strides)) + b"t",
            b"\x89" + _name("collections", "OrderedDict", memo) + b")RtR",  # no gradient, no hooks
        ]
    return b"".join([*parts, b"u."])


def _name(module: str, name: str, memo: dict[str, bytes]) -> bytes:
    """Returns what pushes a class or a function; from the second time on, that of the memo."""
    if name in memo:
        return b"h" + memo[name]
    memo[name] = bytes([len(memo)])
    return f"c{module}\n{name}\nq".encode() + memo[name]


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _number(number: int) -> bytes:
    if number < 2**31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def _write_entry(
    file: BinaryIO, archive: zipfile.ZipFile, name: str, data: bytes | np.ndarray
) -> None:
    """Writes an entry to a file's archive; its bytes begin at a multiple of 64, as PyTorch's do."""
    info = zipfile.ZipInfo(f"archive/{name}", _LONGEST_AGO)
    info.create_system, info.external_attr = 3, _RIGHTS  # the same on every system
    padding = -(file.tell() + 30 + len(info.filename) + 4) % _ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(info, memoryview(data))  # type: ignore[arg-type]
    info.extra = b""  # which the directory need not repeat
