"""WDSR: Wide Activation for Efficient and Accurate Image Super-Resolution (Yu et al., 2018)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Layer, add_mean, chain, pixel_shuffle, subtract_mean
from lnln_jax.models.weight_norm import WeightNormConv


class WideBlock(nn.Module):
    """conv - ReLU - conv with many features at the ReLU, scaled, plus the input (block A)."""

    features: int
    expand: Layer
    shrink: Layer
    res_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        y = nn.relu(self.expand(self.features, name="expand")(x))
        y = self.shrink(x.shape[-1], name="shrink")(y)
        return x + self.res_scale * y


class LowRankBlock(nn.Module):
    """1x1 - ReLU - 1x1 - 3x3 with even more features there, scaled, plus the input (block B).

    The last two are a linear convolution of low rank.
    """

    features: int
    low_rank_features: int
    conv: Layer
    res_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        y = nn.relu(self.conv(self.features, kernel_size=1, name="expand")(x))
        y = self.conv(self.low_rank_features, kernel_size=1, name="shrink")(y)
        y = self.conv(x.shape[-1], name="conv")(y)
        return x + self.res_scale * y


def add_paths(
    x: jax.Array, block: nn.Module, conv: Layer, *, n_resblocks: int, n_feats: int, scale: int
) -> jax.Array:
    """Upscales `B H W 3` to float32 `B H*scale W*scale 3`: blocks, plus a skip of one convolution.

    Layers go to the module whose compact method calls this: head, tail and skip.
    """
    features = chain(block, conv(n_feats, name="head")(x), n_resblocks)
    main = conv(3 * scale**2, name="tail")(features)
    skip = conv(3 * scale**2, kernel_size=5, name="skip")(x)
    return pixel_shuffle(widen(main) + widen(skip), scale)


class WDSRA(nn.Module):
    """Weight-normalised blocks that are narrow between, wide inside: 1.19 M parameters at x2.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: residual blocks.
      n_feats: features between the blocks.
      block_feats: features inside a block, at its ReLU.
      res_scale: factor of a block's output before its input is added.
      dtype: of the computation; parameters are float32.
    """

    narrow: ClassVar[dict[str, int]] = {"block_feats": 1, "low_rank_feats": 1}

    scale: int = 2
    n_resblocks: int = 16
    n_feats: int = 32
    block_feats: int = 128
    res_scale: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch; `train` makes no difference.

        Args:
          lr: `B H W 3`, float32, RGB in 0..255.
          train: accepted for the interface that all networks share.

        Returns:
          `B H*scale W*scale 3`, float32, RGB around 0..255, neither clipped nor rounded.
        """
        conv = partial(WeightNormConv, dtype=self.dtype)
        sizes = {"n_resblocks": self.n_resblocks, "n_feats": self.n_feats, "scale": self.scale}
        x = subtract_mean(lr) / 127.5
        return add_mean(127.5 * add_paths(x, self.block(conv), conv, **sizes))

    @nn.nowrap
    def block(self, conv: Layer) -> nn.Module:
        """Returns the block of this form."""
        return WideBlock(self.block_feats, conv, conv, self.res_scale, name="blocks")


class WDSRB(WDSRA):
    """WDSR with block B: 1.20 M parameters at x2.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: residual blocks.
      n_feats: features between the blocks.
      block_feats: features at a block's ReLU; the authors' are six times `n_feats`.
      low_rank_feats: features before a block's 3x3 convolution; the authors' are 0.8 `n_feats`,
        rounded down.
      res_scale: factor of a block's output before its input is added.
      dtype: of the computation; parameters are float32.
    """

    n_feats: int = 64
    block_feats: int = 384
    low_rank_feats: int = 51

    @nn.nowrap
    def block(self, conv: Layer) -> nn.Module:
        """Returns the block of this form."""
        sizes = self.block_feats, self.low_rank_feats
        return LowRankBlock(*sizes, conv, self.res_scale, name="blocks")
