"""WDSR by one of its authors, later: other gains at the start, images around 0 (Fan, 2019)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.models.wdsr import WideBlock, add_paths
from lnln_jax.models.weight_norm import WeightNormConv


class WDSRReloaded(nn.Module):
    """WDSR-A whose gains begin such that features keep their size: 1.19 M parameters at x2.

    `create_model("wdsr_reloaded_large")` has 32 blocks of 128 features.

    Attributes:
      scale: 2, 3 or 4.
      n_resblocks: residual blocks.
      n_feats: features between the blocks.
      block_feats: features inside a block, at its ReLU.
      dtype: of the computation; parameters are float32.
    """

    narrow: ClassVar[dict[str, int]] = {"block_feats": 1}

    scale: int = 2
    n_resblocks: int = 16
    n_feats: int = 32
    block_feats: int = 128
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch; `train` makes no difference.

        Args:
          lr: `B H W 3`, float32, RGB in 0..255.
          train: accepted for the interface that all networks share.

        Returns:
          `B H*scale W*scale 3`, float32, RGB around 0..255, neither clipped nor rounded.
        """
        conv = partial(WeightNormConv, dtype=self.dtype)
        expand, shrink = (partial(conv, start=gain) for gain in (2.0, self.n_resblocks**-0.5))
        block = WideBlock(self.block_feats, expand, shrink, name="blocks")
        sizes = {"n_resblocks": self.n_resblocks, "n_feats": self.n_feats, "scale": self.scale}
        x = lr / 255.0 - 0.5
        return 255.0 * (add_paths(x, block, partial(conv, start=1.0), **sizes) + 0.5)
