"""VDSR: Accurate Image Super-Resolution Using Very Deep Networks (Kim et al., CVPR 2016)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.images.resize import bicubic_upsample
from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Conv, chain


class VDSRLayer(nn.Module):
    """3x3 convolution without bias, and ReLU."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to `B H W features`."""
        he = nn.initializers.he_normal()
        conv = Conv(self.features, use_bias=False, init_with=he, dtype=self.dtype, name="conv")
        return nn.relu(conv(x))


class VDSR(nn.Module):
    """Corrects the bicubic interpolation of an image: 664,704 parameters, for any scale.

    Attributes:
      scale: of the bicubic interpolation; no parameter depends on it.
      n_layers: convolutions, the first and the last included.
      n_feats: width of the network.
      n_colors: 1 for luma, as published, or 3 for RGB.
      dtype: of the computation; parameters are float32.
    """

    scale: int = 2
    n_layers: int = 20
    n_feats: int = 64
    n_colors: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for hyper-parameters that do not fit each other."""
        if self.n_layers < 3:
            raise ValueError(f"n_layers is {self.n_layers}; VDSR has at least 3")
        if self.n_colors not in (1, 3):
            raise ValueError(f"n_colors is {self.n_colors}; it must be 1 (luma) or 3 (RGB)")

    def setup(self) -> None:
        """Names the layers, which `refine` and `__call__` share."""
        he = nn.initializers.he_normal()
        self.first = VDSRLayer(self.n_feats, dtype=self.dtype)
        self.layers = VDSRLayer(self.n_feats, dtype=self.dtype)
        self.last = Conv(self.n_colors, use_bias=False, init_with=he, dtype=self.dtype)

    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch; `train` makes no difference.

        Args:
          lr: `B H W n_colors`, float32 in 0..255: luma in studio range (`images.arrays`), or RGB.
          train: accepted for the interface that all networks share.

        Returns:
          `B H*scale W*scale n_colors`, float32, around 0..255, neither clipped nor rounded.
        """
        return 255.0 * self.refine(bicubic_upsample(lr / 255.0, self.scale))

    def refine(self, x: jax.Array) -> jax.Array:
        """Corrects an interpolated `B H W n_colors` in 0..1: the network itself."""
        features = chain(self.layers, self.first(x), self.n_layers - 2)
        return x + widen(self.last(features))
