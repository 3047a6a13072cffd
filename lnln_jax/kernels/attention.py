"""Region non-local attention: one interface, implementations for every size.

Equations 1 to 3 of the LNLN paper (Wang et al., ICASSP 2021): embedded-Gaussian non-local means
(Wang et al., CVPR 2018) without the 1/sqrt(d) scaling, within each quarter of the feature map.

| implementation | memory | where it runs |
| --- | --- | --- |
| "dense" | all scores, N x M | everywhere |
| "chunked" | a block of scores | everywhere; differentiable in reverse mode only |
| "cudnn" | inside the kernel | NVIDIA GPUs, bfloat16 or float16 |
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lnln_jax.kernels.chunked_attention import Chunks, attend_chunked

Implementation = Literal["auto", "dense", "chunked", "cudnn"]
IMPLEMENTATIONS: tuple[str, ...] = get_args(Implementation)

# "auto" is dense on CPU while all scores stay in the caches (12 MiB of float32) and a chunk would
# be too short to be fast; both bounds are measured (scripts/benchmarks/attention.py).
CPU_DENSE_POSITIONS = 768
CPU_DENSE_ELEMENTS = 3 << 20
# "auto" is dense on other devices up to this many positions.
DENSE_POSITIONS = 4096
# The elements of a block of scores on CPU (8 MiB of float32), and the most of its sides.
CPU_BLOCK_ELEMENTS = 2 << 20
CPU_QUERIES, CPU_KEYS = 1024, 2048
# On other devices a block holds at most 32 Mi elements (128 MiB of float32).
BLOCK_ELEMENTS = 1 << 25
# Chunks are multiples of this (or the whole length), which matrix products like.
_ALIGNMENT = 16


def check_implementation(
    implementation: str, dtype: DTypeLike, *, argument: str = "implementation"
) -> None:
    """Raises ValueError if `implementation` is unknown, or does not run with `dtype` here.

    The message calls it `argument`.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"{argument} is {implementation!r}; it must be one of {', '.join(IMPLEMENTATIONS)}"
        )
    if implementation != "cudnn":
        return
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
        raise ValueError(
            f'{argument} is "cudnn", which computes in bfloat16, but the dtype is '
            f"{jnp.dtype(dtype)}; choose dtype bfloat16, or {argument} auto"
        )
    if jax.default_backend() != "gpu":
        raise ValueError(
            f'{argument} is "cudnn", which needs an NVIDIA GPU, but JAX runs on '
            f"{jax.default_backend()}; choose {argument} auto"
        )


def attend_dense(theta: jax.Array, phi: jax.Array, g: jax.Array) -> jax.Array:
    """Computes `reference.attend` with products in the dtype of the arrays, all scores in memory.

    Args:
      theta: `B N D` queries.
      phi: `B M D` keys.
      g: `B M D` values.

    Returns:
      `B N D` in the dtype of `g`; scores and softmax are computed in float32.
    """
    wide = jnp.float32 if g.dtype.itemsize < 4 else g.dtype
    scores = jnp.einsum("bnd,bmd->bnm", theta, phi, preferred_element_type=wide)
    weights = jax.nn.softmax(scores, axis=-1).astype(g.dtype)
    return jnp.einsum("bnm,bmd->bnd", weights, g)


def _even(length: int, limit: int, multiple: int = 1) -> int:
    """Returns the size, at most `limit`, of even parts of `length`: all of it, or multiples."""
    count = -(-length // limit)
    return length if count == 1 else -(-length // (count * multiple)) * multiple


def choose_chunks(batch: int, queries: int, keys: int) -> Chunks:
    """Chooses the chunks for so many elements of a batch and positions on JAX's default device."""
    if jax.default_backend() == "cpu":
        block, longest = CPU_BLOCK_ELEMENTS, (CPU_QUERIES, CPU_KEYS)
    else:
        block, longest = BLOCK_ELEMENTS, (DENSE_POSITIONS, DENSE_POSITIONS)
    queries, keys = (
        _even(n, limit, _ALIGNMENT) for n, limit in zip((queries, keys), longest, strict=True)
    )
    return Chunks(_even(batch, max(block // (queries * keys), 1)), queries, keys)


def _dense_pays(batch: int, queries: int, keys: int) -> bool:
    """Returns whether dense attention is the faster one on JAX's default device, and small."""
    if jax.default_backend() != "cpu":
        return queries <= DENSE_POSITIONS
    return queries <= CPU_DENSE_POSITIONS and batch * queries * keys <= CPU_DENSE_ELEMENTS


def attend_cudnn(theta: jax.Array, phi: jax.Array, g: jax.Array) -> jax.Array:
    """Computes `attend_dense` by the fused attention of NVIDIA's cuDNN.

    Args:
      theta: `B N D` queries, bfloat16 or float16; D a multiple of 8.
      phi: `B M D` keys, the same dtype.
      g: `B M D` values, the same dtype.

    Returns:
      `B N D` in the dtype of `g`; cuDNN computes scores and sums in float32.

    Raises:
      ValueError: another dtype or depth, or JAX does not run on a GPU.
    """
    check_implementation("cudnn", g.dtype)
    if g.shape[2] % 8:
        raise ValueError(
            f"theta, phi and g have {g.shape[2]} channels, and cuDNN takes multiples of 8; "
            'choose implementation "auto"'
        )
    one_head = (part[:, :, None] for part in (theta, phi, g))
    with jax.numpy_dtype_promotion("standard"):  # JAX's own code mixes dtypes
        out = jax.nn.dot_product_attention(*one_head, scale=1.0, implementation="cudnn")
    return out[:, :, 0]


def attend(
    theta: jax.Array, phi: jax.Array, g: jax.Array, *, implementation: str = "auto"
) -> jax.Array:
    """Returns softmax(theta phi^T) g, equations 1 to 3 of the LNLN paper.

    Args:
      theta: `B N D` queries.
      phi: `B M D` keys.
      g: `B M D` values.
      implementation: "dense", "chunked" or "cudnn" (see the top of this file), or "auto": dense
        where that is the fastest and its scores are small, else chunked.

    Returns:
      `B N D` in the dtype of `g`.

    Raises:
      ValueError: `implementation` is unknown, or does not run with these arrays on this device.
    """
    check_implementation(implementation, g.dtype)
    sizes = theta.shape[0], theta.shape[1], phi.shape[1]
    if implementation == "auto":
        implementation = "dense" if _dense_pays(*sizes) else "chunked"
    if implementation == "dense":
        return attend_dense(theta, phi, g)
    if implementation == "cudnn":
        return attend_cudnn(theta, phi, g)
    return attend_chunked(theta, phi, g, choose_chunks(*sizes))


def region_attention(
    theta: jax.Array,
    phi: jax.Array,
    g: jax.Array,
    *,
    pool: int = 1,
    implementation: str = "auto",
) -> jax.Array:
    """Attends within each of the four quarters of a feature map and puts the results back.

    The map is cut at `H // 2` and `W // 2`, so the top and left quarters take the floor of odd
    sizes (as in SAN, Dai et al., CVPR 2019).

    Args:
      theta: `B H W D` queries.
      phi: `B H W D` keys.
      g: `B H W D` values.
      pool: side of the squares of a quarter of which keys and values are the maximum; what is left
        over at its bottom and right is none's.
      implementation: as `attend` takes it.

    Returns:
      `B H W D` in the dtype of `g`.

    Raises:
      ValueError: The height or width is smaller than 2 `pool`, so that a quarter would be empty, or
        `implementation` is not for these arrays or this device.
    """
    height, width = theta.shape[1:3]
    if min(height, width) < (least := 2 * pool):
        raise ValueError(
            f"the image is {height}x{width} pixels; region non-local attention cuts it in four, "
            f"so give it at least {least}x{least} pixels"
        )

    def attend_within(theta: jax.Array, phi: jax.Array, g: jax.Array) -> jax.Array:
        parts = theta, _max_pool(phi, pool), _max_pool(g, pool)
        flat = [part.reshape(part.shape[0], -1, part.shape[3]) for part in parts]
        return attend(*flat, implementation=implementation).reshape(*theta.shape[:3], g.shape[3])

    if height % 2 == width % 2 == 0:  # quarters of one size are one batch
        return _unstack_quarters(attend_within(*map(_stack_quarters, (theta, phi, g))))

    def quarter(rows: slice, columns: slice) -> jax.Array:
        return attend_within(*(part[:, rows, columns] for part in (theta, phi, g)))

    half_rows = slice(None, height // 2), slice(height // 2, None)
    half_columns = slice(None, width // 2), slice(width // 2, None)
    return jnp.concatenate(
        [
            jnp.concatenate([quarter(rows, columns) for columns in half_columns], axis=2)
            for rows in half_rows
        ],
        axis=1,
    )


def _max_pool(x: jax.Array, size: int) -> jax.Array:
    """Returns the largest numbers of squares, `B H//size W//size D` of `B H W D`."""
    if size == 1:
        return x
    batch, height, width, depth = x.shape
    rows, columns = height // size, width // size
    x = x[:, : rows * size, : columns * size]
    return x.reshape(batch, rows, size, columns, size, depth).max((2, 4))


def _stack_quarters(x: jax.Array) -> jax.Array:
    """Rearranges `B H W D` to `B*4 H/2 W/2 D`."""
    batch, height, width, depth = x.shape
    x = x.reshape(batch, 2, height // 2, 2, width // 2, depth).swapaxes(2, 3)
    return x.reshape(batch * 4, height // 2, width // 2, depth)


def _unstack_quarters(x: jax.Array) -> jax.Array:
    """Undoes `_stack_quarters`."""
    quarters, height, width, depth = x.shape
    x = x.reshape(quarters // 4, 2, 2, height, width, depth).swapaxes(2, 3)
    return x.reshape(quarters // 4, 2 * height, 2 * width, depth)
