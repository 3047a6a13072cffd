"""MSRN (Li et al., ECCV 2018), with the keys of the published state dicts."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import MeanShift, Upsampler, conv


class MultiScaleBlock(nn.Module):
    """Twice a 3x3 and a 5x5 convolution side by side, a 1x1 convolution, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_3_1 = conv(channels, channels, 3)
        self.conv_3_2 = conv(2 * channels, 2 * channels, 3)
        self.conv_5_1 = conv(channels, channels, 5)
        self.conv_5_2 = conv(2 * channels, 2 * channels, 5)
        self.confusion = conv(4 * channels, channels, 1)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        y = torch.cat([self.relu(self.conv_3_1(x)), self.relu(self.conv_5_1(x))], dim=1)
        y = torch.cat([self.relu(self.conv_3_2(y)), self.relu(self.conv_5_2(y))], dim=1)
        return self.confusion(y) + x


class MSRN(nn.Module):
    """`lnln_jax.models.MSRN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(self, scale: int = 2, n_resblocks: int = 8, n_feats: int = 64) -> None:
        super().__init__()
        self.sub_mean = MeanShift(-1, frozen=False)
        self.add_mean = MeanShift(1, frozen=False)
        self.head = nn.Sequential(conv(3, n_feats))
        self.body = nn.ModuleList(MultiScaleBlock(n_feats) for _ in range(n_resblocks))
        self.tail = nn.Sequential(
            conv((n_resblocks + 1) * n_feats, n_feats, 1),
            conv(n_feats, n_feats),
            Upsampler(conv, scale, n_feats),
            conv(n_feats, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        x = head = self.head(self.sub_mean(x))
        outputs = []
        for block in self.body:
            x = block(x)
            outputs.append(x)
        return self.add_mean(self.tail(torch.cat([*outputs, head], dim=1)))
