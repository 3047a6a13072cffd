"""RDN (Zhang et al., CVPR 2018), with the keys of the EDSR authors' port."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import conv


class DenseLayer(nn.Module):
    """Convolution and ReLU, put behind the input."""

    def __init__(self, channels: int, growth_rate: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(channels, growth_rate), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return torch.cat([x, self.conv(x)], dim=1)


class DenseBlock(nn.Module):
    """Dense layers, a 1x1 convolution of all that there is then, plus the input."""

    def __init__(self, channels: int, growth_rate: int, n_layers: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(DenseLayer(channels + i * growth_rate, growth_rate) for i in range(n_layers))
        )
        self.LFF = conv(channels + n_layers * growth_rate, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.LFF(self.convs(x)) + x


class RDN(nn.Module):
    """`lnln_jax.models.RDN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resblocks: int = 16,
        n_layers: int = 8,
        growth_rate: int = 64,
        n_feats: int = 64,
    ) -> None:
        super().__init__()
        self.SFENet1 = conv(3, n_feats)
        self.SFENet2 = conv(n_feats, n_feats)
        self.RDBs = nn.ModuleList(
            DenseBlock(n_feats, growth_rate, n_layers) for _ in range(n_resblocks)
        )
        self.GFF = nn.Sequential(conv(n_resblocks * n_feats, n_feats, 1), conv(n_feats, n_feats))
        factor = 3 if scale == 3 else 2
        widened = growth_rate * factor**2
        again = [conv(growth_rate, widened), nn.PixelShuffle(factor)] if scale == 4 else []
        self.UPNet = nn.Sequential(
            conv(n_feats, widened), nn.PixelShuffle(factor), *again, conv(growth_rate, 3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        first = self.SFENet1(x)
        x, outputs = self.SFENet2(first), []
        for block in self.RDBs:
            x = block(x)
            outputs.append(x)
        return self.UPNet(self.GFF(torch.cat(outputs, dim=1)) + first)
