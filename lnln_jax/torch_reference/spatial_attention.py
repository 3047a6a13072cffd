"""ESA, the spatial attention of RFDN and RLFN, with the keys of their published state dicts."""

import torch
from torch import nn
from torch.nn import functional


class ESA(nn.Module):
    """Gates from a few channels, and from what is left of them after stride 2 and a pool.

    RLFN's has one convolution after the pool, RFDN's (`deep`) three with ReLUs between.
    """

    def __init__(self, channels: int, inner: int, *, deep: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 1)
        self.conv_f = nn.Conv2d(inner, inner, 1)
        if deep:
            self.conv_max = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv3 = nn.Conv2d(inner, inner, 3, padding=1)
        if deep:
            self.conv3_ = nn.Conv2d(inner, inner, 3, padding=1)
        self.conv4 = nn.Conv2d(inner, channels, 1)
        self.pool = nn.MaxPool2d(7, stride=3)
        layers = [self.conv_max, nn.ReLU(), self.conv3, nn.ReLU(), self.conv3_] if deep else []
        self.coarse = layers or [self.conv3]  # a list: no other keys

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        inner = self.conv1(x)
        coarse = self.pool(self.conv2(inner))
        for layer in self.coarse:
            coarse = layer(coarse)
        coarse = functional.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(coarse + self.conv_f(inner)))
