"""Region non-local attention: one interface, a dense and a memory-efficient implementation.

Equations 1 to 3 of the LNLN paper (Wang et al., ICASSP 2021): embedded-Gaussian non-local means
(Wang et al., CVPR 2018) without the 1/sqrt(d) scaling, within each quarter of the feature map.
"""

import jax
import jax.numpy as jnp
from jax import lax

# Above this many positions in a region, the scores are made a block of queries at a time.
DENSE_POSITIONS = 4096
# The largest block of scores held at once, in elements (32 Mi of float32 are 128 MiB).
BLOCK_ELEMENTS = 1 << 25


def attend_dense(theta: jax.Array, phi: jax.Array, g: jax.Array) -> jax.Array:
    """softmax(theta phi^T) g with the whole matrix of scores in memory.

    Args:
      theta: `B N D` queries.
      phi: `B M D` keys.
      g: `B M D` values.

    Returns:
      `B N D` in the dtype of `g`; scores and softmax are computed in float32.
    """
    scores = jnp.einsum("bnd,bmd->bnm", theta, phi, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores, axis=-1).astype(g.dtype)
    return jnp.einsum("bnm,bmd->bnd", weights, g)


def attend_in_blocks(
    theta: jax.Array, phi: jax.Array, g: jax.Array, *, block_size: int
) -> jax.Array:
    """`attend_dense` for `block_size` queries at a time, recomputed in the backward pass.

    The queries are padded to full blocks; keys are not, so every result is exact.
    """
    batch, length, depth = theta.shape
    blocks = -(-length // block_size)
    padded = jnp.pad(theta, ((0, 0), (0, blocks * block_size - length), (0, 0)))
    padded = padded.reshape(batch, blocks, block_size, depth).swapaxes(0, 1)
    out = lax.map(jax.checkpoint(lambda queries: attend_dense(queries, phi, g)), padded)
    return out.swapaxes(0, 1).reshape(batch, blocks * block_size, -1)[:, :length]


def attend(theta: jax.Array, phi: jax.Array, g: jax.Array) -> jax.Array:
    """softmax(theta phi^T) g, dense for up to `DENSE_POSITIONS` queries, else in blocks."""
    batch, positions = theta.shape[:2]
    if positions <= DENSE_POSITIONS:
        return attend_dense(theta, phi, g)
    blocks = -(-positions * batch * phi.shape[1] // BLOCK_ELEMENTS)
    return attend_in_blocks(theta, phi, g, block_size=-(-positions // blocks))


def region_attention(theta: jax.Array, phi: jax.Array, g: jax.Array) -> jax.Array:
    """Attends within each of the four quarters of a feature map and puts the results back.

    The map is cut at `H // 2` and `W // 2`, so the top and left quarters take the floor of odd
    sizes (as in SAN, Dai et al., CVPR 2019).

    Args:
      theta: `B H W D` queries.
      phi: `B H W D` keys.
      g: `B H W D` values.

    Returns:
      `B H W D` in the dtype of `g`.

    Raises:
      ValueError: The height or width is smaller than 2, so that a quarter would be empty.
    """
    height, width = theta.shape[1:3]
    if height < 2 or width < 2:
        raise ValueError(
            f"the image is {height}x{width} pixels; region non-local attention cuts it in four, "
            "so give it at least 2x2 pixels"
        )

    def quarter(rows: slice, columns: slice) -> jax.Array:
        parts = [part[:, rows, columns] for part in (theta, phi, g)]
        flat = [part.reshape(part.shape[0], -1, part.shape[3]) for part in parts]
        return attend(*flat).reshape(parts[2].shape)

    half_rows = slice(None, height // 2), slice(height // 2, None)
    half_columns = slice(None, width // 2), slice(width // 2, None)
    return jnp.concatenate(
        [
            jnp.concatenate([quarter(rows, columns) for columns in half_columns], axis=2)
            for rows in half_rows
        ],
        axis=1,
    )
