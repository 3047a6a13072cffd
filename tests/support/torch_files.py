"""PyTorch's files, written without PyTorch, or by it."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from lnln_jax.models.variables import Variables
from lnln_jax.weights.torch_port import to_torch
from lnln_jax.weights.torch_tensors import STORAGES
from tests.support.small_networks import make_variables

MARK = "body.0.body.0.weight"  # by which EDSR is known
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_CLASSES = {dtype: name for name, dtype in STORAGES.items()}


class Named:
    """A class or a function of another package, by its name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None:
        """Lets pickle take it for a function."""


class Made:
    """What a file makes by calling a name, and the state that it gives it."""

    def __init__(self, module: str, name: str, *args: Any, state: Any = None) -> None:
        self.reduced = (Named(module, name), args, state)


def module(**parts: Any) -> Made:
    """Returns a module of PyTorch with these arrays and modules."""
    of = {key: isinstance(part, Made) for key, part in parts.items()}
    state = {
        "training": False,
        "_parameters": {key: part for key, part in parts.items() if not of[key]},
        "_buffers": {},
        "_modules": {key: part for key, part in parts.items() if of[key]},
    }
    return Made("nets", "Net", state=state)


class _Storage:
    def __init__(self, key: str, numbers: np.ndarray) -> None:
        self.key, self.numbers = key, numbers


class _Pickler(pickle._Pickler):  # type: ignore[misc]
    """Pickles arrays as PyTorch does its tensors."""

    def __init__(self, file: Any, *, zipped: bool) -> None:
        super().__init__(file, protocol=2)
        self.storages: dict[int, _Storage] = {}
        self._part = () if zipped else (None,)

    def save(self, obj: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(obj, Named):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, *args, **kwargs)

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        name = _CLASSES.get(obj.numbers.dtype.name)
        of = Named("torch", name) if name else Named("torch.storage", "UntypedStorage")
        count = obj.numbers.size if name else obj.numbers.nbytes
        return ("storage", of, obj.key, "cpu", count, *self._part)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Made):
            return obj.reduced
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        root = obj
        while isinstance(root.base, np.ndarray):
            root = root.base
        storage = self.storages.setdefault(
            id(root), _Storage(str(len(self.storages)), root.reshape(-1))
        )
        offset = (obj.ctypes.data - root.ctypes.data) // obj.itemsize
        strides = tuple(stride // obj.itemsize for stride in obj.strides)
        args = (storage, offset, obj.shape, strides, False, {})
        if obj.dtype.name in _CLASSES:
            return Named("torch._utils", "_rebuild_tensor_v2"), args
        return Named("torch._utils", "_rebuild_tensor_v3"), (*args, Named("torch", obj.dtype.name))


def save(path: Path, tree: Any, *, zipped: bool = True, order: str | None = None) -> Path:
    """Saves a tree as `torch.save` does, or did before it wrote zip files.

    Args:
      path: file.
      tree: dictionaries, lists and so on, with arrays; those that share memory share a storage.
      zipped: whether in the format of today.
      order: "big" for a zip file of a system with this byte order.
    """
    with path.open("wb") as file:
        if zipped:
            _save_zip(file, tree, order)
        else:
            _save_legacy(file, tree)
    return path


def _bytes(storage: _Storage, order: str | None = None) -> bytes:
    numbers = storage.numbers.view(f"u{storage.numbers.itemsize}")
    return numbers.byteswap().tobytes() if order == "big" else numbers.tobytes()


def _save_zip(file: Any, tree: Any, order: str | None) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("x/data.pkl", "w") as entry:
            pickler = _Pickler(entry, zipped=True)
            pickler.dump(tree)
        if order:
            archive.writestr("x/byteorder", order)
        for storage in pickler.storages.values():
            archive.writestr(f"x/data/{storage.key}", _bytes(storage, order))
        archive.writestr("x/version", "3\n")


def _save_legacy(file: Any, tree: Any) -> None:
    for part in (_MAGIC, _VERSION, {"protocol_version": _VERSION, "little_endian": True}):
        pickle.dump(part, file, protocol=2)
    pickler = _Pickler(file, zipped=False)
    pickler.dump(tree)
    pickle.dump([storage.key for storage in pickler.storages.values()], file, protocol=2)
    for storage in pickler.storages.values():
        file.write(storage.numbers.size.to_bytes(8, "little") + _bytes(storage))


def save_by_pytorch(path: Path, tree: Any, *, zipped: bool = True) -> Path:
    """Saves a tree with tensors by PyTorch itself."""
    import torch

    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    return path


def edsr_state() -> tuple[Variables, dict[str, np.ndarray]]:
    """Returns EDSR's variables and its state dict."""
    variables = make_variables("edsr")
    return variables, to_torch(variables, name="edsr")


def tensors_of(state_dict: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns a state dict of PyTorch's tensors."""
    import torch

    return {key: torch.from_numpy(array.copy()) for key, array in state_dict.items()}
