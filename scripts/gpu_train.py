"""A network trained for a given number of seconds: the part `train` of gpu.py.

Runs the commands that a user has: `lnln train` with a time budget on packed images, `lnln convert`
for the weights and for the state that the next occasion goes on from, `lnln evaluate` on test sets.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from gpu_report import Report

from lnln_jax.handed_state import read_state

HERE = Path(__file__).parent
WEIGHTS = "trained.safetensors"
STATE = "state.safetensors"


class Recipe(NamedTuple):
    """What is trained, on what, from where.

    Attributes:
      config: a file in configs/.
      overrides: `key=value` of its fields.
      images: a zip or a folder of HR images; None: those of the config.
      validation: likewise.
      start: a handed-on state, weights or a network's name; None: nothing.
      go_on: whether to go on from the state itself, its schedule included.
      tests: folders of test sets.
      reserve: seconds, of those that the part has, for all that comes after the training.
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
        report.row("training", problem=f"no time: {report.left:.0f} s left")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        if recipe.validation is not None and recipe.validation.is_file():
            with zipfile.ZipFile(recipe.validation) as archive:
                archive.extractall(Path(scratch, "validation"))
            recipe = recipe._replace(validation=Path(scratch, "validation"))
        options = [str(recipe.config), *_overrides(recipe, seconds), *recipe.overrides]
        limit = f"{seconds + recipe.reserve / 2:.0f}s"
        command = ["train", *options, "--time-limit", limit, "--output", str(folder)]
        start = time.monotonic()
        status, text = _lnln(command, report.left, echo=True)
        report.row(
            "training",
            command=f"lnln {' '.join(['train', *options])}",
            seconds=time.monotonic() - start,
            status=status,
            ended=text,
        )
        log = folder / "metrics.jsonl"
        if log.exists():
            shutil.copyfile(log, report.folder / "metrics.jsonl")
            _curve(report, log)
        _hand_on(report, folder)
    weights = report.folder / WEIGHTS
    for tests in recipe.tests if weights.exists() else ():
        with report.attempt("scores", set=tests.name), tempfile.TemporaryDirectory() as output:
            command = ["evaluate", str(weights), "--data", str(tests), "--output", output]
            _lnln(command, report.left)
            found = json.loads(Path(output, "results.json").read_text())["results"]
            for result in found:
                cells = {"model": result["model"], "psnr": f"{result['psnr']:.3f}"}
                report.row("scores", set=tests.name, **cells, ssim=f"{result['ssim']:.4f}")


def _overrides(recipe: Recipe, seconds: float) -> list[str]:
    """Where the images are, what it starts from, and how long it goes on."""
    found = [] if recipe.images is None else [f"data.train={recipe.images}"]
    if recipe.validation is not None:
        found.append(f"data.validation={recipe.validation}")
    if recipe.start:
        found.append(f"init_from={recipe.start}")
    if not recipe.go_on:
        return [*found, f"time_budget={seconds:.0f}s"]
    before = read_state(Path(recipe.start or "")).config
    lengths = [f"steps={before.steps}", f"schedule_steps={before.schedule_steps}"]
    return [*found, "init_state=true", *lengths]


def _hand_on(report: Report, folder: Path) -> None:
    """Writes what the next occasion starts from, the state first."""
    state, weights = report.folder / STATE, report.folder / WEIGHTS
    with report.attempt("handed on", file=STATE):
        _lnln(
            ["convert", str(folder), str(state), "--state", "--split", "--overwrite"], report.left
        )
    with report.attempt("handed on", file=WEIGHTS):
        _lnln(["convert", str(folder), str(weights), "--overwrite"], report.left)
    for path in sorted(report.folder.glob("*.safetensors")):
        report.row("handed on", file=path.name, MB=path.stat().st_size / 1e6)


def _curve(report: Report, log: Path) -> None:
    """At most twenty points of the loss, and all of the validation."""
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


def _lnln(arguments: list[str], timeout: float, *, echo: bool = False) -> tuple[int, str]:
    """Runs the command; returns its status, 0 or 75, and the last line that it printed.

    Raises:
      RuntimeError: it failed, with its last line.
    """
    process: Any = subprocess.run(
        [sys.executable, "-m", "lnln_jax", *arguments],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        stdout=subprocess.PIPE,
        stderr=None if echo else subprocess.PIPE,
        text=True,
        timeout=max(timeout, 1),
    )
    lines = [*(process.stderr or "").splitlines(), *process.stdout.splitlines()]
    if process.returncode not in (0, 75):
        raise RuntimeError(lines[-1] if lines else f"status {process.returncode}")
    return process.returncode, lines[-1] if lines else ""
