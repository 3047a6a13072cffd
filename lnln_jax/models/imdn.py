"""IMDN: Lightweight Image SR with Information Multi-distillation Network (Hui et al., 2019).

ACM Multimedia 2019.
"""

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
    chain_outputs,
    channel_means,
    check_reduction,
    leaky_relu,
    pixel_shuffle,
)


def contrast(x: jax.Array) -> jax.Array:
    """Returns the standard deviation plus the mean of each channel: `B C` of `B H W C`.

    There is no epsilon, so where a channel is constant the derivative of the deviation is infinite,
    and PyTorch's gradient NaN. Here it is zero.
    """
    x = widen(x)
    mean = channel_means(x)
    variance = jnp.square(x - mean[:, None, None]).mean((1, 2))
    varies = variance > 0
    return jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), 0) + mean


class IMDNBlock(nn.Module):
    """A quarter of the channels is kept at each of three steps, the rest goes on (IMDB)."""

    features: int
    conv: Layer
    attend: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W features` to the same shape."""
        rest, kept = x, []
        for i in (1, 2, 3):
            y = leaky_relu(self.conv(self.features, name=f"conv_{i}")(rest))
            part, rest = jnp.split(y, [self.features // 4], axis=-1)
            kept.append(part)
        kept.append(self.conv(self.features // 4, name="conv_4")(rest))
        y = self.attend(name="attention")(jnp.concatenate(kept, axis=-1))
        return x + self.conv(self.features, 1, name="fuse")(y)


class IMDN(nn.Module):
    """Six information multi-distillation blocks: 694,404 parameters at x2.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: information multi-distillation blocks.
      n_feats: width of the network, a multiple of 4.
      reduction: squeeze factor of the contrast-aware channel attention.
      dtype: of the computation; parameters are float32.
    """

    narrow: ClassVar[dict[str, int]] = {"n_feats": 4}

    scale: int = 2
    n_resblocks: int = 6
    n_feats: int = 64
    reduction: int = 16
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for a width that cannot be split, or leaves the attention nothing."""
        if self.n_feats % 4:
            raise ValueError(f"n_feats is {self.n_feats}; IMDN's must be a multiple of 4")
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
        attend = partial(ChannelAttention, self.reduction, contrast, dtype=self.dtype)
        block = IMDNBlock(self.n_feats, conv, attend, name="blocks")

        head = conv(self.n_feats, name="head")(lr / 255)
        outputs = chain_outputs(block, head, self.n_resblocks)
        fused = leaky_relu(conv(self.n_feats, 1, name="fusion")(outputs))
        features = conv(self.n_feats, name="body")(fused) + head
        sr = conv(3 * self.scale**2, name="upsampler")(features)
        return 255 * pixel_shuffle(widen(sr), self.scale)
