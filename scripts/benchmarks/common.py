"""How the benchmarks take times: sides in turns, warm."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def in_turns(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, function in sides.items():
            start = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float], digits: int) -> str:
    """The median, and the range."""
    numbers = statistics.median(values), min(values), max(values)
    median, low, high = (f"{number:.{digits}f}" for number in numbers)
    return f"{median} ({low}-{high})"
