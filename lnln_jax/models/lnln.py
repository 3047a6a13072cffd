"""LNLN: Lightweight Non-Local Network for Image Super-Resolution (Wang et al., ICASSP 2021)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import (
    Conv,
    DepthwiseSeparableConv,
    RegionNonLocal,
    Upsampler,
    add_mean,
    subtract_mean,
)
from lnln_jax.models.residual_groups import DenseResidualGroups


class LNLN(nn.Module):
    """The paper's network: 2.04 M parameters at x2 with the default hyper-parameters.

    Attributes:
      scale: 2, 3 or 4.
      n_resgroups: lightweight residual groups, densely connected.
      n_resblocks: residual channel-attention blocks in a group.
      n_feats: width of the network.
      reduction: squeeze factor of the channel attention.
      unroll: blocks that the compiler lays out side by side; changes no result.
      attention: implementation of the non-local module: "auto", "dense", "chunked" or "cudnn"
        (`lnln_jax.kernels.attention`); changes no result beyond rounding.
      normalize: False for a network whose batch normalisation `models.folding` has folded away.
      axis_name: of the devices that share a batch and its statistics (`layers.BatchNorm`).
      dtype: of the computation; parameters are float32.
    """

    scale: int = 2
    n_resgroups: int = 5
    n_resblocks: int = 36
    n_feats: int = 64
    reduction: int = 16
    unroll: int = 1
    attention: str = "auto"
    normalize: bool = True
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch.

        Args:
          lr: `B H W 3`, float32, RGB in 0..255, H and W at least 2.
          train: normalise with the batch's statistics and update the running ones (then
            `batch_stats` must be mutable).

        Returns:
          `B H*scale W*scale 3`, float32, RGB around 0..255, neither clipped nor rounded.
        """
        non_local = RegionNonLocal(
            self.n_feats // 2, attention=self.attention, dtype=self.dtype, name="non_local"
        )
        head = DepthwiseSeparableConv(self.n_feats, dtype=self.dtype, name="head")(
            subtract_mean(lr)
        )
        body = DenseResidualGroups(
            self.n_resgroups,
            self.n_resblocks,
            self.n_feats,
            self.reduction,
            separable=True,
            normalize=self.normalize,
            unroll=self.unroll,
            axis_name=self.axis_name,
            dtype=self.dtype,
            name="body",
        )(non_local(head), train=train)
        features = non_local(body) + head
        features = Upsampler(self.scale, separable=True, dtype=self.dtype, name="upsampler")(
            features
        )
        sr = Conv(3, dtype=self.dtype, name="tail")(features)
        return add_mean(widen(sr))
