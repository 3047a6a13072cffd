"""IMDN (Hui et al., ACM Multimedia 2019) and RFDN (Liu et al., ECCVW 2020), with published keys.

RFDN is that of the AIM 2020 challenge.
"""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import conv
from lnln_jax.torch_reference.spatial_attention import ESA


class ContrastAttention(nn.Module):
    """Scales channels by a gate of their standard deviations plus their means (IMDN's CCA)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            conv(channels, channels // reduction, 1),
            nn.ReLU(),
            conv(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        mean = x.mean((2, 3), keepdim=True)
        deviation = (x - mean).square().mean((2, 3), keepdim=True).sqrt()
        return x * self.conv_du(deviation + mean)


class IMDNBlock(nn.Module):
    """Three times a quarter of the channels is kept and the rest goes on; plus the input."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.sizes = [channels // 4, channels - channels // 4]
        self.c1 = conv(channels, channels)
        self.c2 = conv(self.sizes[1], channels)
        self.c3 = conv(self.sizes[1], channels)
        self.c4 = conv(self.sizes[1], self.sizes[0])
        self.c5 = conv(channels, channels, 1)
        self.cca = ContrastAttention(4 * self.sizes[0], reduction)
        self.activation = nn.LeakyReLU(0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        kept, rest = [], x
        for layer in (self.c1, self.c2, self.c3):
            part, rest = self.activation(layer(rest)).split(self.sizes, dim=1)
            kept.append(part)
        kept.append(self.c4(rest))
        return x + self.c5(self.cca(torch.cat(kept, dim=1)))


class RFDNBlock(nn.Module):
    """Three pairs of a 1x1 (kept) and a residual 3x3 (goes on), a last 3x3, 1x1, ESA."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for i in (1, 2, 3):
            self.add_module(f"c{i}_d", conv(channels, channels // 2, 1))
            self.add_module(f"c{i}_r", conv(channels, channels))
        self.c4 = conv(channels, channels // 2)
        self.c5 = conv(channels // 2 * 4, channels, 1)
        self.esa = ESA(channels, channels // 4, deep=True)
        self.activation = nn.LeakyReLU(0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        kept = []
        for i in (1, 2, 3):
            kept.append(self.activation(self.get_submodule(f"c{i}_d")(x)))
            x = self.activation(self.get_submodule(f"c{i}_r")(x) + x)
        kept.append(self.activation(self.c4(x)))
        return self.esa(self.c5(torch.cat(kept, dim=1)))


class Distillation(nn.Module):
    """What both have: the outputs of all blocks are fused, the head is added, and a shuffle."""

    def __init__(self, scale: int, channels: int, blocks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.fea_conv = conv(3, channels)
        for name, block in blocks.items():
            self.add_module(name, block)
        self.c = nn.Sequential(conv(len(blocks) * channels, channels, 1), nn.LeakyReLU(0.05))
        self.LR_conv = conv(channels, channels)
        self.upsampler = nn.Sequential(conv(channels, 3 * scale**2), nn.PixelShuffle(scale))
        self.names = list(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        outputs = [head := self.fea_conv(x)]
        for name in self.names:
            outputs.append(self.get_submodule(name)(outputs[-1]))
        fused = self.c(torch.cat(outputs[1:], dim=1))
        return self.upsampler(self.LR_conv(fused) + head)


class IMDN(Distillation):
    """`lnln_jax.models.IMDN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self, scale: int = 2, n_resblocks: int = 6, n_feats: int = 64, reduction: int = 16
    ) -> None:
        names = [f"IMDB{i}" for i in range(1, n_resblocks + 1)]
        super().__init__(scale, n_feats, {name: IMDNBlock(n_feats, reduction) for name in names})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module, whose inner range is 0..1."""
        return 255 * super().forward(x / 255)


class RFDN(Distillation):
    """`lnln_jax.models.RFDN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(self, scale: int = 2, n_resblocks: int = 4, n_feats: int = 50) -> None:
        names = [f"B{i}" for i in range(1, n_resblocks + 1)]
        super().__init__(scale, n_feats, {name: RFDNBlock(n_feats) for name in names})
