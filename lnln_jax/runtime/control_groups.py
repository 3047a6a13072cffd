"""What Linux's control groups, of which containers are made, leave to this process.

Both versions are read: version 1 has a tree of groups for each resource, version 2 one for all. A
limit of any group around this process holds, so the smallest counts. Elsewhere there are none.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")


class MemoryLimit(NamedTuple):
    """Bytes that a group may take, and those that it has taken and would not give back."""

    limit: int
    used: int


def memory_limits(root: Path = ROOT) -> list[MemoryLimit]:
    """Returns the limits of the groups around this process, below the folder that has `proc`."""
    limits = []
    for group in _groups("memory", root):
        if (group / "memory.current").exists():  # version 2
            sizes = [_number(group / name) for name in ("memory.max", "memory.high")]
            used, cache = _number(group / "memory.current"), _stat(group, "inactive_file")
        else:
            sizes = [_number(group / "memory.limit_in_bytes")]
            sizes.append(_stat(group, "hierarchical_memory_limit"))  # of groups that are not seen
            used, cache = (
                _number(group / "memory.usage_in_bytes"),
                _stat(group, "total_inactive_file"),
            )
        there = [size for size in sizes if size is not None]
        if there:
            limits.append(MemoryLimit(min(there), max(0, (used or 0) - (cache or 0))))
    return limits


def core_limit(root: Path = ROOT) -> float | None:
    """Returns the cores whose time the groups around this process may take; None for no limit."""
    quotas = []
    for group in _groups("cpu", root):
        if (group / "cpu.max").exists():  # version 2; the outermost group has none
            quota, period = [*_words(group / "cpu.max"), "", ""][:2]
        else:
            quota, period = (
                " ".join(_words(group / f"cpu.cfs_{name}_us")) for name in ("quota", "period")
            )
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _groups(resource: str, root: Path) -> Iterator[Path]:
    """Yields the folders of the groups around this process that may limit a resource."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and resource not in controllers.split(","):
            continue
        for mounted, place in _mounts(resource if controllers else "", root):
            inside = PurePosixPath(path)
            # A container may see the group's folder without those above it.
            parts = inside.relative_to(mounted).parts if inside.is_relative_to(mounted) else ()
            if ".." in parts:
                parts = ()
            for depth in range(len(parts), -1, -1):
                if (folder := place.joinpath(*parts[:depth])).is_dir():
                    yield folder


def _mounts(controller: str, root: Path) -> Iterator[tuple[str, Path]]:
    """Yields where the groups of a controller, or of version 2 for "", are, and which is on top."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), [*after.split(), "", "", ""][:3]
        wanted = (
            kind == "cgroup" and controller in options.split(",")
            if controller
            else kind == "cgroup2"
        )
        if wanted and len(fields) > 4:
            mounted, place = (
                re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)
                for field in fields[3:5]
            )
            yield mounted, root / place.lstrip("/")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _number(path: Path) -> int | None:
    """Returns the number in a file; None where there is none, or "max"."""
    words = _words(path)
    return int(words[0]) if words and words[0].isdecimal() else None


def _stat(group: Path, name: str) -> int | None:
    """Returns a line of a group's `memory.stat`."""
    rows = (line.split() for line in _lines(group / "memory.stat"))
    return next((int(row[1]) for row in rows if row[:1] == [name] and row[1].isdecimal()), None)
