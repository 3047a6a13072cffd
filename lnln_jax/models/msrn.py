"""MSRN: Multi-scale Residual Network for Image Super-Resolution (Li et al., ECCV 2018)."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Conv, Layer, MeanShift, Upsampler, chain_outputs


class MultiScaleBlock(nn.Module):
    """Twice a 3x3 and a 5x5 convolution side by side, fused, plus the input (MSRB)."""

    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        features = x
        for i in (1, 2):
            both = [
                self.conv(features.shape[-1], kernel_size=size, name=f"conv_{size}_{i}")(features)
                for size in (3, 5)
            ]
            features = nn.relu(jnp.concatenate(both, axis=-1))
        return x + self.conv(x.shape[-1], kernel_size=1, name="fusion")(features)


class MSRN(nn.Module):
    """Multi-scale blocks whose outputs are all fused with the head's: 5.93 M parameters at x2.

    Its mean shift are layers that learn, as in the authors' code.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: multi-scale residual blocks.
      n_feats: width of the network.
      dtype: of the computation; parameters are float32.
    """

    scale: int = 2
    n_resblocks: int = 8
    n_feats: int = 64
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

        head = conv(self.n_feats, name="head")(MeanShift(-1, name="sub_mean")(lr))
        outputs = chain_outputs(MultiScaleBlock(conv, name="blocks"), head, self.n_resblocks)
        features = jnp.concatenate([outputs, head], axis=-1)  # hierarchical feature fusion
        features = conv(self.n_feats, kernel_size=1, name="fusion")(features)
        features = conv(self.n_feats, name="conv")(features)
        features = Upsampler(self.scale, conv, name="upsampler")(features)
        sr = conv(3, name="tail")(features)
        return MeanShift(1, name="add_mean")(widen(sr))
