"""RCAN: Very Deep Residual Channel Attention Networks (Zhang et al., ECCV 2018)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import (
    ChannelAttention,
    Conv,
    Layer,
    Upsampler,
    add_mean,
    chain,
    check_reduction,
    subtract_mean,
)


class RCANBlock(nn.Module):
    """conv - ReLU - conv - channel attention, plus the input (the paper's RCAB)."""

    features: int
    conv: Layer
    attend: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W features` to the same shape."""
        y = self.conv(self.features, name="conv_1")(x)
        y = nn.relu(y)
        y = self.conv(self.features, name="conv_2")(y)
        y = self.attend(name="attention")(y)
        return x + y


class RCANGroup(nn.Module):
    """Residual blocks and a convolution, plus the input (the paper's RG)."""

    block: Layer
    conv3x3: Layer
    n_resblocks: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        y = chain(self.block(name="blocks"), x, self.n_resblocks)
        return x + self.conv3x3(x.shape[-1], name="conv")(y)


class RCAN(nn.Module):
    """Groups of residual channel-attention blocks: 15.44 M parameters at x2.

    The groups are alike, so their parameters are stacked as those of the blocks are.

    Attributes:
      scale: 2, 3, 4 or 8.
      n_resgroups: residual groups.
      n_resblocks: residual channel-attention blocks in a group.
      n_feats: width of the network.
      reduction: squeeze factor of the channel attention.
      dtype: of the computation; parameters are float32.
    """

    scales: ClassVar[tuple[int, ...]] = (2, 3, 4, 8)

    scale: int = 2
    n_resgroups: int = 10
    n_resblocks: int = 20
    n_feats: int = 64
    reduction: int = 16
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for hyper-parameters that do not fit each other."""
        check_reduction(self.n_feats, self.reduction)

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
        attend = partial(ChannelAttention, self.reduction, dtype=self.dtype)
        block = partial(RCANBlock, self.n_feats, conv, attend)
        group = RCANGroup(block, conv, self.n_resblocks, name="groups")

        head = conv(self.n_feats, name="head")(subtract_mean(lr))
        body = chain(group, head, self.n_resgroups)
        features = conv(self.n_feats, name="body")(body) + head
        features = Upsampler(self.scale, conv, name="upsampler")(features)
        sr = conv(3, name="tail")(features)
        return add_mean(widen(sr))
