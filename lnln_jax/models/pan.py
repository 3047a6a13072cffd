"""PAN: Efficient Image Super-Resolution Using Pixel Attention (Zhao et al., ECCVW 2020)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.interpolation import bilinear_resize
from lnln_jax.models.layers import UPSAMPLING, Conv, Layer, chain

leaky_relu = partial(nn.leaky_relu, negative_slope=0.2)


class PixelAttention(nn.Module):
    """Each number of a feature map times a factor of its own, from its pixel's channels."""

    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Multiplies `B H W C` by factors between 0 and 1."""
        return x * nn.sigmoid(self.conv(x.shape[-1], 1, name="conv")(x))


class PAConv(nn.Module):
    """3x3, each number times a factor as in `PixelAttention`, from what came in; 3x3."""

    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        features = x.shape[-1]
        factors = nn.sigmoid(self.conv(features, 1, name="attention")(x))
        y = factors * self.conv(features, use_bias=False, name="conv_1")(x)
        return self.conv(features, use_bias=False, name="conv_2")(y)


class SCPABlock(nn.Module):
    """Self-calibrated block: half of the channels with pixel attention, half without (figure 3)."""

    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        conv = partial(self.conv, use_bias=False)
        half = x.shape[-1] // 2
        a = leaky_relu(conv(half, 1, name="split_a")(x))
        a = leaky_relu(conv(half, name="conv_a")(a))
        b = leaky_relu(conv(half, 1, name="split_b")(x))
        b = leaky_relu(PAConv(self.conv, name="conv_b")(b))
        return x + conv(x.shape[-1], 1, name="fuse")(jnp.concatenate([a, b], axis=-1))


class UpsamplingBlock(nn.Module):
    """Nearest neighbours, 3x3, pixel attention, 3x3 (the paper's U-PA)."""

    features: int
    factor: int
    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Upsamples `B H W C` to `B H*factor W*factor features`."""
        x = x.repeat(self.factor, axis=1).repeat(self.factor, axis=2)
        x = self.conv(self.features, name="conv_1")(x)
        x = leaky_relu(PixelAttention(self.conv, name="attention")(x))
        return leaky_relu(self.conv(self.features, name="conv_2")(x))


class PANUpsampler(nn.Module):
    """A block for x2 and x3, two for x4."""

    features: int
    scale: int
    conv: Layer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Upsamples `B H W C` to `B H*scale W*scale features`."""
        for i, factor in enumerate(UPSAMPLING[self.scale], start=1):
            x = UpsamplingBlock(self.features, factor, self.conv, name=f"block_{i}")(x)
        return x


class PAN(nn.Module):
    """Blocks of pixel attention, which corrects bilinear interpolation: 0.26 M parameters at x2.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: self-calibrated blocks.
      n_feats: width of the network up to the upsampler.
      n_upsampler_feats: width of the upsampler.
      dtype: of the computation; parameters are float32.
    """

    narrow: ClassVar[dict[str, int]] = {"n_upsampler_feats": 1}

    scale: int = 2
    n_resblocks: int = 16
    n_feats: int = 40
    n_upsampler_feats: int = 24
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for a width that has no halves."""
        if self.n_feats % 2:
            raise ValueError(f"n_feats is {self.n_feats}; its halves are a block's branches: even")

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
        lr = lr / 255.0
        head = conv(self.n_feats, name="head")(lr)
        body = chain(SCPABlock(conv, name="blocks"), head, self.n_resblocks)
        features = conv(self.n_feats, name="body")(body) + head
        upsampler = PANUpsampler(self.n_upsampler_feats, self.scale, conv, name="upsampler")
        sr = widen(conv(3, name="tail")(upsampler(features)))
        _, height, width, _ = sr.shape
        return 255.0 * (sr + bilinear_resize(lr, height, width))
