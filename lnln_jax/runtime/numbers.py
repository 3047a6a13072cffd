"""Numbers as callers give them: Python's, NumPy's scalars, and arrays without axes.

What comes back is Python's own number, so that no function computes in the dtype of an argument.
"""

import math
import numbers
import operator
from fractions import Fraction
from typing import Any


def whole(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """Returns a whole number of any kind as an int.

    Args:
      name: name of the argument, for messages.
      value: an integer, or a float without a fraction such as 2.0: Python's, a NumPy scalar, or an
        array without axes of NumPy or JAX, if its value is known (not traced by `jax.jit`).
      least: smallest number that is taken, or None.
      most: largest number that is taken, or None.

    Raises:
      ValueError: another number, or none: a bool, None and text are not numbers.
    """
    wanted = f"a whole number{_range(least, most)}"
    number = _item(name, value, wanted)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    try:
        number = operator.index(number)
    except TypeError:
        raise _refusal(name, value, wanted) from None
    if (least is not None and number < least) or (most is not None and number > most):
        raise _refusal(name, value, wanted)
    return number


def real(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
) -> float:
    """Returns a finite number of any kind as a float.

    A scalar of a narrower dtype stands for the number that it was made of, as far as that shows:
    `np.float32(1 / 3)` is 1/3 and not 0.3333333432674408, and `np.float32(0.1234)` is 0.1234.

    Args:
      name: name of the argument, for messages.
      value: a number: Python's, a NumPy scalar, or an array without axes of NumPy or JAX, if its
        value is known (not traced by `jax.jit`).
      above: number that it must exceed, or None.
      least: smallest number that is taken, or None.
      most: largest number that is taken, or None.

    Raises:
      ValueError: another number, or none: NaN, a bool, None and text are not numbers.
    """
    wanted = "a number" + (f" above {above}" if above is not None else _range(least, most))
    number = _item(name, value, wanted)
    if not isinstance(number, numbers.Real):
        raise _refusal(name, value, wanted)
    try:
        number = float(number)
    except OverflowError:
        raise _refusal(name, value, wanted) from None
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (least is not None and number < least)
        or (most is not None and number > most)
    ):
        raise _refusal(name, value, wanted)
    return _widened(value, number)


def finite_or_none(value: Any) -> Any:
    """Returns None for NaN and infinity, for which JSON has no numbers; all else as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """Returns the Python number of a NumPy scalar or an array without axes; all else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _item(name: str, value: Any, wanted: str) -> Any:
    """Returns what a scalar or an array without axes holds, as Python's."""
    try:
        number = plain(value)
    except TypeError as error:  # JAX's, which knows no value while it traces
        raise ValueError(
            f"{name} is {value}, which has no value yet; it must be {wanted} that is known before "
            "compiling (static_argnames)"
        ) from error
    if isinstance(number, bool):
        raise _refusal(name, value, wanted)
    return number


def _widened(value: Any, number: float) -> float:
    """Returns the number that a scalar of less than 64 bits was probably made of."""
    dtype: Any = getattr(value, "dtype", None)
    if not hasattr(dtype, "type") or dtype.kind in "iu" or dtype.itemsize >= 8:
        return number
    scalar = dtype.type
    # A dtype of so few digits tells fractions with such denominators apart.
    fraction = float(Fraction(number).limit_denominator(10 ** (dtype.itemsize - 1)))
    candidates = (fraction, float(str(scalar(number))))
    return next((x for x in candidates if float(scalar(x)) == number), number)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if least is not None:
        return f" of at least {least}"
    return "" if most is None else f" of at most {most}"


def _refusal(name: str, value: Any, wanted: str) -> ValueError:
    return ValueError(f"{name} is {value!r}; it must be {wanted}")
