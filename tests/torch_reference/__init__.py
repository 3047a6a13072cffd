"""The networks in plain PyTorch, written from the papers to compare `lnln_jax` with."""

from torch_reference.drca import DRCA
from torch_reference.lnln import LNLN

__all__ = ["DRCA", "LNLN"]
