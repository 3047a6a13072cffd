"""Which form of the kernels the networks are traced with: the plain definitions, or tuned ones.

`lnln_jax.kernels.reference` has the definitions, a few lines each, with JAX's own gradients. Tuned
forms stand in `lnln_jax.ops` and `lnln_jax.normalization`; they compute the same values and
gradients and were measured to be faster on CPUs (`scripts/benchmark_layout.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import jax

Form = Literal["auto", "plain", "tuned"]

_form: ContextVar[Form] = ContextVar("form of the kernels", default="auto")


@contextmanager
def using(form: Form) -> Iterator[None]:
    """Chooses the form of all kernels that are traced inside the block.

    It is read while a function is traced, so a jitted function keeps the form of its first call:
    make a new one for each form.

    Args:
      form: "plain", "tuned", or "auto": tuned on CPUs, plain on other devices, for which nothing
        has been measured yet.

    Raises:
      ValueError: another form.
    """
    if form not in get_args(Form):
        raise ValueError(f"form is {form!r}; it must be one of {', '.join(get_args(Form))}")
    token = _form.set(form)
    try:
        yield
    finally:
        _form.reset(token)


def tuned() -> bool:
    """Returns whether kernels that are traced now take their tuned form."""
    form = _form.get()
    return jax.default_backend() == "cpu" if form == "auto" else form == "tuned"
