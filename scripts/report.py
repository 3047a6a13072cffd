"""What the reports of these scripts share: the name of the processor, and Markdown tables."""

import platform
from collections.abc import Sequence
from pathlib import Path


def processor() -> str:
    """The model name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of which the first row is the head; without a line's end behind it."""
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *others])
