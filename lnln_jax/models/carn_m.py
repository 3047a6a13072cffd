"""CARN-M: Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network.

Ahn, Kang and Sohn, ECCV 2018; "M" is for mobile.
"""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax

from lnln_jax.models.carn import CARN, CascadingBlock, ConvReLU
from lnln_jax.models.layers import Layer


class EfficientUnit(nn.Module):
    """Two convolutions in groups and a 1x1 over all channels, plus the input, and ReLU."""

    conv: Layer
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        grouped = partial(self.conv, x.shape[-1], groups=self.groups)
        y = nn.relu(grouped(name="conv_1")(x))
        y = nn.relu(grouped(name="conv_2")(y))
        y = self.conv(x.shape[-1], 1, name="pointwise")(y)
        return nn.relu(x + y)


class CARNM(CARN):
    """CARN for phones: units in groups, one for all of a block: 0.26 M parameters at x2.

    `create_model("carn_m_multi")` is the published network: 0.41 M parameters.

    Attributes:
      scale: 2, 3 or 4.
      n_feats: width of the network.
      n_scales: 1, or 3 for upsamplers of all three scales, of which `scale` chooses one.
      dtype: of the computation; parameters are float32.
      groups: groups of channels in the 3x3 convolutions between head and tail.
    """

    narrow: ClassVar[dict[str, int]] = {"groups": 1}

    groups: int = 4

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError for groups that the width is not a multiple of, too."""
        super().check_sizes()
        if self.n_feats % self.groups:
            raise ValueError(
                f"n_feats is {self.n_feats}, which groups {self.groups} cannot share; choose a "
                "multiple of groups"
            )

    @nn.nowrap
    def _layers(self, conv: Layer) -> tuple[Layer, Layer]:
        unit = partial(EfficientUnit, conv, self.groups)
        grouped = partial(ConvReLU, groups=self.groups, dtype=self.dtype)
        return partial(CascadingBlock, conv, unit, recursive=True), grouped
