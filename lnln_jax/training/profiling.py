"""A trace of some training steps, and the memory that a training run takes."""

from contextlib import AbstractContextManager
from pathlib import Path

import jax

from lnln_jax.runtime.extras import installed
from lnln_jax.runtime.progress import remark
from lnln_jax.training.state import Metrics

_WARM_UP = 2  # calls before the trace: the first compiles


class Profile(AbstractContextManager):
    """A trace of some steps, for TensorBoard's profiler, XProf and Perfetto.

    The files lie in `plugins/profile/<time>/`: `*.xplane.pb` for TensorBoard and XProf,
    `perfetto_trace.json.gz` for ui.perfetto.dev. Of several processes the first is traced.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        """Prepares a trace of at least `steps` steps, after a warm-up; 0: none."""
        self._folder = folder
        self._steps = steps
        self._calls = 0
        self._traced = 0
        self._running = False

    def call(self, step: int) -> AbstractContextManager:
        """Returns what is entered while steps after `step` are sent; starts the trace in time.

        The trace calls it "train", which TensorBoard's profiler divides time by.
        """
        if self._steps and self._calls == _WARM_UP:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._running = True
        self._calls += 1
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def after_call(self, metrics: Metrics, n: int) -> None:
        """Ends the trace when it has seen enough of what was sent."""
        if not self._running:
            return
        self._traced += n
        if self._traced >= self._steps:
            jax.block_until_ready(metrics)
            self.end()

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Writes what there is, if a trace is running."""
        if self._running:
            self._running = False
            self._steps = 0
            jax.profiler.stop_trace()
            remark(f"a trace of {self._traced} steps is in {self._folder}")


def memory_in_use() -> dict[str, float]:
    """Returns GiB: the peak of the busiest device, where it tells (CPUs do not), and the process's.

    The latter needs psutil, and is left out without.
    """
    peaks = [
        stats["peak_bytes_in_use"]
        for device in jax.local_devices()
        if "peak_bytes_in_use" in (stats := device.memory_stats() or {})
    ]
    memory = {}
    if installed("psutil"):
        import psutil

        memory["host_memory_gib"] = psutil.Process().memory_info().rss / 2**30
    if peaks:
        memory["device_peak_gib"] = max(peaks) / 2**30
    return memory
