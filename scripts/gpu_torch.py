"""The PyTorch side of gpu.py's speed: the same training steps in eager mode, captured, compiled.

Its networks are those that the tests compare with (tests/torch_reference). It runs in a process of
its own, so that JAX's memory is free again; where PyTorch is not installed, its rows say so.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gpu_report import Report
from gpu_speed import FULL, Sizes

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


class Way(NamedTuple):
    """How PyTorch runs a step: `mode` is "eager", "graph" or "compile"."""

    mode: str
    precision: str

    @property
    def side(self) -> str:
        """As a row of the table says it."""
        names = {"eager": "eager", "graph": "CUDA graph", "compile": "torch.compile"}
        return f"{names[self.mode]}, channels_last, {self.precision}"


class Training:
    """A network with an optimizer and a batch on the device; `step` is what is timed."""

    def __init__(self, name: str, options: dict[str, Any], way: Way, batch: int, patch: int):
        """Builds all of it; a graph is captured, and a compilation done, at the first steps."""
        import torch
        from torch_reference import NETWORKS

        from lnln_jax.models import resolve

        self.torch, self.way = torch, way
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(0)
        network_name, all_options = resolve(name, options)
        network = NETWORKS[network_name](2, **all_options)
        self.network = network.to(self.device, memory_format=torch.channels_last).train()
        self.call = self.network
        if way.mode == "compile":
            self.call = torch.compile(self.network, dynamic=False)
        parameters = [p for p in network.parameters() if p.requires_grad]
        on_gpu = self.device.type == "cuda"
        self.optimizer = torch.optim.Adam(
            parameters, 1e-4, (0.9, 0.99), fused=True, capturable=on_gpu
        )
        self.lr, self.hr = (
            torch.randint(0, 256, (batch, 3, side, side), device=self.device).to(
                torch.float32, memory_format=torch.channels_last
            )
            for side in (patch, 2 * patch)
        )
        self.graph: Any = None

    def _step(self) -> Any:
        torch = self.torch
        self.optimizer.zero_grad(set_to_none=True)
        bfloat16 = self.way.precision == "bfloat16"
        # A graph must not hold on to weights that autocast has cast outside it.
        cached = self.way.mode != "graph"
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=cached
        ):
            loss = (self.call(self.lr) - self.hr).abs().mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def step(self) -> Any:
        """Takes a step."""
        if self.way.mode != "graph":
            return self._step()
        if self.graph is None:
            self._capture()
        self.graph.replay()
        return self.loss

    def _capture(self) -> None:
        torch = self.torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss = self._step()
        self.graph = graph

    def wait(self) -> None:
        """Waits until the device has done all that it was sent."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def forward(self) -> Any:
        """Runs the network in inference mode."""
        bfloat16 = self.way.precision == "bfloat16"
        with (
            self.torch.inference_mode(),
            self.torch.autocast(self.device.type, self.torch.bfloat16, enabled=bfloat16),
        ):
            return self.call(self.lr)


def seconds_of(call: Callable[[], Any], wait: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of a call, three times, each the mean over as many as last so long."""
    call(), call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    calls = max(1, int(seconds / (time.perf_counter() - start)))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        times.append((time.perf_counter() - start) / calls)
    return times


def measure(training: Training, seconds: float) -> dict[str, Any]:
    """Milliseconds and peak memory of a step and of a forward pass."""
    start = time.perf_counter()
    training.step()
    training.wait()
    first = time.perf_counter() - start
    cells: dict[str, Any] = {}
    steps = seconds_of(training.step, training.wait, seconds)
    cells["step_ms"] = 1e3 * statistics.median(steps)
    cells["step_range_ms"] = f"{1e3 * min(steps):.3g}-{1e3 * max(steps):.3g}"
    if training.way.mode == "eager":
        training.network.eval()
        forward = seconds_of(training.forward, training.wait, seconds)
        cells["forward_ms"] = 1e3 * statistics.median(forward)
    if training.device.type == "cuda":
        cells["peak_MiB"] = training.torch.cuda.max_memory_allocated() / 2**20
    return {**cells, "compile_s": first}


def run(report: Report, sizes: Sizes) -> None:
    """Measures everything of the PyTorch side, the most important first."""
    try:
        import torch
    except ImportError:
        report.row("beside PyTorch", side="PyTorch", left_out="not installed here")
        return
    gpu = torch.cuda.is_available()
    if not gpu:
        torch.set_num_threads(1)
    small, large = sizes.batches
    eager, graph, compiled = (Way(mode, "bfloat16") for mode in ("eager", "graph", "compile"))
    others = sizes.others.items()
    jobs: list[tuple[str, dict[str, Any], Way, int]] = [
        ("lnln", sizes.options, eager, small),
        ("lnln", sizes.options, graph, small),
        ("lnln", sizes.shallow, graph, small),
        ("lnln", sizes.shallow, compiled, small),
        *((name, options, graph, small) for name, options in others),
        *((name, options, eager, small) for name, options in others),
        ("lnln", sizes.options, Way("eager", "tf32"), small),
        ("lnln", sizes.options, graph, large),
    ]
    table = "beside PyTorch"
    for name, options, way, batch in jobs:
        side = f"PyTorch {torch.__version__}, {way.side}"
        cells = {"network": name, "options": str(options), "side": side, "batch": batch}
        if not gpu and (way.mode != "eager" or sizes is FULL):
            report.row(table, **cells, left_out="needs a CUDA GPU")
            continue
        needs = {"eager": 5, "graph": 7, "compile": 25}[way.mode] if gpu else 0
        if not report.has(needs, table, **cells):
            continue
        with report.attempt(table, **cells):
            found = measure(Training(name, options, way, batch, sizes.patch), sizes.seconds)
            report.row(table, **cells, **found)
        gc.collect()  # what has failed, too, gives its memory back
        if gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
