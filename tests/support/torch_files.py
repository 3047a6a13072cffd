"""State dicts as PyTorch's own files."""

from pathlib import Path
from typing import Any

from lnln_jax.models.variables import Variables
from lnln_jax.weights.torch_port import to_torch
from tests.support.small_networks import make_variables


def save(path: Path, tree: Any, *, zipped: bool = True) -> Path:
    """Saves a tree as `torch.save` does, or did before it wrote zip files."""
    import torch

    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    return path


def edsr_state() -> tuple[Variables, dict[str, Any]]:
    """Returns EDSR's variables and its state dict of tensors."""
    import torch

    variables = make_variables("edsr")
    arrays = to_torch(variables, name="edsr")
    return variables, {key: torch.from_numpy(array) for key, array in arrays.items()}
