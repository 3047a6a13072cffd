"""Plain definitions of what the networks compute: short functions with JAX's own gradients.

Arrays are `B H W C`, of float32, bfloat16 or (with JAX's x64 mode) float64. Sums are taken in
float32 or wider. Tests and `lnln doctor` compare the tuned forms with these.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

_NHWC = ("NHWC", "HWIO", "NHWC")

PRODUCT = "product"  # the name of a 1x1 convolution's result in a traced computation
# What the backward pass keeps of a residual block; all else is cheaper to compute again than to
# store (`models.residual_groups`).
SAVED_NAMES = (PRODUCT, "batch_statistics")


def widen(x: jax.Array) -> jax.Array:
    """Returns `x` in float32, or in its own dtype if that is wider."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def conv(x: jax.Array, kernel: jax.Array, *, groups: int = 1, stride: int = 1) -> jax.Array:
    """Convolves `B H W I` with `K K I/groups O`, K odd, with zero padding that keeps the size.

    With a stride above 1 there is no padding.
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME" if stride == 1 else "VALID",
        dimension_numbers=_NHWC,
        feature_group_count=groups,
    )


def depthwise_conv3x3(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Convolves each channel of `B H W C` with its own of `3 3 C`, and adds the bias `C`."""
    taps = kernel[:, :, None]
    out = lax.conv_general_dilated(
        x, taps, (1, 1), "SAME", dimension_numbers=_NHWC, feature_group_count=x.shape[-1]
    )
    return add_bias(out, bias)


def channel_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies the channels `I` of each pixel by a matrix `I O`: a 1x1 convolution."""
    # As rows: in bfloat16, JAX 0.11 sums the kernel's gradient of `x @ kernel` in bfloat16 on CPUs.
    product = x.reshape(-1, x.shape[-1]) @ kernel
    return checkpoint_name(product.reshape(*x.shape[:-1], -1), PRODUCT)


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds `C` to each pixel of `B H W C`."""
    # Widened for the sake of the bias's gradient, a sum over all pixels.
    return (widen(x) + widen(bias)).astype(x.dtype)


class Moments(NamedTuple):
    """Mean and variance of a feature map `B H W C`, channel by channel; float32 or wider.

    Attributes:
      mean: `C`, of the whole batch.
      var: `C`, biased, of the whole batch.
    """

    mean: jax.Array
    var: jax.Array


def moments(x: jax.Array, axis_name: str | None = None) -> Moments:
    """Returns the moments of `B H W C`, of which each device on `axis_name` has an equal part."""

    def over_devices(value: jax.Array) -> jax.Array:
        return value if axis_name is None else lax.pmean(value, axis_name)

    x = widen(x)
    mean = over_devices(x.mean((0, 1, 2)))
    var = over_devices(jnp.square(x - mean).mean((0, 1, 2)))
    return Moments(*(checkpoint_name(a, "batch_statistics") for a in (mean, var)))


def normalize(x: jax.Array, centre: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Returns `(x - centre) * scale + shift`; scale and shift are `C`, or `B C` by image."""
    scale, shift = (jnp.atleast_2d(a)[:, None, None] for a in (scale, shift))
    return ((widen(x) - centre) * scale + shift).astype(x.dtype)


def attend(theta: jax.Array, phi: jax.Array, g: jax.Array) -> jax.Array:
    """Returns softmax(theta phi^T) g for `B N D` and twice `B M D` (LNLN paper, section 2.1).

    The embedded Gaussian of non-local networks (Wang et al., CVPR 2018), not scaled by 1/sqrt(D).
    """
    scores = jnp.einsum("bnd,bmd->bnm", widen(theta), widen(phi))  # log f, equation 2
    weights = jax.nn.softmax(scores, axis=-1)  # f / c, equation 3
    return jnp.einsum("bnm,bmd->bnd", weights.astype(g.dtype), g)  # y, equation 1
