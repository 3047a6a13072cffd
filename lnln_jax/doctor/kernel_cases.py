"""The kernels that are compared with their definitions, in all implementations that run here."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.backend import get_backend

from lnln_jax import kernels
from lnln_jax.kernels import attention, convolution, normalization, reference
from lnln_jax.kernels.chunked_attention import Chunks, attend_chunked

Function = Callable[..., Any]


class Kernel(NamedTuple):
    """A kernel to compare.

    Attributes:
      definition: plain definition.
      implementations: implementations by name, each with the form of the kernels to trace it in.
      arrays: arguments by name, float32.
      wide: names of arguments that stay float32 where others are bfloat16.
      results: names of the results.
    """

    definition: Function
    implementations: dict[str, tuple[kernels.Form, Function]]
    arrays: dict[str, np.ndarray]
    wide: tuple[str, ...] = ()
    results: tuple[str, ...] = ("value",)


def all_kernels(rng: np.random.Generator) -> dict[str, Kernel]:
    """Returns all kernels by name, with arguments that are drawn anew."""

    def draw(*shape: int, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
        return rng.normal(mean, std, shape).astype(np.float32)

    def forms(function: Function, **options: str) -> dict[str, tuple[kernels.Form, Function]]:
        return {form: (form, partial(function, **options)) for form in ("plain", "tuned")}

    def x() -> np.ndarray:
        return draw(2, 24, 20, 32, mean=0.5)

    depthwise = {
        f"{form} {name}": case
        for name in convolution.DEPTHWISE
        for form, case in forms(convolution.depthwise_conv3x3, implementation=name).items()
    }
    # Scores of a few units: neither all keys nor a single one for each query.
    sequences = {key: draw(2, 192, 32, std=0.5) for key in ("theta", "phi", "g")}
    return {
        "conv": Kernel(
            reference.conv,
            forms(convolution.conv),
            {"x": x(), "kernel": draw(3, 3, 32, 24, std=0.06)},
        ),
        "depthwise_conv3x3": Kernel(
            reference.depthwise_conv3x3,
            depthwise,
            {"x": x(), "kernel": draw(3, 3, 32, std=0.3), "bias": draw(32)},
        ),
        "channel_product": Kernel(
            reference.channel_product,
            forms(convolution.channel_product),
            {"x": x(), "kernel": draw(32, 24, std=0.2)},
        ),
        "add_bias": Kernel(
            reference.add_bias, forms(convolution.add_bias), {"x": x(), "bias": draw(32)}
        ),
        "moments": Kernel(
            reference.moments,
            forms(normalization.moments),
            {"x": x()},
            results=("mean", "var"),
        ),
        "normalize": Kernel(
            reference.normalize,
            forms(normalization.normalize),
            {"x": x(), "centre": draw(32), "scale": draw(32), "shift": draw(32)},
            wide=("centre", "scale", "shift"),
        ),
        "normalize by image": Kernel(
            reference.normalize,
            forms(normalization.normalize),
            {"x": x(), "centre": draw(32), "scale": draw(2, 32), "shift": draw(2, 32)},
            wide=("centre", "scale", "shift"),
        ),
        "attention": Kernel(reference.attend, _attentions(), sequences),
    }


def _attentions() -> dict[str, tuple[kernels.Form, Function]]:
    """Returns those that run on this device, whatever `auto` would choose, with several chunks."""
    found: dict[str, tuple[kernels.Form, Function]] = {
        "dense": ("auto", attention.attend_dense),
        "chunked": ("auto", partial(attend_chunked, chunks=Chunks(1, 80, 64))),
    }
    if jax.default_backend() == "gpu" and "cuda" in get_backend().platform_version.lower():
        found["cudnn"] = ("auto", attention.attend_cudnn)
    return found
