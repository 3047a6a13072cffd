"""CARN: Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network.

Ahn, Kang and Sohn, ECCV 2018. A cascade of three units is used twice: the network is one of three
blocks, and a block is one of three residual units.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.layers import Conv, Layer, Upsampler, add_mean, subtract_mean


def cascade(units: Sequence[nn.Module], x: jax.Array, conv: Layer) -> jax.Array:
    """Applies units, each to the 1x1 fusion of the input and all outputs before it (figure 2)."""
    seen, y = x, x
    for i, unit in enumerate(units, start=1):
        seen = jnp.concatenate([seen, unit(y)], axis=-1)
        y = nn.relu(conv(x.shape[-1], 1, name=f"fuse_{i}")(seen))
    return y


class ResidualUnit(nn.Module):
    """conv - ReLU - conv, plus the input, and ReLU."""

    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        y = nn.relu(self.conv(x.shape[-1], name="conv_1")(x))
        y = self.conv(x.shape[-1], name="conv_2")(y)
        return nn.relu(x + y)


class CascadingBlock(nn.Module):
    """A cascade of three units; a `recursive` one uses one unit three times."""

    conv: Layer
    unit: Layer
    recursive: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        if self.recursive:
            units = [self.unit(name="unit")] * 3
        else:
            units = [self.unit(name=f"unit_{i}") for i in (1, 2, 3)]
        return cascade(units, x, self.conv)


class ConvReLU(Conv):
    """Convolution and ReLU."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves `B H W I` to `B H W features`, none of them below 0."""
        return nn.relu(super().__call__(x))


class Upsamplers(nn.Module):
    """Upsamplers for x2, x3 and x4, all with parameters, of which `scale` chooses one."""

    scale: int
    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Upsamples `B H W C` to `B H*scale W*scale C`."""
        scales = (2, 3, 4) if self.is_initializing() else (self.scale,)
        return {s: Upsampler(s, self.conv, name=f"x{s}")(x) for s in scales}[self.scale]


class CARN(nn.Module):
    """Cascades of residual units: 0.96 M parameters at x2, 1.59 M for x2, x3 and x4 in one.

    `create_model("carn_multi")` has three upsamplers, as the published network.

    Attributes:
      scale: 2, 3 or 4.
      n_feats: width of the network.
      n_scales: 1, or 3 for upsamplers of all three scales, of which `scale` chooses one.
      dtype: of the computation; parameters are float32.
    """

    scale: int = 2
    n_feats: int = 64
    n_scales: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for a number of scales that no published network has."""
        if self.n_scales not in (1, 3):
            raise ValueError(f"n_scales is {self.n_scales}; it must be 1 or 3 (x2, x3 and x4)")

    @nn.nowrap
    def _layers(self, conv: Layer) -> tuple[Layer, Layer]:
        """Returns a cascading block, and the convolution of the upsampler."""
        unit = partial(ResidualUnit, conv)
        return partial(CascadingBlock, conv, unit), partial(ConvReLU, dtype=self.dtype)

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
        block, conv_relu = self._layers(conv)
        upsampler = Upsampler if self.n_scales == 1 else Upsamplers

        head = conv(self.n_feats, name="head")(subtract_mean(lr) / 255.0)
        features = cascade([block(name=f"block_{i}") for i in (1, 2, 3)], head, conv)
        features = upsampler(self.scale, conv_relu, name="upsampler")(features)
        sr = conv(3, name="tail")(features)
        return add_mean(255.0 * widen(sr))
