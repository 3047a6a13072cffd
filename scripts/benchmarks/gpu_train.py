"""Trains a network for a given number of seconds: the part `train` of gpu.py.

Runs the commands that a user has: `lnln train` with a time budget on packed images, `lnln convert`
for the weights and for the state that the next occasion goes on from, `lnln evaluate` on test sets.
"""

import json
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from lnln_jax.weights.handed_state import read_state
from scripts.benchmarks.gpu_report import Report
from scripts.benchmarks.processes import last_of_each, lnln

WEIGHTS = "trained.safetensors"
STATE = "state.safetensors"


class Recipe(NamedTuple):
    """What is trained, on what, from where.

    Attributes:
      config: a file in configs/.
      overrides: `key=value` of its fields.
      images: a zip or a folder of HR images; None: those of config and overrides.
      validation: a folder of HR images; None: likewise.
      start: a handed-on state, weights or a network's name; None: nothing.
      go_on: whether to go on from the state itself, its optimizer's included, and with its
        schedule unless that is over.
      tests: folders of test sets.
      reserve: seconds, of those that the part has, for all that comes after training.
    """

    config: Path
    overrides: tuple[str, ...] = ()
    images: Path | None = None
    validation: Path | None = None
    start: str | None = None
    go_on: bool = False
    tests: tuple[Path, ...] = ()
    reserve: float = 45.0


def run(report: Report, recipe: Recipe) -> None:
    """Trains, and leaves weights, state and scores in the report's folder."""
    seconds = report.left - recipe.reserve
    if seconds < 5:
        report.row("training", failed=f"no time: {report.left:.0f} s left")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        with report.attempt("training"):
            _train(report, recipe, folder, seconds)
        if (folder / "metrics.jsonl").exists():
            _curve(report, folder / "metrics.jsonl")
        if (folder / "checkpoints").exists():
            _hand_on(report, folder)
    weights = report.folder / WEIGHTS
    for tests in recipe.tests if weights.exists() else ():
        with report.attempt("scores", set=tests.name), tempfile.TemporaryDirectory() as output:
            command = ["evaluate", str(weights), "--data", str(tests), "--output", output]
            lnln(command, report.left)
            found = json.loads(Path(output, "results.json").read_text())["results"]
            for result in found:
                cells = {"model": result["model"], "psnr": f"{result['psnr']:.3f}"}
                report.row("scores", set=tests.name, **cells, ssim=f"{result['ssim']:.4f}")


def _train(report: Report, recipe: Recipe, folder: Path, seconds: float) -> None:
    """Runs `lnln train`, and keeps a copy of its log while it runs."""
    overrides = last_of_each([*_overrides(recipe, seconds), *recipe.overrides])
    options = [str(recipe.config), *overrides]
    limit = f"{seconds + recipe.reserve / 2:.0f}s"
    command = ["train", *options, "--time-limit", limit, "--output", str(folder)]
    start, done = time.monotonic(), threading.Event()

    def copy() -> None:
        log = folder / "metrics.jsonl"
        while not done.wait(5):
            if log.exists():
                shutil.copyfile(log, report.folder / log.name)

    copying = threading.Thread(target=copy)
    copying.start()
    try:
        status, text = lnln(command, report.left, echo=True)
    finally:
        done.set()
        copying.join()
    taken = time.monotonic() - start
    cells = {"budget_s": seconds, "seconds": taken, "status": status, "ended": text}
    report.row("training", command=f"lnln {' '.join(command)}", **cells)


def _overrides(recipe: Recipe, seconds: float) -> list[str]:
    """Returns where the images are, what the run starts from, and how long it goes on."""
    found = [] if recipe.images is None else [f"data.train={recipe.images}"]
    if recipe.validation is not None:
        found.append(f"data.validation={recipe.validation}")
    if recipe.start:
        found.append(f"init_from={recipe.start}")
    if not recipe.go_on:
        return [*found, f"time_budget={seconds:.0f}s"]
    state = read_state(Path(recipe.start or ""))
    found.append("init_state=true")
    if state.step >= state.config.steps:  # that schedule is over: another one, from its state
        return [*found, f"time_budget={seconds:.0f}s"]
    steps, nominal = state.config.steps, state.config.schedule_steps
    return [*found, f"steps={steps}", f"schedule_steps={nominal}"]


def _hand_on(report: Report, folder: Path) -> None:
    """Writes what the next occasion starts from, the state first."""
    state, weights = report.folder / STATE, report.folder / WEIGHTS
    with report.attempt("handed on", file=STATE):
        lnln(["convert", str(folder), str(state), "--state", "--split", "--overwrite"], report.left)
    with report.attempt("handed on", file=WEIGHTS):
        lnln(["convert", str(folder), str(weights), "--overwrite"], report.left)
    for path in sorted(report.folder.glob("*.safetensors")):
        report.row("handed on", file=path.name, MB=path.stat().st_size / 1e6)


def _curve(report: Report, log: Path) -> None:
    """Adds at most twenty points of the loss, and all of the validation."""
    shutil.copyfile(log, report.folder / log.name)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [row for row in rows if "train/loss" in row]
    every = max(1, len(losses) // 20)
    for row in losses[::-every][::-1]:
        report.row(
            "learning curve",
            step=row["step"],
            loss=row["train/loss"],
            rate=row["train/learning_rate"],
            patches_s=row.get("train/images_per_second", float("nan")),
        )
    for row in rows:
        if "validation/psnr_y" in row:
            report.row("validation", step=row["step"], psnr=f"{row['validation/psnr_y']:.3f}")
