"""SwinIR: Image Restoration Using Swin Transformer (Liang et al., ICCV workshops 2021), light."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Conv, Layer, add_mean, chain, pixel_shuffle, subtract_mean
from lnln_jax.models.stochastic_depth import batch_key, drop_path
from lnln_jax.models.window_attention import SHIFT, WINDOW, LayerNorm, Linear, WindowAttention


class SwinBlock(nn.Module):
    """Window attention and a perceptron, each behind a LayerNorm, plus its input (the STL)."""

    n_heads: int
    mlp_ratio: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, shift: jax.Array, *paths: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape; `paths`: the rate to drop branches at, and two keys."""

        def branch(y: jax.Array, i: int) -> jax.Array:
            return drop_path(y, paths[1][i], paths[0]) if paths else y

        features = x.shape[-1]
        linear = partial(Linear, dtype=self.dtype)
        y = LayerNorm(name="norm_1")(x)
        x += branch(WindowAttention(self.n_heads, self.dtype, name="attention")(y, shift), 0)
        y = LayerNorm(name="norm_2")(x)
        y = nn.gelu(linear(self.mlp_ratio * features, name="mlp_1")(y), approximate=False)
        return x + branch(linear(features, name="mlp_2")(y), 1)


class SwinGroup(nn.Module):
    """Blocks, whose windows are shifted in every second one, and a convolution (the RSTB)."""

    block: Layer
    conv3x3: Layer
    n_resblocks: int

    @nn.compact
    def __call__(self, x: jax.Array, *paths: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape; `paths` are the rates and keys of the blocks."""
        shifts = SHIFT * (jnp.arange(self.n_resblocks) % 2)
        y = chain(self.block(name="blocks"), x, self.n_resblocks, shifts, *paths)
        return x + self.conv3x3(x.shape[-1], name="conv")(y)


class SwinIRLight(nn.Module):
    """Groups of transformer blocks that attend in windows: 0.91 M parameters at x2.

    Attributes:
      scale: 2, 3 or 4.
      n_resgroups: groups of blocks with a convolution.
      n_resblocks: blocks in a group.
      n_feats: width of the network.
      n_heads: heads of the attention.
      mlp_ratio: width of a perceptron's hidden layer, divided by that of the network.
      drop_path: share of images for which the last block's branches are dropped in training; it
        grows linearly from 0 at the first block. 0: none.
      dtype: of the computation; parameters are float32.
    """

    least_side: ClassVar[int] = WINDOW // 2 + 1  # which the reflection needs
    window: ClassVar[int] = WINDOW
    may_be_zero: ClassVar[tuple[str, ...]] = ("drop_path",)
    narrow: ClassVar[dict[str, int]] = {"n_heads": 1, "mlp_ratio": 1}

    scale: int = 2
    n_resgroups: int = 4
    n_resblocks: int = 6
    n_feats: int = 60
    n_heads: int = 6
    mlp_ratio: int = 2
    drop_path: float = 0.1
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for numbers that do not fit each other."""
        if self.n_feats % self.n_heads:
            raise ValueError(
                f"n_feats is {self.n_feats}, which n_heads {self.n_heads} cannot share equally; "
                "choose a multiple"
            )
        if self.drop_path >= 1:
            raise ValueError(f"drop_path is {self.drop_path}; it must be below 1")

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch.

        Args:
          lr: `B H W 3`, float32, RGB in 0..255, at least 5x5 pixels.
          train: whether branches are dropped, at random but always alike for the same batch.

        Returns:
          `B H*scale W*scale 3`, float32, RGB around 0..255, neither clipped nor rounded.
        """
        _, height, width, _ = lr.shape
        if min(height, width) < self.least_side:
            raise ValueError(
                f"the image is {height}x{width} pixels; SwinIR fills up windows by reflection, "
                f"so give it at least {self.least_side}x{self.least_side} pixels"
            )
        conv = partial(Conv, dtype=self.dtype)
        block = partial(SwinBlock, self.n_heads, self.mlp_ratio, dtype=self.dtype)
        group = SwinGroup(block, conv, self.n_resblocks, name="groups")
        paths: tuple[jax.Array, ...] = ()
        if train and self.drop_path:
            blocks = self.n_resgroups, self.n_resblocks
            rates = jnp.linspace(0, self.drop_path, blocks[0] * blocks[1]).reshape(blocks)
            paths = rates, jax.random.split(batch_key(lr), (*blocks, 2))

        filled = ((0, 0), (0, -height % WINDOW), (0, -width % WINDOW), (0, 0))
        x = jnp.pad(subtract_mean(lr) / 255.0, filled, mode="reflect")
        head = conv(self.n_feats, name="head")(x)
        body = chain(group, LayerNorm(name="embed_norm")(head), self.n_resgroups, *paths)
        features = conv(self.n_feats, name="body")(LayerNorm(name="norm")(body)) + head
        sr = pixel_shuffle(conv(3 * self.scale**2, name="upsampler")(features), self.scale)
        return add_mean(255.0 * widen(sr[:, : height * self.scale, : width * self.scale]))
