"""Stochastic depth: branches that are dropped in training (Huang et al., ECCV 2016)."""

import jax
import jax.numpy as jnp


def batch_key(lr: jax.Array) -> jax.Array:
    """Returns a random key that depends on the pixels `B H W C` of a batch and on nothing else.

    So a step that is taken again, after an interruption or on the host, drops the same paths.
    """
    return jax.random.key(lr.astype(jnp.int32).sum(), impl="threefry2x32")


def drop_path(x: jax.Array, key: jax.Array, rate: jax.Array) -> jax.Array:
    """Drops a branch `B H W C` for some images.

    Args:
      x: output of the branch.
      key: random key.
      rate: share of the images, float32, below 1; the others' branches grow, to keep the mean.
    """
    kept = jax.random.bernoulli(key, 1 - rate, (len(x), 1, 1, 1))
    return x * jnp.where(kept, 1 / (1 - rate), 0.0).astype(x.dtype)
