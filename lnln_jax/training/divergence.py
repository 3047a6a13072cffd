"""The losses of a training run: their mean, spikes among them, and losses that are not finite."""

import collections
import shlex
import statistics
from pathlib import Path

import jax
import numpy as np

from lnln_jax.runtime.files import printable
from lnln_jax.training.log import RunReport
from lnln_jax.training.state import Metrics

_WINDOW = 100  # losses whose median a spike is measured by
_LEAST = 20  # losses before which there is no telling


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient became NaN or infinite."""


class Monitor:
    """A watch over the metrics of every step."""

    def __init__(
        self, run: Path, *, spike_factor: float, skip_nonfinite: int, skipped: int = 0
    ) -> None:
        """Starts without a past.

        Args:
          run: folder of the run.
          spike_factor: multiple of the median of the last 100 losses that is reported; 0: none.
          skip_nonfinite: number of steps in a row that may be skipped.
          skipped: number of steps skipped right before a run goes on.
        """
        self._run = run
        self._factor = spike_factor
        self._allowed = skip_nonfinite
        self._in_a_row = skipped
        self._past: collections.deque[float] = collections.deque(maxlen=_WINDOW)

    def summarize(
        self, pending: list[tuple[Metrics, int]], step: int, report: RunReport
    ) -> dict[str, float]:
        """Returns the metrics of the steps up to `step`, and reports skipped steps and spikes.

        Losses are averaged and skips summed up; of the others the last is taken.

        Raises:
          NonFiniteLossError: a loss or gradient is NaN or infinite, and was not skipped.
        """
        calls = jax.device_get(pending)
        rows = {key: np.concatenate([row[key][:n] for row, n in calls]) for key in calls[0][0]}
        first = step - len(rows["loss"]) + 1
        finite = np.isfinite(rows["loss"]) & np.isfinite(rows["grad_norm"])
        for i, loss in enumerate(rows["loss"].tolist()):
            if finite[i] and not rows["skipped"][i]:
                self._in_a_row = 0
                self._look_for_spike(first + i, loss, report)
                continue
            self._in_a_row += 1
            problem = f"the loss is {loss} and the norm of its gradient {rows['grad_norm'][i]}"
            if not rows["skipped"][i] or self._in_a_row > self._allowed:
                raise self.divergence(first + i, problem)
            report.event(first + i, "skipped", f"{problem}; skipped. {self._replay(first + i)}")
        summary = {key: float(values[-1]) for key, values in rows.items()}
        del summary["skipped"]
        if self._allowed:
            summary["skipped"] = float(rows["skipped"].sum())
        if finite.any():
            summary["loss"] = float(np.mean(rows["loss"][finite]))
            summary["grad_norm"] = float(rows["grad_norm"][finite][-1])
        return {key: value for key, value in summary.items() if np.isfinite(value)}

    def divergence(self, step: int, problem: str) -> NonFiniteLossError:
        """Returns an error that says what is wrong at a step, and what to do about it."""
        remedy = (
            f"{self._replay(step)}. Lower optimizer.learning_rate, set optimizer.clip_norm or "
            "optimizer.skip_nonfinite, or look for damaged training images, and start again in "
            "another folder"
        )
        if any((self._run / "checkpoints").glob("[0-9]*")):
            remedy += f", from the best checkpoint of this one: init_from={printable(self._run)}"
        return NonFiniteLossError(f"step {step}: {problem}. {remedy}")

    def _look_for_spike(self, step: int, loss: float, report: RunReport) -> None:
        if self._factor and len(self._past) >= _LEAST:
            median = statistics.median(self._past)
            if loss > self._factor * median:
                report.event(
                    step,
                    "spike",
                    f"the loss is {loss:.6g}, {loss / median:.1f} times the median of the "
                    f"{len(self._past)} before. {self._replay(step)}",
                )
        self._past.append(loss)

    def _replay(self, step: int) -> str:
        return f"`lnln replay {shlex.quote(printable(self._run))} --step {step}` shows its batch"
