"""SAN: Second-order Attention Network for Single Image Super-Resolution (Dai et al., CVPR 2019)."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import widen
from lnln_jax.models.edsr import EDSRBlock
from lnln_jax.models.layers import (
    ChannelAttention,
    Conv,
    Layer,
    MeanShift,
    RegionNonLocal,
    Upsampler,
    chain,
)

_LONGEST = 1000  # rows or columns of which the covariance is taken
# No `matmul`, which drops a batch of one: `complexity` tells these products by their batch.
_product = partial(jnp.einsum, "bij,bjk->bik", precision=jax.lax.Precision.HIGHEST)


def covariance(x: jax.Array) -> jax.Array:
    """Returns the covariances of channels over positions, `B C C` of `B H W C`.

    Of the middle 1000 rows and columns where there are more. Where one side has 1000 and the other
    fewer, the authors' code sees the end of the other alone; no published score is of such a map.
    """
    height, width = x.shape[1:3]
    top, left = (max(side - _LONGEST, 0) // 2 for side in (height, width))
    x = widen(x[:, top : top + _LONGEST, left : left + _LONGEST])
    x = (x - x.mean((1, 2), keepdims=True)).reshape(x.shape[0], -1, x.shape[3])
    return _product(x.mT, x) / x.shape[1]


def square_root(matrix: jax.Array) -> jax.Array:
    """Returns the square roots of symmetric `B C C`, by five steps of Newton and Schulz.

    The iteration of Li et al. (CVPR 2018), from a matrix of trace 1. The root of zero is zero; in
    the authors' code constant features are divided by zero and become NaN.
    """
    identity = jnp.broadcast_to(jnp.eye(matrix.shape[1], dtype=matrix.dtype), matrix.shape)
    trace = jnp.trace(matrix, axis1=1, axis2=2)[:, None, None]
    trace = jnp.where(trace >= jnp.finfo(matrix.dtype).tiny, trace, 1)
    y, z = matrix / trace, identity
    for _ in range(5):
        t = 0.5 * (3 * identity - _product(z, y))
        y, z = _product(y, t), _product(t, z)
    return y * jnp.sqrt(trace)


def second_order_statistic(x: jax.Array) -> jax.Array:
    """Returns the means of the rows of the covariances' square root: `B C` of `B H W C`."""
    return square_root(covariance(x)).mean(1)


class SANGroup(nn.Module):
    """Residual blocks, second-order channel attention and a convolution, plus the input (LSRAG)."""

    block: Layer
    attend: Layer
    conv3x3: Layer
    n_resblocks: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `B H W C` to the same shape."""
        y = chain(self.block(name="blocks"), x, self.n_resblocks)
        y = self.attend(name="attention")(y)
        return x + self.conv3x3(x.shape[-1], name="conv")(y)


class SAN(nn.Module):
    """Groups with second-order attention, between two non-local ones: 15.67 M parameters at x2.

    The authors' module holds 38,044 parameters more, which it never uses. Their scores are of
    images cut in four overlapping quarters, so that neither attention saw a whole image.

    Attributes:
      scale: 2, 3 or 4.
      n_resgroups: groups.
      n_resblocks: residual blocks in a group.
      n_feats: width of the network; the non-local module has an eighth of it inside.
      reduction: squeeze factor of the channel attention.
      attention: implementation of the non-local module (`kernels.attention`).
      dtype: of the computation; parameters and all of the covariance are float32.
    """

    least_side: ClassVar[int] = 4
    narrow: ClassVar[dict[str, int]] = {"n_feats": 8}

    scale: int = 2
    n_resgroups: int = 20
    n_resblocks: int = 10
    n_feats: int = 64
    reduction: int = 16
    attention: str = "auto"
    dtype: DTypeLike = jnp.float32

    @nn.nowrap
    def check_sizes(self) -> None:
        """Raises ValueError where a squeeze leaves no channel."""
        if self.n_feats < (least := max(self.reduction, 8)):
            raise ValueError(
                f"n_feats is {self.n_feats}; with reduction {self.reduction} it must be at least "
                f"{least}, since the non-local module has an eighth of it"
            )

    @nn.compact
    def __call__(self, lr: jax.Array, *, train: bool = False) -> jax.Array:
        """Super-resolves a batch; `train` makes no difference.

        Args:
          lr: `B H W 3`, float32, RGB in 0..255, H and W at least 4.
          train: accepted for the interface that all networks share.

        Returns:
          `B H*scale W*scale 3`, float32, RGB around 0..255, neither clipped nor rounded.
        """
        conv = partial(Conv, dtype=self.dtype)
        block = partial(EDSRBlock, self.n_feats, dtype=self.dtype)
        attend = partial(ChannelAttention, self.reduction, second_order_statistic, self.dtype)
        groups = SANGroup(block, attend, conv, self.n_resblocks, name="groups")
        non_local = RegionNonLocal(
            self.n_feats // 8, pool=2, attention=self.attention, dtype=self.dtype, name="non_local"
        )  # one module, applied before and after the groups

        shallow = conv(self.n_feats, name="head")(MeanShift(-1, name="sub_mean")(lr))
        source = non_local(shallow)
        gamma = self.param("gamma", nn.initializers.zeros, (1,), jnp.float32)
        shared = gamma.astype(self.dtype) * source  # the share-source skip, of one gamma

        run = nn.scan(
            lambda group, x, shared: (group(x) + shared, None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.n_resgroups,
        )
        deep, _ = run(groups, source, shared)
        features = non_local(deep) + shallow
        features = Upsampler(self.scale, conv, name="upsampler")(features)
        sr = conv(3, name="tail")(features)
        return MeanShift(1, name="add_mean")(widen(sr))
