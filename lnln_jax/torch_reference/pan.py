"""PAN (Zhao et al., ECCV workshops 2020), with the keys of the published state dicts."""

import torch
from torch import nn
from torch.nn import functional

from lnln_jax.torch_reference.layers import conv


def conv_without_bias(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Conv2d:
    """Returns a convolution that keeps height and width."""
    padding = kernel_size // 2
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False)


class PixelAttention(nn.Module):
    """Multiplies by the sigmoid of a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x * torch.sigmoid(self.conv(x))


class PAConv(nn.Module):
    """A convolution times the sigmoid of a 1x1 one, and another convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.k2 = conv(channels, channels, 1)
        self.k3 = conv_without_bias(channels, channels)
        self.k4 = conv_without_bias(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.k4(self.k3(x) * torch.sigmoid(self.k2(x)))


class SCPA(nn.Module):
    """Two branches of half the channels, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1_a = conv_without_bias(channels, half, 1)
        self.conv1_b = conv_without_bias(channels, half, 1)
        self.k1 = nn.Sequential(conv_without_bias(half, half))
        self.PAConv = PAConv(half)
        self.conv3 = conv_without_bias(channels, channels, 1)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        a = self.lrelu(self.k1(self.lrelu(self.conv1_a(x))))
        b = self.lrelu(self.PAConv(self.lrelu(self.conv1_b(x))))
        return self.conv3(torch.cat([a, b], dim=1)) + x


class PAN(nn.Module):
    """`lnln_jax.models.pan.PAN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resblocks: int = 16,
        n_feats: int = 40,
        n_upsampler_feats: int = 24,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = conv(3, n_feats)
        self.SCPA_trunk = nn.Sequential(*(SCPA(n_feats) for _ in range(n_resblocks)))
        self.trunk_conv = conv(n_feats, n_feats)
        self.upconv1 = conv(n_feats, n_upsampler_feats)
        self.att1 = PixelAttention(n_upsampler_feats)
        self.HRconv1 = conv(n_upsampler_feats, n_upsampler_feats)
        if scale == 4:
            self.upconv2 = conv(n_upsampler_feats, n_upsampler_feats)
            self.att2 = PixelAttention(n_upsampler_feats)
            self.HRconv2 = conv(n_upsampler_feats, n_upsampler_feats)
        self.conv_last = conv(n_upsampler_feats, 3)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        x = x / 255
        head = self.conv_first(x)
        features = self.trunk_conv(self.SCPA_trunk(head)) + head
        factor = 2 if self.scale == 4 else self.scale
        features = functional.interpolate(features, scale_factor=factor, mode="nearest")
        features = self.lrelu(self.att1(self.upconv1(features)))
        features = self.lrelu(self.HRconv1(features))
        if self.scale == 4:
            features = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = self.lrelu(self.att2(self.upconv2(features)))
            features = self.lrelu(self.HRconv2(features))
        enlarged = functional.interpolate(
            x, scale_factor=self.scale, mode="bilinear", align_corners=False
        )
        return 255 * (self.conv_last(features) + enlarged)
