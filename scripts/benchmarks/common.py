"""Clocks, the machine in words, options, and reports: what the benchmarks share."""

import ast
import datetime
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from lnln_jax.doctor.machine import processor
from lnln_jax.runtime.files import write_file
from lnln_jax.runtime.processes import usable_cores

QUIET = 0.1  # cores that other processes may keep busy while a time is taken

Result = TypeVar("Result")


# ---- times ----


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """Returns what a function returns, and its seconds; it has to wait for its result itself."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def in_turns(
    sides: Mapping[str, Callable[[], Any]], rounds: int, *, calls: int = 1
) -> dict[str, list[float]]:
    """Measures sides in turns, after a round that does not count.

    Args:
      sides: functions by name, which wait for their results.
      rounds: number of rounds that count.
      calls: calls of a side in a row, of which the last counts: the first may pay for memory that
        another side has given back.

    Returns:
      The seconds of each side in each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, function in sides.items():
            taken = [timed(function)[1] for _ in range(calls)]
            if number:
                seconds[name].append(taken[-1])
    return seconds


def spread(values: Sequence[float], digits: int) -> str:
    """Returns the median and the range of values, as in "2.0 (1.5-2.5)"."""
    numbers = statistics.median(values), min(values), max(values)
    median, low, high = (f"{number:.{digits}f}" for number in numbers)
    return f"{median} ({low}-{high})"


def watch_others(own: Callable[[], float] = time.process_time) -> Callable[[], float]:
    """Starts to watch what else keeps the machine busy; needs Linux.

    Args:
      own: function that returns the CPU seconds that do not count as those of others.

    Returns:
      A function that returns how many cores other processes have kept busy since, on average.
    """
    start, machine, ours = time.perf_counter(), _busy_seconds(), own()

    def cores_busy_elsewhere() -> float:
        others = _busy_seconds() - machine - (own() - ours)
        return max(0.0, others) / (time.perf_counter() - start)

    return cores_busy_elsewhere


def _busy_seconds() -> float:
    """Returns the CPU time that the whole machine has spent."""
    user, nice, system, _, _, *rest = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) / os.sysconf("SC_CLK_TCK")


# ---- the machine, the command and its options ----


def describe_machine(*packages: str) -> dict[str, str]:
    """Returns processor, cores, and the versions of Python and of those packages that are there."""
    installed = {package.name for package in metadata.distributions()}
    return {
        "processor": processor(),
        "cores": str(usable_cores()),
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in packages if name in installed},
    }


def in_words(machine: Mapping[str, str]) -> str:
    """Returns what `describe_machine` returns on one line."""
    return ", ".join(f"{key} {value}" for key, value in machine.items())


def describe_call(module: str) -> dict[str, str]:
    """Returns the command that has started this module, and the date."""
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    return {"command": command, "date": datetime.date.today().isoformat()}


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Returns the hyper-parameters that texts such as "n_resblocks=4" set.

    Raises:
      ValueError: a text that sets nothing.
    """
    options = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"{text}: write a hyper-parameter as n_resblocks=4")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return options


# ---- reports ----


def markdown_row(cells: Sequence[str]) -> str:
    """Returns a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of which the first row is the head; without a line's end behind it."""
    head, *others = rows
    return "\n".join(map(markdown_row, [head, ["---"] * len(head), *others]))


def write_report(folder: Path, name: str, results: Mapping[str, Any], text: str) -> None:
    """Writes NAME.json, with every measurement, and NAME.md into a folder, which it makes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"{name}.json", (json.dumps(results, indent=1) + "\n").encode())
    write_file(folder / f"{name}.md", text.encode())
