"""The densely connected residual groups of DRCA (Jang and Park, CVPRW 2019), which LNLN compresses.

With `separable` the 3x3 convolutions are depthwise separable and a group is the paper's LRG.
Without `normalize` there is no batch normalisation (`models.folding`); `axis_name` is that of
`layers.BatchNorm`.

All blocks of a group but the first are identical. Their parameters are stacked along a leading
axis and a `lax.scan` runs over them, which compiles one block instead of 35. `unroll` only tells
the compiler how many blocks to lay out side by side; the parameter tree does not depend on it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.reference import SAVED_NAMES
from lnln_jax.models.layers import (
    BatchNorm,
    ChannelGate,
    Conv,
    DepthwiseSeparableConv,
    attend_to_channels,
)


class ResidualBlock(nn.Module):
    """conv - BatchNorm - ReLU - conv - BatchNorm - channel attention, plus the skip."""

    features: int
    reduction: int = 16
    separable: bool = False
    project_skip: bool = False
    normalize: bool = True
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`B H W C` to `B H W features`; `C` equals `features` unless `project_skip`."""
        conv = DepthwiseSeparableConv if self.separable else Conv
        gate = ChannelGate(self.reduction, dtype=self.dtype, name="attention")
        if self.normalize:
            # The biases of the convolutions are left to the normalisations.
            y, bias = conv(self.features, split=True, dtype=self.dtype, name="conv_1")(x)
            norm = BatchNorm(axis_name=self.axis_name, name="norm_1")(y, bias, train=train)
            y = nn.relu(norm.apply(y))
            y, bias = conv(self.features, split=True, dtype=self.dtype, name="conv_2")(y)
            norm = BatchNorm(axis_name=self.axis_name, name="norm_2")(y, bias, train=train)
            y = norm.apply(y, gate(norm.pooled))
        elif train:
            raise ValueError(
                "the batch normalisation has been folded away; such a network cannot train"
            )
        else:
            y = nn.relu(conv(self.features, dtype=self.dtype, name="conv_1")(x))
            y = conv(self.features, dtype=self.dtype, name="conv_2")(y)
            y = attend_to_channels(y, gate)
        if self.project_skip:
            x = Conv(self.features, 1, dtype=self.dtype, name="skip")(x)
        return x + y


class ResidualGroup(nn.Module):
    """A chain of residual blocks; the first takes any number of channels."""

    n_resblocks: int
    features: int
    reduction: int = 16
    separable: bool = False
    normalize: bool = True
    unroll: int = 1
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`B H W C` to `B H W features`."""

        def run(block: ResidualBlock, x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return block(x, train=train), None

        def block(name: str, project_skip: bool) -> ResidualBlock:
            return ResidualBlock(
                self.features,
                self.reduction,
                self.separable,
                project_skip=project_skip,
                normalize=self.normalize,
                axis_name=self.axis_name,
                dtype=self.dtype,
                name=name,
            )

        policy = jax.checkpoint_policies.save_only_these_names(*SAVED_NAMES)
        x, _ = nn.remat(run, policy=policy)(block("first", True), x, None)
        if self.n_resblocks == 1:
            return x
        scan = nn.scan(
            nn.remat(run, policy=policy, prevent_cse=False),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            length=self.n_resblocks - 1,
            unroll=self.unroll,
        )
        return scan(block("blocks", False), x, None)[0]


class DenseResidualGroups(nn.Module):
    """Groups that each see the input and all earlier groups' outputs, and a 1x1 projection."""

    n_resgroups: int
    n_resblocks: int
    features: int
    reduction: int = 16
    separable: bool = False
    normalize: bool = True
    unroll: int = 1
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`B H W features` to `B H W features`."""
        outputs = x
        for i in range(1, self.n_resgroups + 1):
            group = ResidualGroup(
                self.n_resblocks,
                self.features,
                self.reduction,
                self.separable,
                self.normalize,
                self.unroll,
                self.axis_name,
                self.dtype,
                name=f"group_{i}",
            )
            outputs = jnp.concatenate([outputs, group(outputs, train=train)], axis=-1)
        return Conv(self.features, 1, dtype=self.dtype, name="projection")(outputs)
