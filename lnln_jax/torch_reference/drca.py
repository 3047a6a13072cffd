"""DRCA (Jang and Park, CVPRW 2019), with the keys of the published state dicts."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import DenseGroups, MeanShift, Upsampler, conv


class DRCA(nn.Module):
    """`lnln_jax.models.DRCA`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resgroups: int = 5,
        n_resblocks: int = 36,
        n_feats: int = 64,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(1)
        self.head = nn.Sequential(conv(3, n_feats))
        self.body = DenseGroups(conv, n_feats, n_resgroups, n_resblocks, reduction)
        self.tail = nn.Sequential(Upsampler(conv, scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        head = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(self.body(head) + head))
