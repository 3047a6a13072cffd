"""Convolutions, products over channels and biases, with gradient rules for CPUs.

Each function is the one of the same name in `kernels.reference`; `kernels.using` chooses. Arrays
are `B H W C`. The blocks of a residual group run inside `lax.scan`, so their parameters are slices
of stacked arrays. XLA's CPU compiler fuses such a slice into every loop that reads it and then
recomputes its address for each pixel, which makes the loop many times slower; its own gradient of a
depthwise convolution reads the image once per tap; and inside a scan it computes the gradients of
ordinary convolutions pixel by pixel. The rules below cure all of this:
`python -m scripts.benchmarks.kernels` measures what they are worth together.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from lnln_jax import kernels
from lnln_jax.kernels import reference
from lnln_jax.kernels.reductions import materialize, sum_of_pixels, sums_over_pixels
from lnln_jax.kernels.reference import widen


def _shifted(padded: jax.Array) -> list[jax.Array]:
    """Returns the nine views `B H W C` of an image with a border of one, row by row."""
    height, width = padded.shape[1] - 2, padded.shape[2] - 2
    return [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]


def _pad(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _correlate(x: jax.Array, taps: jax.Array, start: jax.Array) -> jax.Array:
    """Adds to `start` the sum over nine taps `9 C`, in float32; returns the dtype of `x`."""
    total = widen(start)
    for view, tap in zip(_shifted(_pad(x)), widen(taps), strict=True):
        total = total + widen(view) * tap
    return total.astype(x.dtype)


def conv(x: jax.Array, kernel: jax.Array, *, groups: int = 1, stride: int = 1) -> jax.Array:
    """Convolves with zero padding that keeps the size, or without padding at a stride above 1.

    Args:
      x: `B H W I`.
      kernel: `K K I/groups O`, K odd, the dtype of `x`.
      groups: number of groups of channels that see only themselves; tuned, each is a convolution
        of its own, since XLA's CPU compiler has no fast one for groups.
      stride: pixels from one window to the next; above 1 there is only the plain form.

    Returns:
      `B H W O`, the dtype of `x`; at a stride, fewer rows and columns.
    """
    if stride > 1 or not kernels.tuned():
        return reference.conv(x, kernel, groups=groups, stride=stride)
    if groups == 1:
        return _conv(x, kernel)
    pairs = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    return jnp.concatenate([_conv(part, taps) for part, taps in pairs], -1)


@jax.custom_vjp
def _conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return reference.conv(x, kernel)


def _conv_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _conv(x, kernel), (x, kernel)


def _conv_backward(
    saved: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Convolves in the order NHWC, the only one that XLA's CPU compiler is fast with in a loop."""

    def in_nhwc(x: jax.Array, kernel: jax.Array, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
        grad_x = reference.conv(grad, kernel[::-1, ::-1].swapaxes(2, 3))
        # The images are the channels, and the gradient is the kernel, of another convolution.
        taps = lax.conv_general_dilated(
            x.transpose(3, 1, 2, 0),
            grad.transpose(1, 2, 0, 3),
            (1, 1),
            [(kernel.shape[0] // 2,) * 2] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return grad_x, taps.transpose(1, 2, 0, 3)

    def by_jax(x: jax.Array, kernel: jax.Array, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(reference.conv, x, kernel)[1](grad)

    return lax.platform_dependent(*saved, grad, cpu=in_nhwc, default=by_jax)


_conv.defvjp(_conv_forward, _conv_backward)


def _grouped(x: jax.Array, taps: jax.Array, start: jax.Array) -> jax.Array:
    """Does what `_correlate` does, as a convolution with as many groups as channels."""
    return reference.depthwise_conv3x3(x, taps.reshape(3, 3, -1).astype(x.dtype), start)


# The ways to compute a depthwise convolution.
DEPTHWISE = {"shifted": _correlate, "grouped": _grouped}


def depthwise_conv3x3(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, implementation: str = "auto"
) -> jax.Array:
    """Convolves each channel with its own 3x3 kernel, with zero padding 1, and adds the bias.

    Args:
      x: `B H W C`, float32 or bfloat16.
      kernel: `3 3 C`, the dtype of `x`.
      bias: `C`, the dtype of `x`.
      implementation: "shifted", nine shifted multiply-adds with sums in float32; "grouped", a
        convolution of XLA with as many groups as channels; or "auto", which leaves it to
        `kernels.using`.

    Returns:
      `B H W C`, the dtype of `x`.

    Raises:
      ValueError: an unknown implementation.
    """
    if implementation == "auto":
        implementation = kernels.depthwise()
    if implementation not in DEPTHWISE:
        choices = ", ".join(("auto", *DEPTHWISE))
        raise ValueError(f"implementation is {implementation!r}; it must be one of {choices}")
    if not kernels.tuned():
        if implementation == "grouped":
            return reference.depthwise_conv3x3(x, kernel, bias)
        return _correlate(x, kernel.reshape(9, -1), bias)
    return _depthwise(x, kernel, bias, implementation)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _depthwise(x: jax.Array, kernel: jax.Array, bias: jax.Array, implementation: str) -> jax.Array:
    rows = materialize(jnp.concatenate([kernel.reshape(9, -1), bias[None]]))
    return DEPTHWISE[implementation](x, rows[:9], rows[9])


def _depthwise_forward(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, implementation: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _depthwise(x, kernel, bias, implementation), (x, kernel)


def _depthwise_backward(
    implementation: str, saved: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel = saved
    flipped = materialize(kernel.reshape(9, -1)[::-1])
    grad_x = DEPTHWISE[implementation](grad, flipped, jnp.zeros((), x.dtype))
    padded, grad = lax.optimization_barrier((_pad(x), grad))
    grad32 = widen(grad)
    products = [widen(view) * grad32 for view in _shifted(padded)]
    grad_kernel = jnp.stack(sums_over_pixels(products)).reshape(kernel.shape)
    grad_bias = sum_of_pixels(grad32)
    return grad_x, grad_kernel.astype(kernel.dtype), grad_bias.astype(kernel.dtype)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def channel_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies the channels of each pixel by a matrix: a 1x1 convolution without bias.

    Args:
      x: `B H W I`.
      kernel: `I O`, the dtype of `x`.

    Returns:
      `B H W O`, the dtype of `x`.
    """
    return _product(x, kernel) if kernels.tuned() else reference.channel_product(x, kernel)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _product_forward(x, kernel)[0]


_Product = tuple[jax.Array, jax.Array]


def _product_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, _Product]:
    # Named here: the policy of a rematerialisation does not look into a function with a rule.
    return checkpoint_name(jnp.dot(x, kernel), "product"), (x, kernel)


def _product_backward(saved: _Product, grad: jax.Array) -> _Product:
    x, kernel = saved
    # Without the barrier the loop that makes `grad` is fused, and run, once for each use.
    grad = lax.optimization_barrier(grad).reshape(-1, kernel.shape[1])
    rows = x.reshape(-1, kernel.shape[0])
    grad_x = jnp.dot(grad, kernel.T).reshape(x.shape)
    return grad_x, lax.dot_general(rows, grad, (((0,), (0,)), ((), ())))


_product.defvjp(_product_forward, _product_backward)


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds to each pixel of `B H W C` a bias `C` of the same dtype."""
    return _add_bias(x, bias) if kernels.tuned() else reference.add_bias(x, bias)


@jax.custom_vjp
def _add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    return x + materialize(bias[None])[0]


def _add_bias_forward(x: jax.Array, bias: jax.Array) -> tuple[jax.Array, None]:
    return _add_bias(x, bias), None


def _add_bias_backward(saved: None, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    grad = lax.optimization_barrier(grad)
    return grad, sum_of_pixels(widen(grad)).astype(grad.dtype)


_add_bias.defvjp(_add_bias_forward, _add_bias_backward)
