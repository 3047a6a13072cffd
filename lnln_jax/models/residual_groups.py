"""The densely connected residual groups of DRCA (Jang and Park, CVPRW 2019), which LNLN compresses.

With depthwise-separable convolutions they are the second stage of LNLN. All blocks of a group
but the first are alike. Their parameters are stacked along a leading axis and a `lax.scan` runs
over them, which compiles one block instead of 35.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lnln_jax.kernels.reference import SAVED_NAMES
from lnln_jax.models.layers import Layer


class ResidualBlock(nn.Module):
    """conv - BatchNorm - ReLU - conv - BatchNorm - channel attention, plus the skip.

    Attributes:
      features: of the result.
      conv: makes the convolutions, given their features.
      norm: makes the normalisations.
      attend: makes the channel attention.
      project: makes the skip's projection, given its features; None: `x` itself is the skip.
    """

    features: int
    conv: Layer
    norm: Layer
    attend: Layer
    project: Layer | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `B H W C` to `B H W features`; C equals `features` unless there is a projection."""
        y = self.conv(self.features, name="conv_1")(x)
        y = self.norm(name="norm_1")(y, train=train)
        y = nn.relu(y)
        y = self.conv(self.features, name="conv_2")(y)
        y = self.norm(name="norm_2")(y, train=train)
        y = self.attend(name="attention")(y)
        skip = self.project(self.features, name="skip")(x) if self.project else x
        return skip + y


class ResidualGroup(nn.Module):
    """A chain of residual blocks; the first takes any number of channels.

    Attributes:
      block: makes the blocks, with a projection unless `project` is None.
      n_resblocks: how many.
    """

    block: Layer
    n_resblocks: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `B H W C` to `B H W features`."""

        def run(block: nn.Module, x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return block(x, train=train), None

        policy = jax.checkpoint_policies.save_only_these_names(*SAVED_NAMES)
        x, _ = nn.remat(run, policy=policy)(self.block(name="first"), x, None)
        if self.n_resblocks == 1:
            return x
        scan = nn.scan(
            nn.remat(run, policy=policy, prevent_cse=False),
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            length=self.n_resblocks - 1,
        )
        return scan(self.block(project=None, name="blocks"), x, None)[0]


class DenseResidualGroups(nn.Module):
    """Groups that each see the input and all earlier groups' outputs, and a 1x1 projection.

    Attributes:
      features: of the result.
      block: makes the blocks of the groups.
      conv1x1: makes the projection, given its features.
      n_resgroups: groups.
      n_resblocks: blocks in a group.
    """

    features: int
    block: Layer
    conv1x1: Layer
    n_resgroups: int
    n_resblocks: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `B H W features` to `B H W features`."""
        outputs = x
        for i in range(1, self.n_resgroups + 1):
            group = ResidualGroup(self.block, self.n_resblocks, name=f"group_{i}")
            outputs = jnp.concatenate([outputs, group(outputs, train=train)], axis=-1)
        return self.conv1x1(self.features, name="projection")(outputs)
