"""WDSR (Yu et al., 2018) and its later version, with the keys of the published state dicts."""

import torch
from torch import nn

from lnln_jax.torch_reference.layers import RGB_MEAN


class WeightNormConv(nn.Conv2d):
    """Convolution with a weight of g v / |v| for each output channel (weight normalisation)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, gain: float | None = None
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        v = self.weight.detach()
        del self.weight
        self.weight_g = nn.Parameter(v.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        self.weight_v = nn.Parameter(v)
        if gain is not None and self.bias is not None:
            nn.init.constant_(self.weight_g, gain)
            nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        norm = self.weight_v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        weight = self.weight_v * (self.weight_g / norm)
        return nn.functional.conv2d(x, weight, self.bias, padding=self.padding)


class WDSRBlock(nn.Module):
    """Layers, scaled, plus the input."""

    def __init__(self, *layers: nn.Module, res_scale: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.res_scale = res_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.res_scale * self.body(x)


class _WDSR(nn.Module):
    """What A and B share: the paths, and images around 0."""

    def __init__(self, scale: int, n_feats: int, blocks: list[WDSRBlock]) -> None:
        super().__init__()
        self.mean = 255 * torch.tensor(RGB_MEAN).view(3, 1, 1)
        self.head = nn.Sequential(WeightNormConv(3, n_feats))
        self.body = nn.Sequential(*blocks)
        self.tail = nn.Sequential(WeightNormConv(n_feats, 3 * scale**2), nn.PixelShuffle(scale))
        self.skip = nn.Sequential(WeightNormConv(3, 3 * scale**2, 5), nn.PixelShuffle(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        mean = self.mean.to(x)
        x = (x - mean) / 127.5
        return (self.tail(self.body(self.head(x))) + self.skip(x)) * 127.5 + mean


class WDSRA(_WDSR):
    """`lnln_jax.models.WDSRA`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resblocks: int = 16,
        n_feats: int = 32,
        block_feats: int = 128,
        res_scale: float = 1.0,
    ) -> None:
        blocks = [
            WDSRBlock(
                WeightNormConv(n_feats, block_feats),
                nn.ReLU(),
                WeightNormConv(block_feats, n_feats),
                res_scale=res_scale,
            )
            for _ in range(n_resblocks)
        ]
        super().__init__(scale, n_feats, blocks)


class WDSRB(_WDSR):
    """`lnln_jax.models.WDSRB`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resblocks: int = 16,
        n_feats: int = 64,
        block_feats: int = 384,
        low_rank_feats: int = 51,
        res_scale: float = 1.0,
    ) -> None:
        blocks = [
            WDSRBlock(
                WeightNormConv(n_feats, block_feats, 1),
                nn.ReLU(),
                WeightNormConv(block_feats, low_rank_feats, 1),
                WeightNormConv(low_rank_feats, n_feats),
                res_scale=res_scale,
            )
            for _ in range(n_resblocks)
        ]
        super().__init__(scale, n_feats, blocks)


class WDSRReloaded(nn.Module):
    """`lnln_jax.models.WDSRReloaded`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self, scale: int = 2, n_resblocks: int = 16, n_feats: int = 32, block_feats: int = 128
    ) -> None:
        super().__init__()
        blocks = [
            WDSRBlock(
                WeightNormConv(n_feats, block_feats, gain=2.0),
                nn.ReLU(),
                WeightNormConv(block_feats, n_feats, gain=n_resblocks**-0.5),
            )
            for _ in range(n_resblocks)
        ]
        self.body = nn.Sequential(
            WeightNormConv(3, n_feats, gain=1.0),
            *blocks,
            WeightNormConv(n_feats, 3 * scale**2, gain=1.0),
            nn.PixelShuffle(scale),
        )
        self.skip = nn.Sequential(
            WeightNormConv(3, 3 * scale**2, 5, gain=1.0), nn.PixelShuffle(scale)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        x = x / 255 - 0.5
        return (self.body(x) + self.skip(x) + 0.5) * 255
