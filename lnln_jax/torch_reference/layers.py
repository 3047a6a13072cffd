"""The layers of `lnln_jax.models.layers` in PyTorch's `B C H W`."""

from collections.abc import Callable

import torch
from torch import nn

# Of the training images of DIV2K, RGB in 0..1.
RGB_MEAN = (0.4488, 0.4371, 0.4040)

Conv = Callable[[int, int], nn.Module]  # of the numbers of input and output channels


class MeanShift(nn.Conv2d):
    """Adds `sign` times the mean of RGB in 0..255, as EDSR's frozen 1x1 convolution does."""

    def __init__(self, sign: int, *, frozen: bool = True) -> None:
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.bias = nn.Parameter(sign * 255 * torch.tensor(RGB_MEAN))
        self.requires_grad_(not frozen)


def conv(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Conv2d:
    """Returns a convolution that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


class DepthwiseSeparableConv(nn.Module):
    """A 3x3 convolution of each channel and a 1x1 convolution (MobileNets, 2017)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.pointwise(self.depthwise(x))


class ChannelAttention(nn.Module):
    """Scales channels by a gate of their means (RCAN, ECCV 2018, equations 8 to 10)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_du = nn.Sequential(
            conv(channels, channels // reduction, 1),
            nn.ReLU(),
            conv(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x * self.conv_du(self.avg_pool(x))


class RegionNonLocal(nn.Module):
    """Embedded-Gaussian attention in each quarter of the image, plus the input (LNLN, 2021)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = conv(channels, channels // 2, 1)
        self.phi = conv(channels, channels // 2, 1)
        self.g = conv(channels, channels // 2, 1)
        self.W = conv(channels // 2, channels, 1)
        for parameter in self.W.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        h, w = x.shape[2] // 2, x.shape[3] // 2
        top = torch.cat([self.attend(x[..., :h, :w]), self.attend(x[..., :h, w:])], dim=3)
        bottom = torch.cat([self.attend(x[..., h:, :w]), self.attend(x[..., h:, w:])], dim=3)
        return torch.cat([top, bottom], dim=2)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Attends over all positions of a quarter (Non-local Neural Networks, CVPR 2018)."""
        theta, phi, g = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        weights = torch.softmax(theta.transpose(1, 2) @ phi, dim=2)  # B, position i, position j
        y = (weights @ g.transpose(1, 2)).transpose(1, 2)
        return x + self.W(y.unflatten(2, x.shape[2:]))


class ResidualBlock(nn.Module):
    """conv - BatchNorm - ReLU - conv - BatchNorm - channel attention, plus the skip (DRCA, LNLN).

    The first block of a group projects its skip to fewer channels.
    """

    def __init__(
        self, conv3x3: Conv, in_channels: int, channels: int, reduction: int, *, first: bool
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3x3(in_channels, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
            ChannelAttention(channels, reduction),
        )
        self.proj = nn.Sequential(*([conv(in_channels, channels, 1)] if first else []))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.proj(x) + self.body(x)


class ResidualGroup(nn.Module):
    """A chain of residual blocks."""

    def __init__(
        self, conv3x3: Conv, in_channels: int, channels: int, n_resblocks: int, reduction: int
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ResidualBlock(conv3x3, in_channels, channels, reduction, first=True),
            *(
                ResidualBlock(conv3x3, channels, channels, reduction, first=False)
                for _ in range(n_resblocks - 1)
            ),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.body(x)


class DenseGroups(nn.ModuleList):
    """Each group sees the input and the outputs of all before it; the last layer fuses them."""

    def __init__(
        self, conv3x3: Conv, channels: int, n_resgroups: int, n_resblocks: int, reduction: int
    ) -> None:
        groups = [
            ResidualGroup(conv3x3, (i + 1) * channels, channels, n_resblocks, reduction)
            for i in range(n_resgroups)
        ]
        super().__init__([*groups, conv((n_resgroups + 1) * channels, channels, 1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        *groups, projection = self
        for group in groups:
            x = torch.cat([x, group(x)], dim=1)
        return projection(x)


class Upsampler(nn.Sequential):
    """Convolution and pixel shuffle (ESPCN, CVPR 2016), twice for x4, three times for x8."""

    def __init__(self, conv3x3: Conv, scale: int, channels: int) -> None:
        layers: list[nn.Module] = []
        for factor in {2: [2], 3: [3], 4: [2, 2], 8: [2, 2, 2]}[scale]:
            layers += [conv3x3(channels, channels * factor**2), nn.PixelShuffle(factor)]
        super().__init__(*layers)
