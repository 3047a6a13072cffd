"""DRCA: DenseNet with Deep Residual Channel-Attention Blocks (Jang and Park, CVPRW 2019)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import (
    BatchNorm,
    ChannelAttention,
    Conv,
    Upsampler,
    add_mean,
    check_reduction,
    subtract_mean,
)
from lnln_jax.models.residual_groups import DenseResidualGroups, ResidualBlock


class DRCA(nn.Module):
    """The network that LNLN compresses: 14.05 M parameters at x2.

    Attributes:
      scale: 2, 3, 4 or 8.
      n_resgroups: residual groups, densely connected.
      n_resblocks: residual channel-attention blocks in a group.
      n_feats: width of the network.
      reduction: squeeze factor of the channel attention.
      axis_name: of the devices that share a batch and its statistics (`layers.BatchNorm`).
      dtype: of the computation; parameters are float32.
    """

    scales: ClassVar[tuple[int, ...]] = (2, 3, 4, 8)

    scale: int = 2
    n_resgroups: int = 5
    n_resblocks: int = 36
    n_feats: int = 64
    reduction: int = 16
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for hyper-parameters that do not fit each other."""
        check_reduction(self.n_feats, self.reduction)

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch.

        Args:
          lr: `B H W 3`, float32, RGB in 0..255.
          train: normalise with the batch's statistics and update the running ones (then
            `batch_stats` must be mutable).

        Returns:
          `B H*scale W*scale 3`, float32, RGB around 0..255, neither clipped nor rounded.
        """
        conv = partial(Conv, dtype=self.dtype)
        conv1x1 = partial(Conv, kernel_size=1, dtype=self.dtype)
        block = partial(
            ResidualBlock,
            self.n_feats,
            conv=conv,
            norm=partial(BatchNorm, axis_name=self.axis_name),
            attend=partial(ChannelAttention, self.reduction, dtype=self.dtype),
            project=conv1x1,
        )
        groups = DenseResidualGroups(
            self.n_feats, block, conv1x1, self.n_resgroups, self.n_resblocks, name="body"
        )

        head = conv(self.n_feats, name="head")(subtract_mean(lr))
        features = groups(head, train=train) + head
        features = Upsampler(self.scale, conv, name="upsampler")(features)
        sr = conv(3, name="tail")(features)
        return add_mean(widen(sr))
