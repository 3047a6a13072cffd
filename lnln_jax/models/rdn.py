"""RDN: Residual Dense Network for Image Super-Resolution (Zhang et al., CVPR 2018)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import UPSAMPLING, Conv, Layer, chain_outputs, pixel_shuffle


class ResidualDenseBlock(nn.Module):
    """Layers that see the input and all layers before them; fused, plus the input (RDB)."""

    n_layers: int
    growth_rate: int
    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        features = x
        for i in range(self.n_layers):
            new = nn.relu(self.conv(self.growth_rate, name=f"conv_{i + 1}")(features))
            features = jnp.concatenate([features, new], axis=-1)
        return x + self.conv(x.shape[-1], kernel_size=1, name="fusion")(features)


class UPNet(nn.Module):
    """Convolution and pixel shuffle, twice for x4, and the last convolution."""

    scale: int
    features: int
    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Upsamples `B H W C` to `B H*scale W*scale 3`."""
        factors = UPSAMPLING[self.scale]
        for i, factor in enumerate(factors, start=1):
            x = self.conv(self.features * factor**2, name=f"conv_{i}")(x)
            x = pixel_shuffle(x, factor)
        return self.conv(3, name=f"conv_{len(factors) + 1}")(x)


class RDN(nn.Module):
    """Dense blocks whose outputs are all fused: 22.12 M parameters at x2.

    `create_model("rdn_a")` is the smaller configuration A of the EDSR authors' port. The weights
    are the port's: it has no mean shift, which the original has.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: residual dense blocks (the paper's D).
      n_layers: convolutions in a block, without the fusion (C).
      growth_rate: features that each of them adds (G).
      n_feats: features between the blocks (G0).
      dtype: of the computation; parameters are float32.
    """

    narrow: ClassVar[dict[str, int]] = {"growth_rate": 1}

    scale: int = 2
    n_resblocks: int = 16
    n_layers: int = 8
    growth_rate: int = 64
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
        block = ResidualDenseBlock(self.n_layers, self.growth_rate, conv, name="blocks")

        shallow = conv(self.n_feats, name="shallow_1")(lr)
        features = conv(self.n_feats, name="shallow_2")(shallow)
        features = chain_outputs(block, features, self.n_resblocks)
        features = conv(self.n_feats, kernel_size=1, name="fusion_1")(features)
        features = conv(self.n_feats, name="fusion_2")(features) + shallow
        return widen(UPNet(self.scale, self.growth_rate, conv, name="upsampler")(features))
