"""The public name of `lnln_jax.weights.torch_port`: variables to PyTorch's state dicts and back."""

from lnln_jax.weights.torch_port import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
