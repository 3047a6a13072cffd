"""A deeper network that computes what a trained one does, to be trained further.

So a network grows while it is trained, and most steps are those of a shallow one, which cost little
(Net2Net, Chen et al., ICLR 2016).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.models.variables import Variables

GROWING = ("lnln", "drca")  # whose body is `models.residual_groups.DenseResidualGroups`


def grow(fresh: Variables, trained: Variables) -> Variables:
    """Puts a trained LNLN or DRCA into one that has more groups, or more blocks in each.

    The trained groups and blocks come first. Each new block ends in a batch normalisation of scale
    zero, so that only its skip remains; of the new groups the projection behind them takes nothing.
    The gradients of these scales and of the projection are not zero, and once they have moved,
    neither are those of what lies before them.

    Args:
      fresh: variables of the deeper network as `state.initialize` draws them; float32.
      trained: variables of the other, float32.

    Returns:
      Variables of the shapes of `fresh`.

    Raises:
      ValueError: the networks differ in more than their depth, or the trained one is deeper.
    """
    grown = jax.tree.map(np.array, fresh)  # copies, on the host: nothing to compile
    body = grown["params"]["body"]
    body["projection"]["kernel"][:] = 0
    for group in body.keys() - {"projection"}:
        for blocks in body[group].values():
            blocks["norm_2"]["scale"][:] = 0
    _put_first(grown, trained)
    return jax.tree.map(jnp.asarray, grown)


def _put_first(new: Any, old: Any, path: tuple[str, ...] = ()) -> None:
    """Writes `old` over what it has in common with `new`: the first blocks, groups and inputs."""
    if isinstance(new, Mapping):
        if surplus := old.keys() - new.keys():
            raise ValueError(f"{'/'.join(path)} has {', '.join(sorted(surplus))} besides")
        for key, value in old.items():
            _put_first(new[key], value, (*path, key))
        return
    shape = list(new.shape)
    if "blocks" in path or path[-2:] == ("projection", "kernel"):
        axis = 0 if "blocks" in path else 2
        shape[axis] = min(shape[axis], *old.shape[axis : axis + 1])
    if tuple(shape) != old.shape:
        raise ValueError(f"{'/'.join(path)} is {old.shape} and should be {tuple(shape)}")
    new[tuple(map(slice, shape))] = old
