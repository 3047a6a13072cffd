"""CARN and CARN-M (Ahn et al., ECCV 2018), with the keys of the published state dicts."""

from collections.abc import Sequence

import torch
from torch import nn

from lnln_jax.torch_reference.layers import RGB_MEAN, conv


class UnitMeanShift(nn.Module):
    """Adds `sign` times the mean of RGB in 0..1, as a frozen 1x1 convolution does."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.shifter = nn.Conv2d(3, 3, 1)
        self.shifter.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.shifter.bias = nn.Parameter(sign * torch.tensor(RGB_MEAN))
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.shifter(x)


class Fusion(nn.Module):
    """1x1 convolution and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(in_channels, out_channels, 1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.body(x)


def cascade(
    x: torch.Tensor, units: Sequence[nn.Module], fusions: Sequence[nn.Module]
) -> torch.Tensor:
    """Applies three units, each to the fusion of the input and all outputs before it."""
    y1 = units[0](x)
    o1 = fusions[0](torch.cat([x, y1], dim=1))
    y2 = units[1](o1)
    o2 = fusions[1](torch.cat([x, y1, y2], dim=1))
    y3 = units[2](o2)
    return fusions[2](torch.cat([x, y1, y2, y3], dim=1))


class Unit(nn.Module):
    """CARN's residual unit."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), nn.ReLU(), conv(channels, channels))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.relu(self.body(x) + x)


class EfficientUnit(Unit):
    """CARN-M's residual unit."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=groups),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=groups),
            nn.ReLU(),
            conv(channels, channels, 1),
        )


class Block(nn.Module):
    """A cascade of three units."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.b1, self.b2, self.b3 = (Unit(channels) for _ in range(3))
        self.c1, self.c2, self.c3 = (Fusion(n * channels, channels) for n in (2, 3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return cascade(x, (self.b1, self.b2, self.b3), (self.c1, self.c2, self.c3))


class RecursiveBlock(nn.Module):
    """A cascade of one unit, three times."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.b1 = EfficientUnit(channels, groups)
        self.c1, self.c2, self.c3 = (Fusion(n * channels, channels) for n in (2, 3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return cascade(x, (self.b1, self.b1, self.b1), (self.c1, self.c2, self.c3))


class ReLUUpsampler(nn.Module):
    """Convolution, ReLU and pixel shuffle, twice for x4."""

    def __init__(self, channels: int, scale: int, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for factor in {2: [2], 3: [3], 4: [2, 2]}[scale]:
            grown = nn.Conv2d(channels, channels * factor**2, 3, padding=1, groups=groups)
            layers += [grown, nn.ReLU(), nn.PixelShuffle(factor)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.body(x)


class CARN(nn.Module):
    """`lnln_jax.models.carn.CARN`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    groups = 0  # none, as `CARNM` has them

    def __init__(self, scale: int = 2, n_feats: int = 64, n_scales: int = 1) -> None:
        super().__init__()
        scales = {f"up{s}": s for s in (2, 3, 4)} if n_scales == 3 else {"up": scale}
        self.chosen = f"up{scale}" if n_scales == 3 else "up"
        self.sub_mean = UnitMeanShift(-1)
        self.add_mean = UnitMeanShift(1)
        self.entry = conv(3, n_feats)
        self.b1, self.b2, self.b3 = (self.block(n_feats) for _ in range(3))
        self.c1, self.c2, self.c3 = (Fusion(n * n_feats, n_feats) for n in (2, 3, 4))
        self.upsample = nn.ModuleDict(
            {name: ReLUUpsampler(n_feats, s, self.groups or 1) for name, s in scales.items()}
        )
        self.exit = conv(n_feats, 3)

    def block(self, channels: int) -> nn.Module:
        """Returns a new block."""
        return RecursiveBlock(channels, self.groups) if self.groups else Block(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        head = self.entry(self.sub_mean(x / 255))
        body = cascade(head, (self.b1, self.b2, self.b3), (self.c1, self.c2, self.c3))
        return 255 * self.add_mean(self.exit(self.upsample[self.chosen](body)))


class CARNM(CARN):
    """`lnln_jax.models.carn_m.CARNM`, as `CARN`."""

    def __init__(
        self, scale: int = 2, n_feats: int = 64, n_scales: int = 1, groups: int = 4
    ) -> None:
        self.groups = groups
        super().__init__(scale, n_feats, n_scales)
