"""RLFN (Kong et al., CVPRW 2022), with the keys of the published state dicts."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import conv
from lnln_jax.torch_reference.spatial_attention import ESA


class RLFNBlock(nn.Module):
    """Three convolutions, each with a leaky ReLU, plus the input; 1x1; ESA."""

    def __init__(self, channels: int, mid_channels: int, attention_channels: int) -> None:
        super().__init__()
        self.c1_r = conv(channels, mid_channels)
        self.c2_r = conv(mid_channels, mid_channels)
        self.c3_r = conv(mid_channels, channels)
        self.c5 = conv(channels, channels, 1)
        self.esa = ESA(channels, attention_channels)
        self.activation = nn.LeakyReLU(0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        out = x
        for layer in (self.c1_r, self.c2_r, self.c3_r):
            out = self.activation(layer(out))
        return self.esa(self.c5(out + x))


class RLFN(nn.Module):
    """`lnln_jax.models.RLFN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resblocks: int = 6,
        n_feats: int = 52,
        n_mid_feats: int = 52,
        n_attention_feats: int = 16,
    ) -> None:
        super().__init__()
        self.conv_1 = conv(3, n_feats)
        self.blocks = [f"block_{i}" for i in range(1, n_resblocks + 1)]
        for name in self.blocks:
            self.add_module(name, RLFNBlock(n_feats, n_mid_feats, n_attention_feats))
        self.conv_2 = conv(n_feats, n_feats)
        self.upsampler = nn.Sequential(conv(n_feats, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        head = out = self.conv_1(x)
        for name in self.blocks:
            out = self.get_submodule(name)(out)
        return self.upsampler(self.conv_2(out) + head)
