"""LNLN (Wang et al., ICASSP 2021), with keys that follow DRCA's."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import (
    DenseGroups,
    DepthwiseSeparableConv,
    MeanShift,
    RegionNonLocal,
    Upsampler,
    conv,
)


class LNLN(nn.Module):
    """`lnln_jax.models.LNLN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resgroups: int = 5,
        n_resblocks: int = 36,
        n_feats: int = 64,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        dsc = DepthwiseSeparableConv
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(1)
        self.head = nn.Sequential(dsc(3, n_feats))
        self.non_local = RegionNonLocal(n_feats)
        self.body = DenseGroups(dsc, n_feats, n_resgroups, n_resblocks, reduction)
        self.tail = nn.Sequential(Upsampler(dsc, scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        head = self.head(self.sub_mean(x))
        body = self.body(self.non_local(head))
        return self.add_mean(self.tail(self.non_local(body) + head))
