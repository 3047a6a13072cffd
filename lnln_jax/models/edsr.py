"""EDSR: Enhanced Deep Residual Networks for Single Image Super-Resolution (Lim et al., 2017)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Conv, Upsampler, add_mean, chain, subtract_mean


class EDSRBlock(nn.Module):
    """conv - ReLU - conv, scaled, plus the input; no normalisation."""

    features: int
    res_scale: float = 1.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`B H W features` to the same."""
        y = nn.relu(Conv(self.features, dtype=self.dtype, name="conv_1")(x))
        y = Conv(self.features, dtype=self.dtype, name="conv_2")(y)
        return x + self.res_scale * y


class EDSR(nn.Module):
    """The large network by default (40.73 M parameters at x2); the baseline is smaller.

    `create_model("edsr_baseline")` has 16 blocks of 64 features and a `res_scale` of 1.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: residual blocks.
      n_feats: width of the network.
      res_scale: factor of a block's output before its input is added.
      unroll: blocks that the compiler lays out side by side; changes no result.
      dtype: of the computation; parameters are float32.
    """

    scale: int = 2
    n_resblocks: int = 32
    n_feats: int = 256
    res_scale: float = 0.1
    unroll: int = 1
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
        head = Conv(self.n_feats, dtype=self.dtype, name="head")(subtract_mean(lr))
        block = EDSRBlock(self.n_feats, self.res_scale, dtype=self.dtype, name="blocks")
        body = chain(block, head, self.n_resblocks, unroll=self.unroll)
        body = Conv(self.n_feats, dtype=self.dtype, name="body")(body)
        features = Upsampler(self.scale, dtype=self.dtype, name="upsampler")(body + head)
        sr = Conv(3, dtype=self.dtype, name="tail")(features)
        return add_mean(widen(sr))
