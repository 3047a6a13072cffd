"""Beginning a run with the weights of another network (`init_from`).

Of a network of another scale, all but the tail is taken over. A shallower LNLN or DRCA grows into a
deeper one that computes the same, to be trained further: so a network grows while it is trained,
and most steps are those of a shallow one, which cost little (Net2Net, Chen et al., ICLR 2016).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.models.registry import SCALES
from lnln_jax.models.spec import ModelConfig
from lnln_jax.models.variables import Variables
from lnln_jax.weights.load import load_weights

TAIL = ("upsampler", "tail", "skip")  # what depends on the scale; WDSR's skip is of its image
GROWING = ("lnln", "drca")  # whose body is `models.residual_groups.DenseResidualGroups`


def transfer(variables: Variables, source: Path, model: ModelConfig) -> Variables:
    """Puts the weights of a run or a file into fresh variables.

    Args:
      variables: fresh variables of the network to be trained, float32.
      source: what `load_model` takes, except "bicubic".
      model: the network to be trained.

    Returns:
      Variables of the shapes of `variables`, which keep their fresh tail where the source has none
      for their scale.

    Raises:
      ValueError: the source cannot be loaded, or its network does not fit.
    """
    try:
        other, trained, *_ = load_weights(source, default_scale=model.scale)
    except ValueError as error:
        raise ValueError(f"init_from: {error}; init_from= starts from random weights") from error
    has, wanted = _tail_scales(other), _tail_scales(model)
    fresh = () if wanted <= has else TAIL
    if wanted < has:  # CARN with an upsampler for each scale: the one for ours
        params = trained["params"]
        upsampler = params["upsampler"][f"x{model.scale}"]
        trained = {**trained, "params": {**params, "upsampler": upsampler}}
    merged = {
        collection: {
            name: new if name in fresh else trained.get(collection, {}).get(name)
            for name, new in tree.items()
        }
        for collection, tree in variables.items()
    }
    misfit = (
        f"init_from is {source}, a {other.name} with {other.options}; its parameters do not fit "
        f"{model.name} with {dict(model.options)}"
    )
    if other.name == model.name and other.name in GROWING:
        try:
            return grow(variables, merged)
        except ValueError as error:
            raise ValueError(f"{misfit}: {error}") from error
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (variables, merged)]
    if shapes[0] != shapes[1]:
        raise ValueError(misfit)
    return jax.tree.map(jnp.asarray, merged)


def _tail_scales(model: ModelConfig) -> set[int]:
    """Returns the scales that a network's upsampler and what follows it can be used for."""
    return {model.scale} if model.options.get("n_scales", 1) == 1 else set(SCALES)


def grow(fresh: Variables, trained: Variables) -> Variables:
    """Puts a trained LNLN or DRCA into one that has more groups, or more blocks in each.

    The trained groups and blocks come first. Each new block ends in a batch normalisation of scale
    zero, so that only its skip remains; of the new groups the projection behind them takes nothing.
    The gradients of these scales and of the projection are not zero, and once they have moved,
    neither are those of what lies before them.

    Args:
      fresh: variables of the deeper network as `models.variables.initialize` draws them, float32.
      trained: variables of the other network, float32.

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
