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

import numpy as np

from lnln_jax.runtime.extras import MissingExtraError, install
from lnln_jax.runtime.files import write_file
from lnln_jax.weights.integrity import raise_if

# Where training scripts put the state dict, the moving average first.
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a `.pt` or `.pth` file, in PyTorch's zip or older format, and runs no code of it.

    Args:
      path: file whose state dict may lie in a dictionary, or several, under one of `WRAPPERS`.

    Returns:
      Arrays by key, float32 whatever the file has, and int64 for `num_batches_tracked`.

    Raises:
      ValueError: the file is empty, damaged or of another kind, or holds more than tensors, so that
        reading it would run code that the file chooses.
      RuntimeError: PyTorch is not installed.
    """
    path = Path(path)
    _check_format(path)
    torch = _import_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickles that are going to be refused
        try:
            tree = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            name = re.search(r"GLOBAL ([\w.]+)", str(error))
            raise ValueError(
                f"{path} holds more than tensors ({name[1] if name else 'another kind of pickle'}),"
                " and to read it would run code that the file chooses; where you trust the file, "
                'load it with PyTorch, torch.save(model.state_dict(), "weights.pt"), and take that'
            ) from error
        except Exception as error:  # a damaged file can raise anything
            reason = " ".join([type(error).__name__, *str(error).split()])[:100]
            raise ValueError(
                f"{path} is damaged or incomplete ({reason}); download it again"
            ) from error
    state_dict = _unwrap(tree)
    if not isinstance(state_dict, Mapping) or not state_dict:
        kind = type(state_dict).__name__
        raise ValueError(f"{path} holds no state dict but a {kind}; save model.state_dict()")
    strange = [repr(key) for key, value in state_dict.items() if not _is_plain(torch, key, value)]
    raise_if(
        strange,
        f"{path} holds what is not an array of floating-point numbers; save model.state_dict(), "
        f"as it is or in a dictionary under {', '.join(WRAPPERS)}",
    )
    if sum(value.nbytes for value in state_dict.values()) > path.stat().st_size:
        raise ValueError(f"{path} is smaller than the arrays that it claims to hold; it is damaged")
    return {
        key: (value.detach().float() if value.is_floating_point() else value).numpy()
        for key, value in state_dict.items()
    }


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
        raise ValueError(f"{path} is empty; download it again")
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = {name.rpartition("/")[2] for name in archive.namelist()}
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged or incomplete; download it again") from error
        if "constants.pkl" in names:
            raise ValueError(
                f"{path} is a TorchScript archive, which holds a program; load it with "
                'torch.jit.load, torch.save(model.state_dict(), "weights.pt"), and take that'
            )
        if "data.pkl" not in names:
            raise ValueError(f"{path} is a zip archive, but not one that torch.save wrote")
    elif not head.startswith(b"\x80"):  # the first byte of a pickle
        raise ValueError(f"{path} is not a PyTorch file; it begins with {head!r}")


def _unwrap(tree: Any) -> Any:
    """Returns what lies under `WRAPPERS`, at most four deep: a dictionary can hold itself."""
    for _ in range(4):
        wrapped = tree if isinstance(tree, Mapping) else {}
        inner = [wrapped[key] for key in WRAPPERS if isinstance(wrapped.get(key), Mapping)]
        tree = inner[0] if inner else tree
    return tree


def _is_plain(torch: Any, key: Any, value: Any) -> bool:
    """Returns whether an item of a state dict is an array of floating-point numbers, or a count."""
    return (
        isinstance(key, str)
        and isinstance(value, torch.Tensor)
        and (value.device.type, value.layout) == ("cpu", torch.strided)
        and (value.is_floating_point() or (value.dtype == torch.int64 and value.ndim == 0))
    )
