"""The public name of `lnln_jax.weights.pretrained`: the trained networks of the package."""

from lnln_jax.weights.pretrained import Pretrained, best, load, names, path_of

__all__ = ["Pretrained", "best", "load", "names", "path_of"]
