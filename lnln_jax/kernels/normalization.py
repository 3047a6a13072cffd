"""Moments and normalisation, with gradient rules for CPUs.

Both are the functions of the same name in `kernels.reference`; `kernels.using` chooses. A batch
normalisation is `moments`, which reads a feature map once, and `normalize`, a multiply-add per
pixel, which also scales channels for channel attention. What lies between them works on vectors as
long as the channels are many, and is left to JAX's own gradients.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from lnln_jax import kernels
from lnln_jax.kernels import reference
from lnln_jax.kernels.reductions import ROWS, materialize, sums_over_pixels, sums_over_rows
from lnln_jax.kernels.reference import Moments, widen


def moments(x: jax.Array, axis_name: str | None = None) -> Moments:
    """Returns mean and variance of the batch, for each channel.

    Args:
      x: `B H W C`, float32 or bfloat16.
      axis_name: of the devices (under `jax.shard_map` or `jax.pmap`) that have the parts of the
        batch, all of one size; None: `x` is all of it.
    """
    return _moments(x, axis_name) if kernels.tuned() else reference.moments(x, axis_name)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _moments(x: jax.Array, axis_name: str | None) -> Moments:
    return _moments_forward(x, axis_name)[0]


def _moments_forward(
    x: jax.Array, axis_name: str | None
) -> tuple[Moments, tuple[jax.Array, jax.Array]]:
    """Computes by the law of total variance over groups of rows: only small numbers are squared.

    One pass over the image adds up, for each column of a group, the differences from its first row
    and their squares. What is left to do has the size of one row of each group.
    """
    batch, height, width, channels = x.shape
    rows = max(n for n in range(1, ROWS + 1) if height % n == 0)
    groups = widen(x).reshape(batch, height // rows, rows, width, channels)
    first = groups[:, :, 0]
    difference = groups - first[:, :, None]
    sums = sums_over_rows([difference, difference * difference])
    mean, square = (total / rows for total in sums)
    inside = (square - mean * mean).mean((0, 1, 2))
    mean = lax.optimization_barrier(first + mean)
    centre = _mean_over(axis_name, mean.mean((1, 2)).mean(0))  # in two steps, which round less
    centre = checkpoint_name(centre, "batch_statistics")
    var = _mean_over(axis_name, inside + jnp.square(mean - centre).mean((0, 1, 2)))
    return Moments(centre, checkpoint_name(var, "batch_statistics")), (x, centre)


def _moments_backward(
    axis_name: str | None, saved: tuple[jax.Array, jax.Array], grads: Moments
) -> tuple[jax.Array]:
    x, centre = saved
    pixels = x.size // x.shape[-1]
    # Every device's loss depends on the statistics of all: their gradients are summed, and the
    # share of one of n devices in a mean is 1 / n.
    grad_mean, grad_var = _mean_over(axis_name, jnp.stack(grads)) / pixels
    rows = materialize(jnp.stack([2 * grad_var, grad_mean - 2 * grad_var * centre]))
    return ((widen(x) * rows[0] + rows[1]).astype(x.dtype),)


def _mean_over(axis_name: str | None, x: jax.Array) -> jax.Array:
    return x if axis_name is None else lax.pmean(x, axis_name)


_moments.defvjp(_moments_forward, _moments_backward)


def normalize(x: jax.Array, centre: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Returns `(x - centre) * scale + shift`, channel by channel.

    Args:
      x: `B H W C`, float32 or bfloat16.
      centre: `C`, float32.
      scale: `C`, or `B C` for a scale of each image; float32.
      shift: as `scale`.

    Returns:
      `B H W C` in the dtype of `x`, computed in float32.
    """
    form = _normalize if kernels.tuned() else reference.normalize
    return form(x, centre, scale, shift)


def scale_channels(x: jax.Array, factors: jax.Array) -> jax.Array:
    """Multiplies each channel of `B H W C` by a factor `B C`, float32, of its image.

    It is a normalisation that only scales. A rule of its own, with one sum instead of two, was 3 %
    slower (docs/benchmarks.md, "Log").
    """
    zeros = jnp.zeros(x.shape[-1], factors.dtype)
    return normalize(x, zeros, factors, jnp.zeros_like(factors))


@jax.custom_vjp
def _normalize(x: jax.Array, centre: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    scale, shift = jnp.atleast_2d(scale), jnp.atleast_2d(shift)
    rows = materialize(jnp.concatenate([scale, shift - centre * scale]))[:, None, None]
    return (widen(x) * rows[: len(scale)] + rows[len(scale) :]).astype(x.dtype)


_Saved = tuple[jax.Array, jax.Array, jax.Array]


def _normalize_forward(
    x: jax.Array, centre: jax.Array, scale: jax.Array, shift: jax.Array
) -> tuple[jax.Array, _Saved]:
    return _normalize(x, centre, scale, shift), (x, centre, scale)


def _normalize_backward(
    saved: _Saved, grad: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    x, centre, scale = saved
    # Without the barrier the loop that makes `grad` is fused, and run, once for each use.
    grad32 = widen(lax.optimization_barrier(grad))
    rows = materialize(jnp.concatenate([centre[None], jnp.atleast_2d(scale)]))
    grad_shift, grad_scale = sums_over_pixels(
        [grad32, grad32 * (widen(x) - rows[0])], by_image=True
    )
    if scale.ndim == 1:
        grad_shift, grad_scale = grad_shift.sum(0), grad_scale.sum(0)
    grad_centre = jnp.atleast_2d(-scale * grad_shift).sum(0)
    grad_x = grad32 * rows[1:, None, None]
    return grad_x.astype(x.dtype), grad_centre, grad_scale, grad_shift


_normalize.defvjp(_normalize_forward, _normalize_backward)
