"""Sums over the pixels of feature maps `B H W C`, and channel vectors, in forms for XLA on CPUs."""

import jax
import jax.numpy as jnp
from jax import lax

ROWS = 8  # that are added up at once; XLA's CPU compiler unrolls no more


def materialize(rows: jax.Array) -> jax.Array:
    """Returns `rows` unchanged, on CPU as a buffer of its own that no loop can be fused with.

    A product with the identity matrix is the one exact operation that XLA neither removes nor
    fuses into its consumers (an optimization barrier is dropped before fusion).

    Args:
      rows: `K C`, per-channel vectors, finite. K is small.
    """

    def through_identity(rows: jax.Array) -> jax.Array:
        identity = jnp.eye(rows.shape[0], dtype=rows.dtype)
        return jnp.dot(identity, rows, precision=lax.Precision.HIGHEST)

    if rows.shape[0] == 1:  # a 1x1 product would be simplified away
        return materialize(jnp.concatenate([rows, rows]))[:1]
    return lax.platform_dependent(rows, cpu=through_identity, default=lambda rows: rows)


def sums_over_rows(groups: list[jax.Array]) -> list[jax.Array]:
    """Sums over the rows of each group, of several `B G R W C` at once; R at most `ROWS`.

    One reduction with as many results adds up a few rows, which XLA's CPU compiler unrolls and
    vectorises over the columns; over a whole image it would be a scalar loop for each channel.

    Returns:
      `B G W C` each, in their dtype, as buffers of their own.
    """
    sums = lax.reduce(
        groups,
        [jnp.zeros((), groups[0].dtype)] * len(groups),
        lambda a, b: [p + q for p, q in zip(a, b, strict=True)],
        (2,),
    )
    return lax.optimization_barrier(sums)


def sums_over_pixels(terms: list[jax.Array], *, by_image: bool = False) -> list[jax.Array]:
    """Sums over all pixels, of several terms at once, in two stages.

    Args:
      terms: `B H W C` each, float32 or wider; best not computed in advance, so that one loop does
        it all.
      by_image: whether to keep the images apart.

    Returns:
      For each term `C`, or `B C`.
    """
    batch, height, width, channels = terms[0].shape
    missing = -height % ROWS
    grouped = (batch, (height + missing) // ROWS, ROWS, width, channels)
    padding = ((0, 0), (0, missing), (0, 0), (0, 0))
    sums = sums_over_rows([jnp.pad(term, padding).reshape(grouped) for term in terms])
    return [part.sum((1, 2) if by_image else (0, 1, 2)) for part in sums]


def sum_of_pixels(x: jax.Array) -> jax.Array:
    """Returns the sum over all axes but the last: a product with ones, the fastest way there is."""
    rows = x.reshape(-1, x.shape[-1])
    return jnp.dot(jnp.ones((1, len(rows)), x.dtype), rows, precision=lax.Precision.HIGHEST)[0]
