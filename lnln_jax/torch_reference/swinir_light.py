"""SwinIR-light (Liang et al., ICCVW 2021), with the keys of the published state dicts."""

import torch
from torch import nn
from torch.nn import functional as F

from lnln_jax.torch_reference.layers import RGB_MEAN, conv

WINDOW = 8


def cut(x: torch.Tensor) -> torch.Tensor:
    """Cuts `B H W C` into windows: `B*N 64 C`."""
    rows = x.unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW))
    return rows.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def join(windows: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Puts windows together again."""
    grid = windows.unflatten(1, (WINDOW, WINDOW))
    grid = grid.unflatten(0, (-1, height // WINDOW, width // WINDOW))
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def attention_mask(height: int, width: int) -> torch.Tensor:
    """Returns `N 64 64`: -100 between pixels of a shifted window that come from different ends."""
    labels = torch.zeros(1, height, width, 1)
    parts = slice(-WINDOW), slice(-WINDOW, -WINDOW // 2), slice(-WINDOW // 2, None)
    for i, rows in enumerate(parts):
        for j, columns in enumerate(parts):
            labels[:, rows, columns] = 3 * i + j
    labels = cut(labels)
    return -100.0 * (labels != labels.transpose(1, 2))


class WindowAttention(nn.Module):
    """Attention of several heads in windows, with a bias for each relative position."""

    relative_position_index: torch.Tensor

    def __init__(self, channels: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        table = torch.empty((2 * WINDOW - 1) ** 2, n_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.normal_(table, std=0.02))
        y, x = (a.flatten() for a in torch.meshgrid(*[torch.arange(WINDOW)] * 2, indexing="ij"))
        dy, dx = y[:, None] - y, x[:, None] - x
        index = (dy + WINDOW - 1) * (2 * WINDOW - 1) + dx + WINDOW - 1
        self.register_buffer("relative_position_index", index)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attends in `B*N 64 C`, with a mask `N 64 64` or none."""
        windows, positions, channels = x.shape
        shape = windows, positions, 3, self.n_heads, channels // self.n_heads
        q, k, v = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4)
        scores = q * shape[-1] ** -0.5 @ k.transpose(2, 3)
        scores = scores + self.relative_position_bias_table[self.relative_position_index].permute(
            2, 0, 1
        )
        if mask is not None:
            scores = scores + mask.to(x.dtype).repeat(windows // len(mask), 1, 1)[:, None]
        return self.proj((scores.softmax(3) @ v).transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    """Linear - GELU - linear."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinBlock(nn.Module):
    """Attention and an MLP, each after a LayerNorm, plus the input; `B H W C`."""

    def __init__(
        self, channels: int, n_heads: int, hidden: int, drop_path: float, *, shifted: bool
    ) -> None:
        super().__init__()
        self.shift = WINDOW // 2 if shifted else 0
        self.drop_path = drop_path
        if shifted:  # a constant of the published files, for 64x64 pixels; never used here
            self.register_buffer("attn_mask", attention_mask(64, 64))
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, n_heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, hidden)

    def drop(self, x: torch.Tensor) -> torch.Tensor:
        """Drops the branch for some images in training (stochastic depth)."""
        if not (self.training and self.drop_path):
            return x
        kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_path
        return x * kept / (1 - self.drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        height, width = x.shape[1:3]
        mask = attention_mask(height, width).to(x.device) if self.shift else None
        windows = cut(self.norm1(x).roll((-self.shift, -self.shift), (1, 2)))
        y = join(self.attn(windows, mask), height, width).roll((self.shift, self.shift), (1, 2))
        x = x + self.drop(y)
        return x + self.drop(self.mlp(self.norm2(x)))


class ResidualGroup(nn.Module):
    """The blocks of a group."""

    def __init__(self, blocks: list[SwinBlock]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return self.blocks(x)


class SwinGroup(nn.Module):
    """Blocks and a convolution, plus the input."""

    def __init__(self, channels: int, blocks: list[SwinBlock]) -> None:
        super().__init__()
        self.residual_group = ResidualGroup(blocks)
        self.conv = conv(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        return x + self.conv(self.residual_group(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class SwinIRLight(nn.Module):
    """`lnln_jax.models.SwinIRLight`: `B 3 H W` RGB in 0..255 to `B 3 H*scale W*scale`."""

    def __init__(
        self,
        scale: int = 2,
        n_resgroups: int = 4,
        n_resblocks: int = 6,
        n_feats: int = 60,
        n_heads: int = 6,
        mlp_ratio: int = 2,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.scale = scale
        rates = iter(torch.linspace(0, drop_path, n_resgroups * n_resblocks, device="cpu").tolist())
        self.conv_first = conv(3, n_feats)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(n_feats)})
        self.layers = nn.Sequential()
        for _ in range(n_resgroups):
            blocks = [
                SwinBlock(n_feats, n_heads, mlp_ratio * n_feats, next(rates), shifted=i % 2 == 1)
                for i in range(n_resblocks)
            ]
            self.layers.append(SwinGroup(n_feats, blocks))
        self.norm = nn.LayerNorm(n_feats)
        self.conv_after_body = conv(n_feats, n_feats)
        self.upsample = nn.Sequential(conv(n_feats, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the module."""
        height, width = x.shape[2:]
        mean = torch.tensor(RGB_MEAN, dtype=x.dtype, device=x.device).view(3, 1, 1)
        x = F.pad(x / 255 - mean, (0, -width % WINDOW, 0, -height % WINDOW), mode="reflect")
        head = self.conv_first(x)
        tokens = self.layers(self.patch_embed["norm"](head.permute(0, 2, 3, 1)))
        body = self.conv_after_body(self.norm(tokens).permute(0, 3, 1, 2))
        sr = self.upsample(head + body) + mean
        return 255 * sr[:, :, : height * self.scale, : width * self.scale]
