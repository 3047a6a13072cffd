"""SAN (Dai et al., CVPR 2019), with the keys of the published state dicts.

The authors' module owns arrays that it never uses, marked here; they get no gradient.
"""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import MeanShift, Upsampler, conv


def unused(module: nn.Module) -> nn.Module:
    """Returns a module that takes no part in anything."""
    return module.requires_grad_(False)


class SecondOrderAttention(nn.Module):
    """Scales channels by a gate of the mean rows of the root of their covariances."""

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
        _, _, h, w = x.shape
        top, left = max(h - 1000, 0) // 2, max(w - 1000, 0) // 2
        seen = x[:, :, top : top + 1000, left : left + 1000].flatten(2)
        positions = seen.shape[2]
        centring = torch.eye(positions, dtype=x.dtype) - 1 / positions
        covariance = seen @ (centring / positions) @ seen.transpose(1, 2)
        means = self.root(covariance).mean(dim=1)
        return x * self.conv_du(means[:, :, None, None])

    def root(self, matrix: torch.Tensor) -> torch.Tensor:
        """Takes the matrix square root by five iterations of Newton and Schulz."""
        three = 3 * torch.eye(matrix.shape[1], dtype=matrix.dtype)
        trace = matrix.diagonal(dim1=1, dim2=2).sum(dim=1).view(-1, 1, 1)
        a = matrix / trace
        z = (three - a) / 2
        y = a @ z
        for _ in range(3):
            t = (three - z @ y) / 2
            y, z = y @ t, t @ z
        return y @ (three - z @ y) / 2 * trace.sqrt()


class NonLocal(nn.Module):
    """Attention of all positions of a region to the pooled ones, plus the region."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.g = nn.Sequential(conv(channels, inner, 1), nn.MaxPool2d(2))
        self.W = conv(inner, channels, 1)
        self.theta = conv(channels, inner, 1)
        self.phi = nn.Sequential(conv(channels, inner, 1), nn.MaxPool2d(2))
        for parameter in self.W.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        theta, phi, g = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        weights = torch.softmax(theta.transpose(1, 2) @ phi, dim=2)  # B, position, pooled position
        y = (weights @ g.transpose(1, 2)).transpose(1, 2)
        return x + self.W(y.unflatten(2, x.shape[2:]))


class RegionNonLocal(nn.Module):
    """The non-local module in each quarter of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.soca = unused(SecondOrderAttention(channels, reduction=8))
        self.non_local = NonLocal(channels, channels // 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        h, w = x.shape[2] // 2, x.shape[3] // 2
        rows = [
            torch.cat([self.non_local(part[..., :w]), self.non_local(part[..., w:])], dim=3)
            for part in (x[:, :, :h], x[:, :, h:])
        ]
        return torch.cat(rows, dim=2)


class SANBlock(nn.Module):
    """conv - ReLU - conv, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_first = nn.Sequential(
            conv(channels, channels), nn.ReLU(), conv(channels, channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.conv_first(x)


class SANGroup(nn.Module):
    """Blocks, second-order attention and a convolution, plus the input."""

    def __init__(self, channels: int, n_resblocks: int, reduction: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1), requires_grad=False)  # unused
        self.rcab = nn.Sequential(*(SANBlock(channels) for _ in range(n_resblocks)))
        self.soca = SecondOrderAttention(channels, reduction)
        self.conv_last = conv(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.conv_last(self.soca(self.rcab(x)))


class SAN(nn.Module):
    """`lnln_jax.models.SAN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resgroups: int = 20,
        n_resblocks: int = 10,
        n_feats: int = 64,
        reduction: int = 16,
    ) -> None:
        super().__init__()
        groups = [SANGroup(n_feats, n_resblocks, reduction) for _ in range(n_resgroups)]
        self.gamma = nn.Parameter(torch.zeros(1))
        self.sub_mean = MeanShift(-1, frozen=False)
        self.RG = nn.ModuleList(groups)
        self.conv_last = unused(conv(n_feats, n_feats))
        self.add_mean = MeanShift(1, frozen=False)
        self.non_local = RegionNonLocal(n_feats)
        self.head = nn.Sequential(conv(3, n_feats))
        self.tail = nn.Sequential(Upsampler(conv, scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        head = self.head(self.sub_mean(x))
        y = source = self.non_local(head)
        for group in self.RG:
            y = group(y) + self.gamma * source
        return self.add_mean(self.tail(self.non_local(y) + head))
