"""Attention within windows of a feature map, plain and shifted (Swin Transformer, ICCV 2021).

Weights and biases of linear layers are drawn as SwinIR's code draws them: normal with a deviation
of 0.02 (truncated at 100 deviations), and zero.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from lnln_jax.kernels.convolution import add_bias
from lnln_jax.kernels.reference import widen

WINDOW = 8  # side of a window
SHIFT = WINDOW // 2  # of the windows of every second block
_NORMAL = nn.initializers.normal(0.02)


class Linear(nn.Module):
    """Product of the channels with a matrix, plus a bias."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `... C` to `... features`."""
        kernel = self.param("kernel", _NORMAL, (x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        # As rows, for the reason in `kernels.reference.channel_product`.
        rows = x.astype(self.dtype).reshape(-1, x.shape[-1])
        y = add_bias(rows @ kernel.astype(self.dtype), bias.astype(self.dtype))
        return y.reshape(*x.shape[:-1], self.features)


class LayerNorm(nn.Module):
    """Normalisation of each position's channels (Ba et al., 2016), computed in float32.

    `flax.linen.LayerNorm` mixes dtypes in bfloat16, which strict promotion refuses.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `... C` to the same shape and dtype."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        centred = widen(x) - widen(x).mean(-1, keepdims=True)
        var = jnp.square(centred).mean(-1, keepdims=True)
        return (centred * lax.rsqrt(var + self.epsilon) * scale + bias).astype(x.dtype)


class WindowAttention(nn.Module):
    """Self-attention of several heads in each window, with a learnt bias for relative positions.

    With a `shift` the windows begin that many pixels further down and right; those at the far edges
    are completed from the opposite ones, whose pixels are kept apart by a mask.
    """

    n_heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, shift: jax.Array) -> jax.Array:
        """Maps `B H W C`, H and W multiples of `WINDOW`, to the same shape.

        Args:
          x: feature map; C is a multiple of the number of heads.
          shift: int32 scalar, `SHIFT` or 0.
        """
        _, height, width, channels = x.shape
        depth = channels // self.n_heads
        rows = (2 * WINDOW - 1) ** 2
        table = self.param("bias_table", _NORMAL, (rows, self.n_heads), jnp.float32)

        shifts = jnp.full(2, shift)  # of rows and columns
        x = to_windows(jnp.roll(x, -shifts, (1, 2)))
        qkv = Linear(3 * channels, dtype=self.dtype, name="qkv")(x)
        qkv = qkv.reshape(*x.shape[:3], 3, self.n_heads, depth)
        q, k, v = (qkv[..., i, :, :] for i in range(3))  # B, window, position, head, depth
        wide = widen(q).dtype
        scores = jnp.einsum("bwqhd,bwkhd->bwhqk", q * depth**-0.5, k, preferred_element_type=wide)
        bias = table[relative_positions()].transpose(2, 0, 1)
        scores += bias + shifted_mask(height, width, shift)[:, None].astype(wide)
        weights = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        y = jnp.einsum("bwhqk,bwkhd->bwqhd", weights, v).reshape(x.shape)
        y = Linear(channels, dtype=self.dtype, name="proj")(y)
        return jnp.roll(from_windows(y, height), shifts, (1, 2))


def to_windows(x: jax.Array) -> jax.Array:
    """Cuts `B H W C` into `B N WINDOW**2 C`, windows and their positions row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.swapaxes(2, 3).reshape(batch, -1, WINDOW**2, channels)


def from_windows(x: jax.Array, height: int) -> jax.Array:
    """Undoes `to_windows`: returns `B height W C`."""
    batch, _, _, channels = x.shape
    x = x.reshape(batch, height // WINDOW, -1, WINDOW, WINDOW, channels)
    return x.swapaxes(2, 3).reshape(batch, height, -1, channels)


def relative_positions() -> np.ndarray:
    """Returns the row of the bias table for each query and key: `WINDOW**2 WINDOW**2`, int64."""
    pixels = np.arange(WINDOW**2, dtype=np.int64)
    places = np.stack(np.divmod(pixels, WINDOW), axis=-1)  # row, column
    offsets = places[:, None] - places + WINDOW - 1
    return offsets @ np.array([2 * WINDOW - 1, 1])


def shifted_mask(height: int, width: int, shift: jax.Array | int) -> jax.Array:
    """Returns what is added to scores in shifted windows: -100 where two pixels are no neighbours.

    Args:
      height: height of the feature map.
      width: its width.
      shift: as for `WindowAttention`.

    Returns:
      `N WINDOW**2 WINDOW**2`, float32, for N windows; zero if there is no shift.
    """
    # After the roll, parts begin where the last window does, and where the first rows follow.
    rows, columns = (
        np.searchsorted([side - WINDOW, side - SHIFT], np.arange(side), side="right")
        for side in (height, width)
    )
    parts = to_windows(jnp.asarray(3 * rows[:, None] + columns, jnp.int32)[None, ..., None])
    parts = jnp.where(shift > 0, parts[0, ..., 0], 0)
    return jnp.where(parts[:, :, None] == parts[:, None], 0.0, -100.0).astype(jnp.float32)
