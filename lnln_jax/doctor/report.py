"""The report of an examination, to read and as JSON."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from lnln_jax.doctor.deviations import KERNEL_BOUNDS, Deviation
from lnln_jax.doctor.examination import Report
from lnln_jax.doctor.speed import NetworkSpeed, Spread
from lnln_jax.runtime.extras import install
from lnln_jax.runtime.numbers import finite_or_none


def format_part(part: str, report: Report) -> str:
    """Returns a part of the report: "machine", "deviations", "speed" or "advice"."""
    lines = {
        "machine": _machine,
        "deviations": _deviations,
        "speed": _speed,
        "advice": _advice,
    }[part](report)
    return "\n".join([part.capitalize(), *(f"  {line}".rstrip() for line in lines), ""])


def verdict(report: Report) -> str:
    """Returns the last line of the report."""
    if report.sound:
        return "This machine is sound."
    rows = [*report.kernels, *report.networks]
    broken = sum(not row.sound for row in rows)
    problems = [
        *([f"{broken} of {len(rows)} deviations are out of bounds"] if broken else []),
        *(f"{part} failed" for part in report.failures),
        *(["JAX cannot use the accelerator"] if report.finding and report.finding.broken else []),
    ]
    return f"This machine is NOT sound: {', '.join(problems)}."


def to_json(report: Report) -> str:
    """Returns the whole report as JSON; a number that is not finite is null."""
    tree = {"sound": report.sound} | {
        field.name: _tree(getattr(report, field.name)) for field in dataclasses.fields(report)
    }
    for name in ("kernels", "networks"):
        for row, deviation in zip(tree[name], getattr(report, name), strict=True):
            row["sound"] = deviation.sound
    return json.dumps(tree, indent=1, allow_nan=False)


def _tree(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: _tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(item) for item in value]
    return finite_or_none(value)


def _machine(report: Report) -> Iterator[str]:
    seen, backend, nvidia = report.machine, report.backend, report.backend.nvidia
    yield ", ".join(f"{name} {version or 'missing'}" for name, version in seen.versions.items())
    memory = ""
    if seen.memory_bytes and seen.free_bytes:
        free = f"{seen.free_bytes / 2**30:.1f} GiB free"
        memory = f", {seen.memory_bytes / 2**30:.1f} GiB of memory, {free}"
    yield f"{seen.system}, {seen.processor}, {seen.cores} cores{memory}"
    if nvidia.driver:
        cards = ", ".join(
            f"{gpu.name} ({gpu.memory_bytes / 2**30:.1f} GiB, {gpu.used_bytes / 2**30:.1f} used)"
            for gpu in nvidia.gpus
        )
        yield f"NVIDIA driver {nvidia.driver}, CUDA up to {nvidia.cuda or 'unknown'}: {cards}"
    lacking = [extra for extra, packages in seen.missing.items() if packages]
    complete = [extra for extra in seen.missing if extra not in lacking]
    yield f"extras: {', '.join(complete) or 'none'}" + "".join(
        f"; {install(extra)} brings {', '.join(seen.missing[extra])}" for extra in lacking
    )
    runtime = f" ({backend.runtime})" if backend.runtime else ""
    for device in backend.devices:
        room = f", {device.memory_bytes / 2**30:.1f} GiB" if device.memory_bytes else ""
        yield f"JAX computes on {device.name}, {device.kind}{room}{runtime}"
    if report.finding:
        yield f"PROBLEM: {report.finding.what}"
        yield f"remedy: {report.finding.remedy}"


def _deviations(report: Report) -> Iterator[str]:
    yield "||out - truth|| / ||truth|| of values and gradients, the worst, and what is allowed;"
    yield "the truth is the plain definition in float64 on the CPU"
    if report.backend.name != "gpu":
        yield "no TF32: only GPUs have it"
    rows = [*report.kernels, *report.networks]
    precisions = [name for name in KERNEL_BOUNDS if any(row.precision == name for row in rows)]
    worst: dict[tuple[str, str], dict[str, Deviation]] = {}
    for row in rows:
        part = row.implementation if row in report.kernels else row.what
        cells = worst.setdefault((row.kernel, part), {})
        if row.precision not in cells or not _share(row) <= _share(cells[row.precision]):
            cells[row.precision] = row
    table = [["", "", *precisions]]
    for (kernel, part), cells in worst.items():
        table.append([kernel, part, *(_deviation(cells.get(name)) for name in precisions)])
    yield from _aligned(table)
    for row in rows:
        if not row.sound:
            found = row.error or f"{row.deviation:.1e}, and {row.bound:.0e} is allowed"
            name = f"{row.kernel}, {row.implementation}, {row.what}, {row.precision}"
            yield f"PROBLEM: {name}: {found}"
    yield from _failures(report, ("kernels", "networks"))


def _share(row: Deviation) -> float:
    return row.deviation / row.bound


def _deviation(row: Deviation | None) -> str:
    if row is None:
        return ""
    mark = "" if row.sound else " PROBLEM"
    return f"{row.deviation:.1e} of {row.bound:.0e}{mark}"


def _speed(report: Report) -> Iterator[str]:
    table = []
    for name, rate in report.rates.items():
        if name == "bytes_per_s":
            table.append(["copy", "", _spread(rate, 1e-9, "GB/s, read and written")])
        else:
            table.append(["product", name, _spread(rate, 1e-9, "GFLOP/s")])
    yield from _aligned(table)
    if report.size and report.speeds:
        options = ", ".join(f"{key}={value}" for key, value in report.size.options.items())
        patch = report.size.patch
        yield (
            f"LNLN x2 ({options or 'as published'}), {report.size.batch} patches of LR {patch}x"
            f"{patch}; ready: compiled, or read from the compilation cache"
        )
        head = ["", "", "ms", "ready, s", "GFLOP/s", "of product", "GB/s", "of copy", "MiB"]
        yield from _aligned([head, *map(_network, report.speeds)])
    yield from _failures(report, [name for name in report.failures if "LNLN" in name])
    yield from _failures(report, ("ceilings",))


def _network(row: NetworkSpeed) -> list[str]:
    seconds = row.seconds.median
    return [
        row.what,
        row.precision,
        _spread(row.seconds, 1e3, ""),
        f"{row.ready_seconds:.1f}",
        f"{row.flop / seconds / 1e9:.4g}",
        "" if row.flop_share is None else f"{row.flop_share:.0%}",
        f"{row.bytes / seconds / 1e9:.3g}",
        f"{row.bytes_share:.0%}",
        f"{row.temporary_bytes / 2**20:.0f}",
    ]


def _advice(report: Report) -> Iterator[str]:
    for advice in report.advice:
        yield f"- {advice.what}: {advice.why}"


def _failures(report: Report, parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if part in report.failures:
            yield f"PROBLEM: {part}: {report.failures[part]}"


def _spread(spread: Spread, factor: float, unit: str) -> str:
    median, low, high = (f"{factor * value:.3g}" for value in spread)
    return f"{median} ({low}-{high}) {unit}".rstrip()


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
