"""ESA, enhanced spatial attention (Liu et al., "Residual Feature Aggregation Network", CVPR 2020).

RFDN and RLFN have it in each block, RLFN with fewer layers.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.models.interpolation import bilinear_resize
from lnln_jax.models.layers import Conv

ESA_LEAST_SIDE = 15  # of which stride 2 leaves the 7 pixels that are pooled


class ESA(nn.Module):
    """Each value times a gate, from a few channels and from what a coarse view of them says.

    Attributes:
      inner_features: width inside.
      n_coarse: 3x3 convolutions in the coarse view, with ReLU between them: 3 in RFDN, 1 in RLFN.
      dtype: of the computation.
    """

    inner_features: int
    n_coarse: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Multiplies `B H W C` by gates between 0 and 1.

        Raises:
          ValueError: H or W is below 15, which leaves the pooling nothing.
        """
        _, height, width, features = x.shape
        if min(height, width) < ESA_LEAST_SIDE:
            raise ValueError(
                f"the image is {height}x{width} pixels; spatial attention pools at least "
                f"{ESA_LEAST_SIDE}x{ESA_LEAST_SIDE}: pad it, as `lnln upscale` does"
            )
        conv = partial(Conv, dtype=self.dtype)
        inner = conv(self.inner_features, 1, name="squeeze")(x)
        coarse = conv(self.inner_features, stride=2, name="shrink")(inner)
        coarse = nn.max_pool(coarse, (7, 7), (3, 3))
        for i in range(1, self.n_coarse + 1):
            coarse = conv(self.inner_features, name=f"coarse_{i}")(coarse)
            coarse = nn.relu(coarse) if i < self.n_coarse else coarse
        coarse = bilinear_resize(coarse, height, width)
        inner = conv(self.inner_features, 1, name="skip")(inner)
        gate = nn.sigmoid(conv(features, 1, name="excite")(coarse + inner))
        return x * gate
