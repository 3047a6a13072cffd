"""VDSR (Kim et al., CVPR 2016), with the keys of the published state dict."""

import torch
from torch import nn
from torch.nn import functional


class VDSRLayer(nn.Module):
    """3x3 convolution without bias, and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.relu(self.conv(x))


class VDSR(nn.Module):
    """An interpolated image in 0..1, `B n_colors H W`, to the corrected one."""

    def __init__(self, n_layers: int = 20, n_feats: int = 64, n_colors: int = 1) -> None:
        super().__init__()
        self.residual_layer = nn.Sequential(
            *(VDSRLayer(n_feats, n_feats) for _ in range(n_layers - 2))
        )
        self.input = nn.Conv2d(n_colors, n_feats, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.output = nn.Conv2d(n_feats, n_colors, 3, padding=1, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.output(self.residual_layer(self.relu(self.input(x))))


class InterpolatingVDSR(VDSR):
    """`lnln_jax.models.VDSR`: `B n_colors H W` in 0..255 to `B n_colors H*scale W*scale`."""

    def __init__(self, scale: int = 2, **options: int) -> None:
        super().__init__(**options)
        self.scale = scale

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """Applies the network."""
        return 255 * super().forward(bicubic_upsample(lr / 255, self.scale))


def bicubic_upsample(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Upscales `B C H W` by a whole factor as MATLAB's `imresize` does.

    `antialias=True` chooses the kernel with a = -0.5, which MATLAB has as well; without it, it is
    -0.75. PyTorch leaves out what is beyond the border, MATLAB mirrors the image there: so two
    mirrored pixels are added, and cut off again.
    """
    for axis in (2, 3):
        first, last = x.narrow(axis, 0, 2), x.narrow(axis, x.shape[axis] - 2, 2)
        x = torch.cat([first.flip(axis), x, last.flip(axis)], axis)
    x = functional.interpolate(x, scale_factor=factor, mode="bicubic", antialias=True)
    border = 2 * factor
    return x[..., border:-border, border:-border]
