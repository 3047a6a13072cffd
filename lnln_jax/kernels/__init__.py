"""The arithmetic of the networks, and the switch between its plain definitions and tuned forms.

`kernels.reference` has the definitions, a few lines each, with JAX's own gradients. Tuned forms
stand in `kernels.convolution` and `kernels.normalization`; they compute the same values and
gradients and were measured to be twice as fast on CPUs (`python -m scripts.benchmarks.kernels`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import jax

Form = Literal["auto", "plain", "tuned"]
Depthwise = Literal["auto", "shifted", "grouped"]

# On a CPU grouped convolutions take ten times as long (`scripts.benchmarks.kernels --grouped`). On
# GPUs, where the two have not been compared, XLA can fuse the shifted products with what comes
# before and after them, unlike a call of cuDNN; a compiler for TPUs knows what to do with groups.
_BEST_DEPTHWISE = {"cpu": "shifted", "gpu": "shifted", "tpu": "grouped"}

_choice: ContextVar[tuple[Form, Depthwise]] = ContextVar("kernels", default=("auto", "auto"))


@contextmanager
def using(form: Form = "auto", *, depthwise: Depthwise = "auto") -> Iterator[None]:
    """Chooses the form of all kernels that are traced inside the block.

    It is read while a function is traced, so a jitted function keeps the form of its first call:
    make a new one for each form.

    Args:
      form: "plain", "tuned", or "auto": tuned on CPUs, plain on other devices, where the two
        have not been compared yet.
      depthwise: how depthwise convolutions that leave it open are computed
        (`depthwise_conv3x3`): "shifted", "grouped", or "auto", the best on JAX's device.

    Raises:
      ValueError: another form.
    """
    for name, value, known in (("form", form, Form), ("depthwise", depthwise, Depthwise)):
        if value not in get_args(known):
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(get_args(known))}")
    token = _choice.set((form, depthwise))
    try:
        yield
    finally:
        _choice.reset(token)


def tuned() -> bool:
    """Returns whether kernels that are traced now take their tuned form."""
    form, _ = _choice.get()
    return jax.default_backend() == "cpu" if form == "auto" else form == "tuned"


def depthwise() -> str:
    """Returns how depthwise convolutions that are traced now are computed, unless they say."""
    _, chosen = _choice.get()
    best = _BEST_DEPTHWISE.get(jax.default_backend(), "shifted")
    return best if chosen == "auto" else chosen
