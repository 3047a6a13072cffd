"""RFDN: Residual Feature Distillation Network for Lightweight Image SR (Liu et al., ECCVW 2020)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Conv, Layer, chain_outputs, leaky_relu, pixel_shuffle
from lnln_jax.models.spatial_attention import ESA, ESA_LEAST_SIDE


class RFDNBlock(nn.Module):
    """Features are distilled on the way through shallow residual blocks, and fused (RFDB)."""

    features: int
    conv: Layer
    attend: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W features` to the same shape; there is no skip around the whole."""
        distilled = []
        for i in (1, 2, 3):
            distilled.append(leaky_relu(self.conv(self.features // 2, 1, name=f"distill_{i}")(x)))
            x = leaky_relu(self.conv(self.features, name=f"refine_{i}")(x) + x)
        distilled.append(leaky_relu(self.conv(self.features // 2, name="distill_4")(x)))
        y = self.conv(self.features, 1, name="fuse")(jnp.concatenate(distilled, axis=-1))
        return self.attend(name="attention")(y)


class RFDN(nn.Module):
    """The winner of the AIM 2020 challenge on efficient super-resolution: 433,448 parameters at x4.

    Its weights are published for x4 alone. The networks of the paper's tables are of other sizes.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: residual feature distillation blocks.
      n_feats: width of the network; half of it is distilled, a quarter is inside the attention.
      dtype: of the computation; parameters are float32.
    """

    least_side: ClassVar[int] = ESA_LEAST_SIDE
    narrow: ClassVar[dict[str, int]] = {"n_feats": 4}

    scale: int = 2
    n_resblocks: int = 4
    n_feats: int = 50
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for a width of which nothing is left in the attention."""
        if self.n_feats < 4:
            raise ValueError(f"n_feats is {self.n_feats}; RFDN must be at least 4 wide")

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch; `train` makes no difference.

        Args:
          lr: `B H W 3`, float32, RGB in 0..255, at least 15x15 pixels.
          train: accepted for the interface that all networks share.

        Returns:
          `B H*scale W*scale 3`, float32, RGB around 0..255, neither clipped nor rounded.

        Raises:
          ValueError: a smaller image.
        """
        conv = partial(Conv, dtype=self.dtype)
        attend = partial(ESA, self.n_feats // 4, n_coarse=3, dtype=self.dtype)
        block = RFDNBlock(self.n_feats, conv, attend, name="blocks")

        head = conv(self.n_feats, name="head")(lr)
        outputs = chain_outputs(block, head, self.n_resblocks)
        fused = leaky_relu(conv(self.n_feats, 1, name="fusion")(outputs))
        features = conv(self.n_feats, name="body")(fused) + head
        sr = conv(3 * self.scale**2, name="upsampler")(features)
        return pixel_shuffle(widen(sr), self.scale)
