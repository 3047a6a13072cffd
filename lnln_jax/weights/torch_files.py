"""PyTorch's own files in and out: PyTorch must be installed, and runs no code of a file."""

import importlib
import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from lnln_jax.runtime.extras import MissingExtraError, install
from lnln_jax.runtime.files import printable, write_file
from lnln_jax.weights import inert_pickles
from lnln_jax.weights.integrity import raise_if
from lnln_jax.weights.nesting import flatten, select_network


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a file of `torch.save`, in PyTorch's zip or older format, and runs no code of it.

    Args:
      path: file with the state dict of a known network, on its own or within dictionaries and under
        prefixes (`nesting`); or with the network itself, of whose class nothing is imported.

    Returns:
      Arrays by key without prefix, in the dtypes of the file.

    Raises:
      ValueError: the file is empty, damaged or of another kind, holds none or several of the known
        networks, or what cannot be read without running code that the file chooses.
      RuntimeError: PyTorch is not installed.
    """
    path = Path(path)
    _check_format(path)
    torch = _import_torch()
    tree, refusal = _load(torch, path)
    flat = flatten(tree)
    if not flat:
        kind = type(tree).__name__
        raise refusal or ValueError(
            f"{printable(path)} holds no state dict but a {kind}; save model.state_dict()"
        )
    try:
        state_dict = select_network(flat, path)
    except ValueError as error:
        raise (refusal or error) from error
    strange = [repr(key) for key, value in state_dict.items() if not _is_plain(torch, value)]
    raise_if(
        strange,
        f"{printable(path)} holds what is not an array of floating-point numbers; save "
        "model.state_dict(), as it is or in a dictionary",
    )
    if sum(value.nbytes for value in state_dict.values()) > path.stat().st_size:
        raise ValueError(
            f"{printable(path)} is smaller than the arrays that it claims to hold; it is damaged"
        )
    return {key: _array(torch, value.detach()) for key, value in state_dict.items()}


def _load(torch: Any, path: Path) -> tuple[Any, ValueError | None]:
    """Reads a file; also returns what to raise if it holds more than tensors and no network."""
    inert: Any = inert_pickles  # a module, as torch.load wants
    # Given a name, torch.load goes by its suffix.
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickles that are read in another way
        try:
            return torch.load(file, map_location="cpu", weights_only=True), None
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL ([\w.]+)", str(error))
            name = found[1] if found else "another kind of pickle"
            refusal = ValueError(
                f"{printable(path)} holds more than tensors ({name}), and to read it would run "
                "code that the file chooses; where you trust the file, load it with PyTorch, "
                'torch.save(model.state_dict(), "weights.pt"), and take that'
            )
        except Exception as error:  # a damaged file can raise anything
            reason = " ".join([type(error).__name__, *str(error).split()])[:100]
            raise ValueError(
                f"{printable(path)} is damaged or incomplete ({reason}); download it again"
            ) from error
        try:
            file.seek(0)
            tree = torch.load(file, map_location="cpu", weights_only=False, pickle_module=inert)
        except Exception as error:  # what makes no sense without its code
            raise refusal from error
    return tree, refusal


def _dtype_name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _array(torch: Any, tensor: Any) -> np.ndarray:
    """Returns a tensor as an array of the same dtype, which NumPy may know from JAX alone."""
    name = _dtype_name(tensor)
    if tensor.element_size() > 2 or name == "float16":
        return tensor.numpy()
    bits = {1: torch.uint8, 2: torch.int16}[tensor.element_size()]
    return tensor.contiguous().view(bits).numpy().view(np.dtype(getattr(ml_dtypes, name)))


def write_state_dict(path: str | Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes what `to_torch` returns as a `.pt` file, in PyTorch's zip format.

    Args:
      path: file that appears whole or not at all, its folder where there is none. An older file of
        that name is replaced.
      state_dict: arrays by key.

    Raises:
      RuntimeError: PyTorch is not installed.
    """
    torch = _import_torch()
    file = io.BytesIO()
    torch.save({key: torch.from_numpy(array) for key, array in state_dict.items()}, file)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, file.getvalue())


def _import_torch() -> Any:
    try:
        return importlib.import_module("torch")  # no import statement: mypy runs without it, too
    except ImportError as error:
        raise MissingExtraError(
            f"a PyTorch file needs torch: {install('torch')}; or convert it to .safetensors where "
            "PyTorch is installed"
        ) from error


def _check_format(path: Path) -> None:
    """Raises ValueError for a file that PyTorch did not write, or wrote as TorchScript."""
    with path.open("rb") as file:
        head = file.read(20)
    if not head:
        raise ValueError(f"{printable(path)} is empty; download it again")
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = {name.rpartition("/")[2] for name in archive.namelist()}
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{printable(path)} is damaged or incomplete; download it again"
            ) from error
        if "constants.pkl" in names:
            raise ValueError(
                f"{printable(path)} is a TorchScript archive, which holds a program; load it with "
                'torch.jit.load, torch.save(model.state_dict(), "weights.pt"), and take that'
            )
        if "data.pkl" not in names:
            raise ValueError(
                f"{printable(path)} is a zip archive, but not one that torch.save wrote"
            )
    elif not head.startswith(b"\x80"):  # the first byte of a pickle
        raise ValueError(f"{printable(path)} is not a PyTorch file; it begins with {head!r}")


def _is_plain(torch: Any, value: Any) -> bool:
    """Returns whether an item of a state dict is an array of floating-point numbers, or a count."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        return False
    if value.is_floating_point():  # two numbers in a byte are none of NumPy's
        known = value.element_size() > 1 or hasattr(ml_dtypes, _dtype_name(value))
        return known and value.device.type == "cpu"
    return value.dtype == torch.int64 and value.ndim == 0
