"""Exact attention in blocks of scores, with a gradient that makes them again.

The online softmax and the recomputing gradient of flash attention (Dao et al., NeurIPS 2022),
written with loops of matrix products that any device runs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lnln_jax.kernels.reference import widen


class Chunks(NamedTuple):
    """The blocks in which `attend_chunked` makes the scores.

    Attributes:
      elements: of the batch in a block, at least 1; the backward pass takes a quarter of them.
      queries: positions of a block that attend, at least 1.
      keys: positions of a block that are attended to, at least 1.
    """

    elements: int
    queries: int
    keys: int


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def attend_chunked(theta: jax.Array, phi: jax.Array, g: jax.Array, chunks: Chunks) -> jax.Array:
    """Computes `attention.attend_dense`, exactly, in memory that does not grow with N x M.

    The online softmax and the recomputing gradient of flash attention (Dao et al., NeurIPS 2022):
    for a chunk of queries, sums over the keys met so far are kept relative to the largest score met
    so far. The backward pass keeps the output and the logarithm of each query's sum, and makes the
    weights again block by block.

    Args:
      theta: `B N D` queries.
      phi: `B M D` keys.
      g: `B M D` values.
      chunks: the blocks; they change rounding and speed.

    Returns:
      `B N D` in the dtype of `g`; everything before is computed in float32.
    """
    return _chunked_forward(theta, phi, g, chunks)[0]


_Pair = tuple[jax.Array, jax.Array]
_Saved = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def _chunked_forward(
    theta: jax.Array, phi: jax.Array, g: jax.Array, chunks: Chunks
) -> tuple[jax.Array, _Saved]:
    out, log_sums = _over_batch(chunks.elements, partial(_forward, chunks), theta, phi, g)
    return out, (theta, phi, g, out, log_sums)


def _chunked_backward(
    chunks: Chunks, saved: _Saved, grad: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    # Four blocks are needed at once: weights and scores, and the gradients of both.
    elements = max(chunks.elements // 4, 1)
    return _over_batch(elements, partial(_backward, chunks), *saved, grad)


attend_chunked.defvjp(_chunked_forward, _chunked_backward)


def _over_batch(elements: int, function: Callable[..., Any], *arrays: jax.Array) -> Any:
    """Applies `function` to each element of the batch, so many at a time, and stacks that."""
    if len(arrays[0]) <= elements:
        return jax.vmap(function)(*arrays)
    return lax.map(lambda parts: function(*parts), arrays, batch_size=elements)


def _split(x: jax.Array, size: int, mode: str = "constant") -> jax.Array:
    """Pads `N ...` to a multiple of `size` and cuts it: `C size ...`, float32 or wider."""
    count = -(-len(x) // size)
    widths = [(0, count * size - len(x))] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(widen(x), widths, mode=mode).reshape(count, size, *x.shape[1:])


def _forward(chunks: Chunks, theta: jax.Array, phi: jax.Array, g: jax.Array) -> _Pair:
    """Returns output `N D` and logarithms of sums `N` of one element of the batch.

    Blocks are keys by queries, so what belongs to a query lies along the last axis. Padded keys
    repeat the last key, which leaves the maximum as it is; their values are zero, and so is their
    entry in the row of ones with which the product also sums the weights.
    """
    ones = jnp.ones((len(g), 1), g.dtype)
    values = _split(jnp.concatenate([g, ones], 1), chunks.keys).swapaxes(1, 2)
    keys = _split(phi, chunks.keys, "edge")

    def attend_from(queries: jax.Array) -> _Pair:
        def add(carry: _Pair, block: _Pair) -> tuple[_Pair, None]:
            largest, sums = carry
            scores = jnp.dot(block[0], queries.T)
            new = jnp.maximum(largest, scores.max(0))
            weights = jnp.exp(scores - new)
            return (new, sums * jnp.exp(largest - new) + jnp.dot(block[1], weights)), None

        start = (
            jnp.full(len(queries), -jnp.inf, queries.dtype),
            jnp.zeros((values.shape[1], len(queries)), queries.dtype),
        )
        (largest, sums), _ = lax.scan(add, start, (keys, values))
        return (sums[:-1] / sums[-1]).T.astype(g.dtype), largest + jnp.log(sums[-1])

    parts = lax.map(attend_from, _split(theta, chunks.queries))
    out, log_sums = (part.reshape(-1, *part.shape[2:])[: len(theta)] for part in parts)
    return out, log_sums


def _backward(
    chunks: Chunks,
    theta: jax.Array,
    phi: jax.Array,
    g: jax.Array,
    out: jax.Array,
    log_sums: jax.Array,
    grad: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients with respect to `theta`, `phi` and `g` of one element of the batch.

    Padded queries have no `grad` and add nothing. Padded keys repeat the last key where weights are
    made, since exp must not overflow, and are zero where they are added to a query's gradient.
    """
    shift = (widen(out) * widen(grad)).sum(1)
    # Padding a query with its own sum keeps exp in range too.
    queries = (
        _split(theta, chunks.queries, "edge"),
        _split(grad, chunks.queries),
        _split(log_sums, chunks.queries, "edge"),
        _split(shift, chunks.queries),
    )
    keys, values = _split(phi, chunks.keys, "edge"), _split(g, chunks.keys)
    keys_t = _split(phi, chunks.keys).swapaxes(1, 2)

    def back_from(grads_of_keys: _Pair, query: tuple[jax.Array, ...]) -> tuple[_Pair, jax.Array]:
        theta, grad, log_sums, shift = query

        def add(grad_theta: jax.Array, block: tuple[jax.Array, ...]) -> tuple[jax.Array, _Pair]:
            phi, phi_t, g, grad_phi, grad_g = block
            weights = jnp.exp(jnp.dot(phi, theta.T) - log_sums)
            grad_scores = weights * (jnp.dot(g, grad.T) - shift)
            grads = grad_phi + jnp.dot(grad_scores, theta), grad_g + jnp.dot(weights, grad)
            # Rows of keys on the left, as a transposed block there would take four times as long.
            return grad_theta + jnp.dot(phi_t, grad_scores), grads

        start = jnp.zeros(theta.shape[::-1], theta.dtype)
        grad_theta, grads = lax.scan(add, start, (keys, keys_t, values, *grads_of_keys))
        return grads, grad_theta.T

    grads, grad_theta = lax.scan(back_from, (jnp.zeros_like(keys), jnp.zeros_like(values)), queries)
    grad_theta, grad_phi, grad_g = (
        grad.reshape(-1, grad.shape[2])[: len(x)].astype(x.dtype)
        for grad, x in zip((grad_theta, *grads), (theta, phi, g), strict=True)
    )
    return grad_theta, grad_phi, grad_g
