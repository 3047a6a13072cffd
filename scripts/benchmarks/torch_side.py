"""The PyTorch side of framework_sides.py: networks and training step of `torch_reference`."""

import contextlib
import os
import tempfile
from typing import Any

import numpy as np

from scripts.benchmarks.framework_sides import Job, Kind, Side, Variant


class TorchSide(Side):
    """The reference, eager, as a CUDA graph or through torch.compile, with the fused optimizer."""

    def __init__(self, job: Job, variant: Variant) -> None:
        if variant.compile_mode:
            self.cache = tempfile.TemporaryDirectory()
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = self.cache.name  # else the disk may hold it all
        import torch

        from lnln_jax.torch_reference import NETWORKS, training

        torch.set_float32_matmul_precision("high" if job.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = job.tf32
        torch.backends.cudnn.benchmark = True
        self.torch, self.loss, self.device = torch, job.loss, torch.device(job.device)
        self.training_loss, self.n_colors = training.training_loss, job.n_colors
        network = NETWORKS[job.model](job.scale, **job.options)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in job.state_dict.items()})
        self.dtype = torch.float64 if variant.dtype == "float64" else torch.float32
        form = torch.channels_last if variant.channels_last else torch.contiguous_format
        self.network = network.to(self.device, self.dtype, memory_format=form)
        self.update = training.make_optimizer(
            network.parameters(), job.optimizer, capturable=variant.captured
        )
        self.batches = [
            {key: self.to_device(images, form) for key, images in batch.items()}
            for batch in job.batches
        ]
        lr = self.batches[0]["lr"].to(self.dtype)
        self.lr = training.rgb_to_y(lr) if job.n_colors == 1 else lr
        self.autocast = contextlib.nullcontext
        if variant.dtype == "bfloat16":
            # A graph must not hold on to weights that were cast outside it.
            cached = not variant.captured
            self.autocast = lambda: torch.autocast(job.device, torch.bfloat16, cache_enabled=cached)
        self.uses_graphs = variant.compile_mode == "reduce-overhead"
        self.captured, self.graph = variant.captured, None
        self.call = self.network
        if variant.compile_mode:
            self.call = torch.compile(self.network, dynamic=False, mode=variant.compile_mode)

    def to_device(self, images: np.ndarray, form: Any) -> Any:
        """Sends uint8 `B H W 3` as `B 3 H W`, laid out in this form."""
        images = self.torch.from_numpy(images).permute(0, 3, 1, 2)
        return images.to(self.device).contiguous(memory_format=form)

    def run(self, kind: Kind, calls: int, batch: int = 0) -> Any:
        """See `Side.run`."""
        if self.network.training != (kind == "step"):
            self.network.train(kind == "step")
        for _ in range(calls):
            if self.uses_graphs:
                self.torch.compiler.cudagraph_mark_step_begin()
            if kind == "forward":
                with self.torch.inference_mode(), self.autocast():
                    result = self.call(self.lr)
            elif self.captured:
                result = self.replay(batch)
            else:
                result = self.step(batch)
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()
        return result

    def step(self, batch: int) -> Any:
        """Takes a step and returns the loss before it."""
        lr, hr = (self.batches[batch][key].to(self.dtype) for key in ("lr", "hr"))
        with self.autocast():
            loss, _ = self.training_loss(self.call, lr, hr, self.loss, self.n_colors)
        loss.backward()
        self.update()
        self.network.zero_grad(set_to_none=True)  # here, so that no call begins with them
        return loss.detach()

    def replay(self, batch: int) -> Any:
        """Takes a step that was captured, on that batch, at the first call."""
        cuda = self.torch.cuda
        if self.graph is None:
            stream = cuda.Stream()
            stream.wait_stream(cuda.current_stream())
            with cuda.stream(stream):  # what comes once must not be captured
                for _ in range(3):
                    self.step(batch)
            cuda.current_stream().wait_stream(stream)
            self.graph = cuda.CUDAGraph()
            with cuda.graph(self.graph):
                self.captured_loss = self.step(batch)
        self.graph.replay()
        return self.captured_loss

    def output(self) -> np.ndarray:
        """See `Side.output`."""
        return self.run("forward", 1).permute(0, 2, 3, 1).float().cpu().numpy()

    def parameters(self) -> dict[str, np.ndarray]:
        """See `Side.parameters`."""
        named = self.network.named_parameters()
        return {k: p.detach().cpu().numpy() for k, p in named if p.requires_grad}

    def peak_memory(self, kind: Kind) -> float | None:
        """Returns MiB; on a GPU those that PyTorch has allocated."""
        if self.device.type == "cpu":
            return super().peak_memory(kind)
        self.torch.cuda.reset_peak_memory_stats()
        self.run(kind, 1)
        return self.torch.cuda.max_memory_allocated() / 2**20
