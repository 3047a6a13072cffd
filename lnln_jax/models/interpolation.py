"""Bilinear interpolation as PyTorch's: half-pixel centres, edges repeated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lnln_jax.kernels.reference import widen


def bilinear_resize(x: jax.Array, height: int, width: int) -> jax.Array:
    """Interpolates `B H W C` bilinearly, without a filter against aliasing, in float32 or wider.

    As `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`, and as
    `jax.image.resize` up to rounding, which takes products with matrices of whole sides for it.

    Returns:
      `B height width C`, of the dtype of `x`.
    """
    return _resize_axis(_resize_axis(widen(x), 1, height), 2, width).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _resize_axis(x: jax.Array, axis: int, size: int) -> jax.Array:
    """Resizes an axis of `B H W C`: each output lies between two neighbours."""
    lower, upper, weight = _neighbours(x.shape[axis], size)
    others = [i for i in range(4) if i != axis]
    share = jnp.expand_dims(jnp.asarray(weight, x.dtype), others)
    first, second = (jnp.take(x, index, axis, mode="clip") for index in (lower, upper))
    return first * (1 - share) + second * share


def _neighbours(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the lower and the upper neighbour of each output, and the upper one's weight."""
    position = ((np.arange(size) + 0.5) * length / size - 0.5).clip(0, length - 1)
    lower = position.astype(int)
    return lower, (lower + 1).clip(max=length - 1), position - lower


def _forward(x: jax.Array, axis: int, size: int) -> tuple[jax.Array, int]:
    return _resize_axis(x, axis, size), x.shape[axis]


def _backward(axis: int, size: int, length: int, grad: jax.Array) -> tuple[jax.Array]:
    """Multiplies by a matrix; JAX's own rule adds pixel by pixel, on GPUs in any order."""
    lower, upper, weight = _neighbours(length, size)
    matrix = np.zeros((length, size))
    matrix[lower, np.arange(size)] = 1 - weight
    matrix[upper, np.arange(size)] += weight
    product = jnp.tensordot(jnp.asarray(matrix, grad.dtype), grad, (1, axis))
    return (jnp.moveaxis(product, 0, axis),)


_resize_axis.defvjp(_forward, _backward)
