"""The log of a training run: JSON lines, TensorBoard events, a progress bar."""

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from tqdm import tqdm

from lnln_jax.runtime.distributed import is_primary
from lnln_jax.runtime.extras import install, installed
from lnln_jax.runtime.files import writing
from lnln_jax.runtime.numbers import finite_or_none
from lnln_jax.runtime.progress import is_quiet, remark, shows_progress

if TYPE_CHECKING:
    from lnln_jax.training.events import Events

_FIRST = "compiling the first steps"


class RunReport:
    """The log of a run, in `metrics.jsonl`, in `tensorboard/` and on the terminal.

    A run that resumes at `step` drops what was written of later steps, so that each step
    is written once. A stop between two reports adds one, and parts their average in two. Of several
    processes, only the first writes. Without tensorboardX there is no `tensorboard/`.
    """

    def __init__(self, folder: Path, *, step: int, total_steps: int) -> None:
        """Opens the files of the run in `folder`."""
        self._writes = is_primary()
        if not self._writes:
            return
        self._folder = folder
        with writing("metrics", folder):
            self._lines = (folder / "metrics.jsonl").open(
                "a+", buffering=1, encoding="utf-8", errors="replace", newline="\n"
            )
            _drop_later_lines(self._lines, step)
            self._events = _open_events(folder / "tensorboard", step)
        self._bar = tqdm(
            desc=_FIRST,
            total=total_steps,
            initial=step,
            unit="step",
            disable=not shows_progress(),
        )

    def __enter__(self) -> "RunReport":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._writes:
            return
        self._bar.close()
        # What has gone wrong before tells more than that the files then cannot be closed either.
        with contextlib.suppress(OSError) if kind else writing("metrics", self._folder):
            try:
                self._lines.close()
            finally:
                if self._events:
                    self._events.close()

    def advance(self, steps: int) -> None:
        """Counts steps on the progress bar."""
        if self._writes:
            self._bar.set_description_str("training", refresh=False)
            self._bar.update(steps)

    def write(self, step: int, metrics: dict[str, float], *, prefix: str) -> None:
        """Records scalars, as `prefix/name` in TensorBoard.

        Args:
          step: step that the metrics belong to.
          metrics: numbers by name; the file has null for what JSON has no numbers for, such as the
            infinite PSNR of an image that is equal.
          prefix: "train" or "validation".
        """
        if not self._writes:
            return
        line = {"step": step, **{f"{prefix}/{key}": value for key, value in metrics.items()}}
        with writing("metrics", self._folder):
            values = {key: finite_or_none(value) for key, value in line.items()}
            self._lines.write(json.dumps(values, allow_nan=False) + "\n")
            if self._events:
                self._events.scalars(step, {key: line[key] for key in line if key != "step"})
        if is_quiet():
            return
        text = "  ".join(f"{key} {value:.6g}" for key, value in metrics.items())
        if self._bar.disable or prefix != "train":
            tqdm.write(f"step {step:>7}  {prefix}  {text}", file=sys.stderr)
        else:
            self._bar.set_postfix_str(text)

    def event(self, step: int, kind: str, text: str) -> None:
        """Records something out of the ordinary at a step, as `{"step", kind: text}`."""
        if self._writes:
            with writing("metrics", self._folder):
                self._lines.write(json.dumps({"step": step, kind: text}) + "\n")
            tqdm.write(f"step {step:>7}  {kind}: {text}", file=sys.stderr)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Records a uint8 `H W 3` picture in TensorBoard."""
        if self._writes and self._events:
            with writing("metrics", self._folder):
                self._events.picture(step, name, image)


def _open_events(folder: Path, step: int) -> "Events | None":
    if not installed("tensorboardX"):
        remark(f"no TensorBoard events without tensorboardX: {install('train')}")
        return None
    from lnln_jax.training.events import Events

    return Events(folder, purge_step=step + 1)


def _drop_later_lines(file: TextIO, step: int) -> None:
    """Cuts off what follows `step` or the first line that is damaged or half-written."""
    file.seek(0)
    kept = 0
    for line in file:
        try:
            later = json.loads(line)["step"] > step
        except (ValueError, TypeError, KeyError):
            break
        if later or not line.endswith("\n"):
            break
        kept += len(line)
    file.truncate(kept)
