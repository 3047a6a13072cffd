"""Tensors of PyTorch's files as NumPy sees them: a dtype, a shape, strides, and a place in a file.

Nothing of an array is read before `Tensor.array`; what a file says of one is checked with whole
numbers of any size before.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import ml_dtypes
import numpy as np

from lnln_jax.weights.inert_pickles import Inert, Name

_MOST_AXES = 32
# PyTorch's names of dtypes that NumPy has, or JAX has taught it.
_NAMES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_NARROW_NAMES = (
    *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    "float8_e8m0fnu",
)
DTYPES = {name: np.dtype(name) for name in _NAMES} | {
    name: np.dtype(getattr(ml_dtypes, name)) for name in _NARROW_NAMES
}
# Classes of storages by their names without modules, such as torch.cuda.HalfStorage.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}
# With those whose numbers mean something else; in the older format their width must be known.
_ALL_STORAGES = STORAGES | {
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}


class Source(Protocol):
    """What holds the bytes of storages."""

    big_endian: bool

    def content(self, key: str) -> memoryview:
        """Returns the bytes of a storage, checked as far as the file allows it.

        Raises:
          ValueError: it is not there, or damaged.
        """


class Storage(NamedTuple):
    """A row of numbers in a file, or a part of it.

    Attributes:
      source: where its bytes are.
      key: name of the row in the file.
      dtype: dtype of the numbers.
      numel: count of the numbers.
      start: number of the row with which the part begins.
    """

    source: Source
    key: str
    dtype: np.dtype
    numel: int
    start: int = 0


class Tensor:
    """An array in a file, which has not been read.

    Attributes:
      dtype: dtype of the array.
      shape: shape of the array.
    """

    __slots__ = ("_offset", "_storage", "_strides", "dtype", "shape")

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        """Checks that an array lies within its storage.

        Args:
          storage: numbers of the array, and perhaps of others.
          offset: number with which the array begins.
          shape: shape of the array.
          strides: numbers from one element to the next, for each axis.

        Raises:
          ValueError: it does not, or its numbers are not whole.
        """
        sizes = (offset, *shape, *strides)
        if not all(type(size) is int and 0 <= size < 2**62 for size in sizes):
            raise ValueError("an array's offset, shape or strides are not whole numbers")
        if len(shape) != len(strides) or len(shape) > _MOST_AXES:
            raise ValueError(f"an array has {len(shape)} axes and {len(strides)} strides")
        self._storage, self._offset, self._strides = storage, offset, strides
        self.dtype, self.shape = storage.dtype, shape
        if not self.size:
            return
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if last >= storage.numel:
            raise ValueError(f"an array ends at number {last + 1} of {storage.numel}")

    @property
    def size(self) -> int:
        """Count of the array's elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.size * self.dtype.itemsize

    def array(self) -> np.ndarray:
        """Returns the array, which shares the file's memory and cannot be written to.

        Raises:
          ValueError: the numbers are not there, or damaged.
        """
        if not self.size:
            return np.empty(self.shape, self.dtype)
        source, key, dtype, numel, start = self._storage
        width = dtype.itemsize
        content = source.content(key)
        if len(content) < (start + numel) * width:
            raise ValueError(f"storage {key} has fewer numbers than it should have")
        strides = [stride * width for stride in self._strides]
        array = np.ndarray(self.shape, dtype, content, (start + self._offset) * width, strides)
        if source.big_endian:
            array = array.byteswap()
        array.flags.writeable = False
        return array


def load_storage(source: Source, saved: Any) -> Any:
    """Returns what stands for a persistent id of a pickle.

    Args:
      source: where storages are.
      saved: the id, ("storage", class, key, device, count, part of another storage or None).

    Raises:
      ValueError: it says nothing that makes sense.
    """
    if not isinstance(saved, tuple) or len(saved) < 2:
        raise ValueError("a persistent id is not a tuple")
    kind, of, *rest = saved
    if kind == "module":  # whose source may follow
        return of
    if kind != "storage" or not isinstance(of, Name):
        return Inert("a persistent id")
    name = _ALL_STORAGES.get(of.text.rpartition(".")[2])
    if name is None:
        return Inert(of.text)
    if len(rest) not in (3, 4) or not isinstance(rest[0], str) or not _is_count(rest[2]):
        raise ValueError("a storage without a name or a size")
    storage = Storage(source, rest[0], DTYPES[name], rest[2])
    if len(rest) == 3 or rest[3] is None:
        return storage
    part = rest[3]
    if not isinstance(part, tuple) or len(part) != 3 or not all(map(_is_count, part[1:])):
        raise ValueError("a part of a storage without a place")
    if part[1] + part[2] > storage.numel:
        raise ValueError("a part of a storage lies outside of it")
    return storage._replace(start=part[1], numel=part[2])


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    """Rebuilds an array; behind requires_grad and hooks may stand flags, such as of its sign."""
    if isinstance(storage, Inert):  # of a kind that NumPy lacks
        return storage
    if len(rest) > 2 and rest[2]:  # PyTorch writes only those that are set
        return Inert("torch.Tensor with a flag")
    if not isinstance(storage, Storage):
        raise ValueError("an array without a storage")
    return Tensor(storage, offset, _size(shape), _size(strides))


def _rebuild_as(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    """Rebuilds an array of a dtype that has no class of storages."""
    dtype = rest[2]  # behind requires_grad and hooks
    name = dtype.text.removeprefix("torch.") if isinstance(dtype, Name) else ""
    if name not in DTYPES:
        return Inert("torch.Tensor of another dtype")
    if isinstance(storage, Storage):
        count = storage.numel * storage.dtype.itemsize // DTYPES[name].itemsize
        storage = storage._replace(dtype=DTYPES[name], numel=count)
    return _rebuild(storage, offset, shape, strides, *rest[:2], *rest[3:])


def _rebuild_from_type(function: Any, _: Any, args: Any, *__: Any) -> Any:
    """Rebuilds an array of a subclass of torch.Tensor, by a function of the same names."""
    call = CALLS.get(function.text) if isinstance(function, Name) else None
    if call is None or call is _rebuild_from_type or not isinstance(args, tuple):
        return Inert("torch.Tensor of another class")
    return call(*args)


def _size(sizes: Any = ()) -> tuple[Any, ...]:
    if not isinstance(sizes, tuple | list) or len(sizes) > _MOST_AXES:
        raise ValueError("a shape with too many axes")
    return tuple(sizes)


def _same(data: Any = None, *_: Any) -> Any:
    return Inert("torch.nn.parameter.Parameter") if data is None else data


CALLS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild_as,
    "torch._utils._rebuild_parameter": _same,
    "torch._utils._rebuild_parameter_with_state": _same,
    "torch.nn.parameter.Parameter": _same,
    "torch.nn.parameter.Buffer": _same,
    "torch._tensor._rebuild_from_type": _rebuild_from_type,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.Size": _size,
}
