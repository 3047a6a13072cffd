"""The tables and plots of frameworks.py."""

import io
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

from lnln_jax.runtime.files import write_file
from scripts.benchmarks.common import QUIET, in_words, markdown_table, spread, write_report

COLORS = {"jax": "tab:orange", "torch": "tab:blue", "torch_float64": "black"}
LABELS = {"jax": "JAX", "torch": "PyTorch", "torch_float64": "PyTorch, float64"}


def write(results: dict[str, Any], folder: Path) -> None:
    """Writes comparison.json, comparison.md and comparison.png, each whole or not at all."""
    write_report(folder, "comparison", results, to_markdown(results))
    picture = io.BytesIO()
    plot(results, picture)
    write_file(folder / "comparison.png", picture.getvalue())


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
    settings = results["settings"]
    options = ", ".join(f"{key} {value}" for key, value in settings["options"].items())
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
        f"`{results['command']}`, {results['date']}. {in_words(results['system'])}; JAX has as "
        f"many threads as cores. {tf32}{noise(results)}"
    )


def quiet_seconds(row: dict[str, Any]) -> np.ndarray:
    """Returns the times taken while others left the machine alone; all, where none were."""
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
    head = ["step", "loss, JAX", "PyTorch", "float64", "JAX to PyTorch", "JAX to float64"]
    rows = [[*head, "PyTorch to float64", "float64 to start"]]
    for step in shown:
        losses = [training[f"loss_{name}"][step - 1] for name in LABELS]
        keys = ("jax_to_torch", "jax_to_truth", "torch_to_truth", "travelled")
        distances = [training[key][step - 1] for key in keys]
        rows.append([f"{step}", *(f"{x:.6g}" for x in losses), *(f"{x:.1e}" for x in distances)])
    return (
        "## Training from the same weights\n\n"
        "Losses before the step; distances of the parameters after it, as shares of their norm "
        f"(without the biases that BatchNorm and softmax cancel).\n\n{markdown_table(rows)}"
    )


def speed_table(results: dict[str, Any], kind: str) -> str:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    head = ["variant", "ms", "images/s", "first call, s", "peak, MiB", "planned, MiB", "difference"]
    rows = [head]
    for name, variant in results["variants"].items():
        if variant["error"]:
            reason = variant["error"].splitlines()[0].replace("|", "/")
            rows.append([name, f"failed: {reason}", *[""] * (len(head) - 2)])
            continue
        row = variant[kind]
        times = 1000 * quiet_seconds(row)
        rows.append(
            [
                name,
                spread(times.tolist(), 1),
                f"{1000 * results['settings']['batch'] / np.median(times):.1f}",
                number(row["first_seconds"], ".1f"),
                number(row["peak_mib"], ".0f"),
                number(row["planned_mib"], ".0f"),
                number(variant["difference"] if kind == "forward" else None, ".0e"),
            ]
        )
    return markdown_table(rows)


def plot(results: dict[str, Any], file: BinaryIO) -> None:
    """Draws losses, distances, and the images that each variant trains on in a second."""
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
    figure.savefig(file, format="png")
    pyplot.close(figure)
