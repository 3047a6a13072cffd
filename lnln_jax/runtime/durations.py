"""Spans of time as people write them."""

import math
import re

_NUMBER = r"(\d+(?:\.\d*)?)"
_SPAN = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


def seconds_of(name: str, text: str) -> float:
    """Returns the seconds that a text such as "90s", "8m", "1h30m" or "90" spells.

    Raises:
      ValueError: it spells none, or 0; the message begins with `name`.
    """
    match = _SPAN.fullmatch(f"{text}s" if re.fullmatch(_NUMBER, text) else text)
    numbers = [float(number or 0) for number in match.groups()] if match else [0.0]
    total = sum(number * unit for number, unit in zip(numbers, (3600, 60, 1), strict=False))
    if not 0 < total < math.inf:
        raise ValueError(f"{name} is {text!r}; write a time such as 90s, 8m, 1h30m or 2h")
    return total
