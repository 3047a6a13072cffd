"""EDSR (Lim et al., CVPRW 2017), with the keys of the published state dicts."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import MeanShift, Upsampler, conv


class EDSRBlock(nn.Module):
    """conv - ReLU - conv, scaled, plus the input."""

    def __init__(self, channels: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), nn.ReLU(), conv(channels, channels))
        self.res_scale = res_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.res_scale * self.body(x)


class EDSR(nn.Module):
    """`lnln_jax.models.EDSR`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self, scale: int = 2, n_resblocks: int = 32, n_feats: int = 256, res_scale: float = 0.1
    ) -> None:
        super().__init__()
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(1)
        self.head = nn.Sequential(conv(3, n_feats))
        self.body = nn.Sequential(
            *(EDSRBlock(n_feats, res_scale) for _ in range(n_resblocks)), conv(n_feats, n_feats)
        )
        self.tail = nn.Sequential(Upsampler(conv, scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        head = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(self.body(head) + head))
