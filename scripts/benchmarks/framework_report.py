"""The tables and plots of compare_frameworks.py."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

QUIET = 0.1  # cores that other processes may keep busy while a time is taken
COLORS = {"jax": "tab:orange", "torch": "tab:blue", "torch_float64": "black"}
LABELS = {"jax": "JAX", "torch": "PyTorch", "torch_float64": "PyTorch, float64"}


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """Writes comparison.json, .md and .png, each whole or not at all."""
    writers: dict[str, Callable[[Path], Any]] = {
        "comparison.json": lambda path: path.write_text(json.dumps(results, indent=1) + "\n"),
        "comparison.md": lambda path: path.write_text(to_markdown(results)),
        "comparison.png": lambda path: plot(results, path),
    }
    for name, write_to in writers.items():
        temporary = folder / f".unfinished-{name}"
        write_to(temporary)
        os.replace(temporary, folder / name)
    return [folder / name for name in writers]


def to_markdown(results: dict[str, Any]) -> str:
    parts = [describe(results), training_table(results["training"])]
    if results["settings"]["device"] == "cuda":
        memory = (
            "`peak` is what the device's allocator counts, parameters, optimizer and batches "
            "included (`torch.cuda.max_memory_allocated` of a call; JAX's `memory_stats`, of all "
            "that its process has run)"
        )
    else:
        memory = (
            "`peak` is how far the resident memory of the variant's own process rises in a warm "
            "call, with an allocator that gives large blocks back at once"
        )
    for kind, title in (("forward", "Forward pass"), ("step", "Training step")):
        parts.append(f"## {title}\n\n{speed_table(results, kind)}")
    parts.append(
        "Times are the median of the rounds that count (and the range). `first call` includes all "
        f"that is compiled, and one run. {memory}. `planned` is what XLA's `memory_analysis` says "
        "a call needs beyond its arguments. `difference` is that of the forward pass to the first "
        "variant's, before training, as a share of the norm."
    )
    return "\n\n".join(parts) + "\n"


def describe(results: dict[str, Any]) -> str:
    settings, system = results["settings"], results["system"]
    options = ", ".join(f"{key} {value}" for key, value in settings["options"].items())
    gpu = system["gpu"] or "no GPU"
    tf32 = (
        "TensorFloat-32 was off in training and on, for both, in the measurements. "
        if settings["device"] == "cuda"
        else ""
    )
    return (
        f"# {settings['model']} x{settings['scale']} in JAX and PyTorch\n\n"
        f"{options or 'published size'}; {settings['parameters']:,} parameters; batch "
        f"{settings['batch']} of LR {settings['lr_patch_size']}x{settings['lr_patch_size']} "
        f"({settings['images']}), loss {settings['loss']}, {settings['optimizer']['name']}.\n\n"
        f"`{results['command']}`, {results['date']}. {system['cpu']}, {system['cores']} cores, "
        f"{gpu}; threads: PyTorch {system['torch_threads']}, JAX as many as cores. {tf32}Python "
        f"{system['python']}, jax {system['jax']}, torch {system['torch']}. {noise(results)}"
    )


def quiet_seconds(row: dict[str, Any]) -> np.ndarray:
    """The times taken while other processes left the machine alone; all, where none were."""
    seconds, is_quiet = np.array(row["seconds"]), np.array(row["cores_busy_elsewhere"]) < QUIET
    return seconds[is_quiet] if is_quiet.any() else seconds


def noise(results: dict[str, Any]) -> str:
    rows = [
        variant[kind]
        for variant in results["variants"].values()
        if not variant["error"]
        for kind in ("forward", "step")
    ]
    taken = sum(len(row["seconds"]) for row in rows)
    used = sum(len(quiet_seconds(row)) for row in rows)
    return (
        f"{used} of {taken} measurements count; during the others, other processes kept "
        f"{QUIET} cores or more busy."
    )


def training_table(training: dict[str, list[float]]) -> str:
    steps = len(training["loss_jax"])
    shown = sorted({1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, steps} & set(range(1, steps + 1)))
    lines = [
        "## Training from the same weights",
        "",
        "Losses before the step; distances of the parameters after it, as shares of their norm "
        "(without the biases that BatchNorm and softmax cancel).",
        "",
        "| step | loss, JAX | PyTorch | float64 | JAX to PyTorch | JAX to float64 | "
        "PyTorch to float64 | float64 to start |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for step in shown:
        losses = [training[f"loss_{name}"][step - 1] for name in LABELS]
        keys = ("jax_to_torch", "jax_to_truth", "torch_to_truth", "travelled")
        cells = [f"{loss:.6g}" for loss in losses] + [f"{training[k][step - 1]:.1e}" for k in keys]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed_table(results: dict[str, Any], kind: str) -> str:
    lines = [
        "| variant | ms | images/s | first call, s | peak, MiB | planned, MiB | difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    for name, variant in results["variants"].items():
        if variant["error"]:
            reason = variant["error"].splitlines()[0].replace("|", "/")
            lines.append(f"| {name} | failed: {reason} | | | | | |")
            continue
        row = variant[kind]
        times = 1000 * quiet_seconds(row)
        median = np.median(times)
        cells = [
            name,
            f"{median:.1f} ({times.min():.1f}-{times.max():.1f})",
            f"{1000 * results['settings']['batch'] / median:.1f}",
            number(row["first_seconds"], ".1f"),
            number(row["peak_mib"], ".0f"),
            number(row["planned_mib"], ".0f"),
            number(variant["difference"] if kind == "forward" else None, ".0e"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path) -> None:
    """Losses, distances, and the images that each variant trains on in a second."""
    figure, (losses, distances, speeds) = pyplot.subplots(
        1, 3, figsize=(13, 3.6), dpi=80, layout="constrained"
    )
    training = results["training"]
    steps = np.arange(1, len(training["loss_jax"]) + 1)
    for (name, label), style in zip(LABELS.items(), ("-", "--", ":"), strict=True):
        losses.plot(steps, training[f"loss_{name}"], style, color=COLORS[name], label=label)
    losses.set(title=f"Loss ({results['settings']['loss']})", xlabel="step")
    losses.legend()
    for key, label, color in (
        ("travelled", "float64 to its start", "black"),
        ("jax_to_torch", "JAX to PyTorch", "tab:green"),
        ("jax_to_truth", "JAX to float64", COLORS["jax"]),
        ("torch_to_truth", "PyTorch to float64", COLORS["torch"]),
    ):
        distances.semilogy(steps, training[key], color=color, label=label)
    distances.set(title="Parameters: distance / norm", xlabel="step")
    distances.legend()
    variants = {k: v for k, v in results["variants"].items() if not v["error"]}
    medians = [np.median(quiet_seconds(v["step"])) for v in variants.values()]
    speeds.barh(
        list(variants),
        results["settings"]["batch"] / np.array(medians),
        color=[COLORS[name.partition("-")[0]] for name in variants],
    )
    speeds.invert_yaxis()
    speeds.set(title="Training, images/s")
    figure.savefig(path, format="png")
    pyplot.close(figure)
