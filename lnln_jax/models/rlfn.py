"""RLFN: Residual Local Feature Network for Efficient Super-Resolution (Kong et al., CVPRW 2022)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Conv, Layer, chain, leaky_relu, pixel_shuffle
from lnln_jax.models.spatial_attention import ESA, ESA_LEAST_SIDE


class RLFNBlock(nn.Module):
    """Three convolutions with leaky ReLUs, plus the input; 1x1; spatial attention (RLFB)."""

    features: int
    mid_features: int
    conv: Layer
    attend: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W features` to the same shape; there is no skip around the whole."""
        y = leaky_relu(self.conv(self.mid_features, name="conv_1")(x))
        y = leaky_relu(self.conv(self.mid_features, name="conv_2")(y))
        y = leaky_relu(self.conv(self.features, name="conv_3")(y))
        y = self.conv(self.features, 1, name="fuse")(x + y)
        return self.attend(name="attention")(y)


class RLFN(nn.Module):
    """Six residual local feature blocks: 526,856 parameters at x2.

    `create_model("rlfn_s")` is 48 wide; `create_model("rlfn_ntire", 4)`, the winner of the NTIRE
    2022 challenge in runtime, has four blocks.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: residual local feature blocks.
      n_feats: width of the network.
      n_mid_feats: width between the convolutions of a block.
      n_attention_feats: width inside the spatial attention.
      dtype: of the computation; parameters are float32.
    """

    least_side: ClassVar[int] = ESA_LEAST_SIDE
    narrow: ClassVar[dict[str, int]] = {"n_mid_feats": 2, "n_attention_feats": 1}

    scale: int = 2
    n_resblocks: int = 6
    n_feats: int = 52
    n_mid_feats: int = 52
    n_attention_feats: int = 16
    dtype: DTypeLike = jnp.float32

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
        attend = partial(ESA, self.n_attention_feats, dtype=self.dtype)
        block = RLFNBlock(self.n_feats, self.n_mid_feats, conv, attend, name="blocks")

        head = conv(self.n_feats, name="head")(lr)
        body = chain(block, head, self.n_resblocks)
        features = conv(self.n_feats, name="body")(body) + head
        sr = conv(3 * self.scale**2, name="upsampler")(features)
        return pixel_shuffle(widen(sr), self.scale)
