"""What a compiled program sends between devices, read off its own text (HLO)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_OPERATION = re.compile(r"= (\(.*?\)|\S+) ([\w-]+)\(")
_ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|to_apply|calls)=%([\w.-]+)|branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Collective(NamedTuple):
    """An operation in which all devices take part.

    Attributes:
      kind: one of `KINDS`.
      bytes: of its result on each device.
      times: how often it runs in one call of the program.
    """

    kind: str
    bytes: int
    times: int


def collectives(hlo: str) -> list[Collective]:
    """Returns the collective operations of a program.

    Args:
      hlo: `jax.stages.Compiled.as_text()`.

    Raises:
      ValueError: one lies in a loop of which the compiler does not know how often it runs.
    """
    bodies: dict[str, list[str]] = {}
    entry = name = ""
    for line in hlo.splitlines():
        if match := _COMPUTATION.match(line):
            name = match[2]
            bodies[name] = []
            if match[1]:
                entry = name
        elif name:
            bodies[name].append(line)
    return list(_walk(bodies, entry, 1))


def _walk(bodies: dict[str, list[str]], name: str, times: int | None) -> Iterator[Collective]:
    for line in bodies[name]:
        match = _OPERATION.search(line)
        if match is None:
            continue
        shape, operation = match.groups()
        kind = operation.removesuffix("-start")
        if kind in KINDS:
            if times is None:
                raise ValueError(f"a loop of unknown length communicates: {line.strip()[:200]}")
            yield Collective(kind, _size(shape, started=operation.endswith("-start")), times)
            continue
        inside = times
        if operation == "while":
            trips = _TRIPS.search(line)
            inside = times * int(trips[1]) if times is not None and trips else None
        for called in _called(line):
            if called in bodies:
                yield from _walk(bodies, called, inside)


def _called(line: str) -> list[str]:
    """Returns the computations that an operation names."""
    groups = [one or several for one, several in _CALLED.findall(line)]
    return [name.strip(" %") for group in groups for name in group.split(",")]


def _size(shape: str, *, started: bool) -> int:
    total = 0
    for dtype, dimensions in _ARRAY.findall(shape):
        elements = 1
        for length in filter(None, dimensions.split(",")):
            elements *= int(length)
        total += elements * _BYTES.get(dtype, 1)
    return total // 2 if started and shape.startswith("(") else total
