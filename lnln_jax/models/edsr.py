"""EDSR: Enhanced Deep Residual Networks for Single Image Super-Resolution (Lim et al., 2017)."""

from functools import partial
from typing import ClassVar

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
        """Maps `B H W features` to the same shape."""
        y = Conv(self.features, dtype=self.dtype, name="conv_1")(x)
        y = nn.relu(y)
        y = Conv(self.features, dtype=self.dtype, name="conv_2")(y)
        return x + self.res_scale * y


class EDSR(nn.Module):
    """The large network by default (40.73 M parameters at x2); the baseline is smaller.

    `create_model("edsr_baseline")` has 16 blocks of 64 features and a `res_scale` of 1.

    Attributes:
      scale: 2, 3, 4 or 8.
      n_resblocks: residual blocks.
      n_feats: width of the network.
      res_scale: factor of a block's output before its input is added.
      dtype: of the computation; parameters are float32.
    """

    scales: ClassVar[tuple[int, ...]] = (2, 3, 4, 8)

    scale: int = 2
    n_resblocks: int = 32
    n_feats: int = 256
    res_scale: float = 0.1
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
        conv = partial(Conv, dtype=self.dtype)
        block = EDSRBlock(self.n_feats, self.res_scale, dtype=self.dtype, name="blocks")

        head = conv(self.n_feats, name="head")(subtract_mean(lr))
        body = chain(block, head, self.n_resblocks)
        features = conv(self.n_feats, name="body")(body) + head
        features = Upsampler(self.scale, conv, name="upsampler")(features)
        sr = conv(3, name="tail")(features)
        return add_mean(widen(sr))
