"""A random-number generator whose draws compile quickly, for initial weights.

XLA compiles each draw of JAX's own generator (Threefry, 20 rounds) anew, which for the hundreds of
parameters of a deep network takes most of the time that initialisation takes. This one hashes
the key and the position in 32-bit integers, four multiplications instead of 20 rounds: good enough
for weights, not for statistics or secrets.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import random as extend_random


def _hash(x: jax.Array) -> jax.Array:
    """Maps uint32 one to one; each input bit changes half of the output bits on average.

    Multipliers and shifts are those that C. Wellons' search found to have the lowest bias
    ("lowbias32", 2018).
    """
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def _child(key: jax.Array, index: Any) -> jax.Array:
    """Returns keys `... 2` for uint32 indices `...`."""
    salt = _hash(index + np.uint32(0x9E3779B9))
    return jnp.stack([_hash(key[0] ^ salt), _hash(key[1] + salt)], axis=-1)


def _seed(seed: jax.Array) -> jax.Array:
    return _child(jnp.zeros(2, jnp.uint32), lax.convert_element_type(seed, jnp.uint32))


def _positions(shape: tuple[int, ...]) -> jax.Array:
    return lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return _child(key, _positions(shape))


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    if bit_width != 32:
        raise ValueError(f"bit_width is {bit_width}; this generator draws 32 bits at a time")
    return _hash(_hash(_positions(shape) ^ key[0]) + key[1])


_IMPLEMENTATION = extend_random.define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_child,
    name="lnln_hash",
    tag="lnln",
)


def hash_key(seed: int) -> jax.Array:
    """Returns a key for `jax.random.uniform` and others in float32, and for `module.init`."""
    return jax.random.key(seed, impl=_IMPLEMENTATION)
