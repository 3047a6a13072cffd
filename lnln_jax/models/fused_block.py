"""The residual block of `residual_groups` with its passes over feature maps fused.

It has the same parameters and computes the same, but for rounding. A normalisation takes away the
bias of the convolution before it, which is therefore never added; the means that channel attention
needs follow from the moments that the normalisation has taken; and its factors are multiplied into
the scale and shift of the normalisation.
"""

import flax.linen as nn
import jax

from lnln_jax import kernels
from lnln_jax.kernels.normalization import normalize
from lnln_jax.models.residual_groups import ResidualBlock


class FusedResidualBlock(ResidualBlock):
    """conv - BatchNorm - ReLU - conv - BatchNorm with channel attention, plus the skip."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `B H W C` to `B H W features`; C equals `features` unless there is a projection."""
        y, bias = self.conv(self.features, name="conv_1").split(x)
        centre, scale, shift, _ = self.norm(name="norm_1").factors(y, bias, train=train)
        y = nn.relu(normalize(y, centre, scale, shift))
        y, bias = self.conv(self.features, name="conv_2").split(y)
        centre, scale, shift, means = self.norm(name="norm_2").factors(y, bias, train=train)
        gate = self.attend(name="attention").factors((means - centre) * scale + shift)
        y = normalize(y, centre, scale * gate, shift * gate)
        skip = self.project(self.features, name="skip")(x) if self.project else x
        return skip + y


def best_block() -> type[ResidualBlock]:
    """Returns the block for networks that are traced now: fused where kernels are tuned."""
    return FusedResidualBlock if kernels.tuned() else ResidualBlock
