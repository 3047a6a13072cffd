"""Weight Normalization (Salimans and Kingma, NIPS 2016)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.convolution import add_bias, channel_product, conv
from lnln_jax.models.layers import uniform_fan_in


class WeightNormConv(nn.Module):
    """Convolution whose kernel is gain times direction / |direction|, for each output channel.

    `start` is what all gains begin with, and biases then with 0; None: they begin such that the
    convolution is an ordinary one with PyTorch's default weights. In bfloat16 the kernel is still
    made in float32.
    """

    features: int
    kernel_size: int = 3
    start: float | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves `B H W I` to `B H W features`, with zero padding that keeps the size."""
        size, inputs, features = self.kernel_size, x.shape[-1], self.features
        drawn = uniform_fan_in(size**2 * inputs)
        direction = self.param("direction", drawn, (size, size, inputs, features), jnp.float32)
        norm = jnp.sqrt(jnp.square(direction).sum((0, 1, 2)))
        start = norm if self.start is None else jnp.full_like(norm, self.start)
        gain = self.param("gain", lambda _: start)
        init_bias = drawn if self.start is None else nn.initializers.zeros
        bias = self.param("bias", init_bias, (features,), jnp.float32)
        kernel = direction * (gain / norm)
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        y = channel_product(x, kernel[0, 0]) if size == 1 else conv(x, kernel)
        return add_bias(y, bias)
