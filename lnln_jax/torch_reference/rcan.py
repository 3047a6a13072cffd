"""RCAN (Zhang et al., ECCV 2018), with the keys of the published state dicts."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import ChannelAttention, MeanShift, Upsampler, conv


class RCANBlock(nn.Module):
    """conv - ReLU - conv - channel attention, plus the input."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels),
            nn.ReLU(),
            conv(channels, channels),
            ChannelAttention(channels, reduction),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.body(x)


class RCANGroup(nn.Module):
    """Blocks and a convolution, plus the input."""

    def __init__(self, channels: int, n_resblocks: int, reduction: int) -> None:
        super().__init__()
        blocks = [RCANBlock(channels, reduction) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.body(x)


class RCAN(nn.Module):
    """`lnln_jax.models.RCAN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resgroups: int = 10,
        n_resblocks: int = 20,
        n_feats: int = 64,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        groups = [RCANGroup(n_feats, n_resblocks, reduction) for _ in range(n_resgroups)]
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(1)
        self.head = nn.Sequential(conv(3, n_feats))
        self.body = nn.Sequential(*groups, conv(n_feats, n_feats))
        self.tail = nn.Sequential(Upsampler(conv, scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        head = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(self.body(head) + head))
