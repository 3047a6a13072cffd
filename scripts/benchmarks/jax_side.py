"""The JAX side of framework_sides.py: the jitted functions of lnln_jax."""

import os
from typing import Any

import numpy as np

from scripts.benchmarks.framework_sides import Job, Kind, Side, Variant


class JaxSide(Side):
    """The jitted functions of lnln_jax."""

    def __init__(self, job: Job, variant: Variant) -> None:
        import jax

        jax.config.update("jax_platforms", job.device)
        jax.config.update("jax_enable_compilation_cache", bool(job.cache))
        jax.config.update(
            "jax_default_matmul_precision", "tensorfloat32" if job.tf32 else "highest"
        )
        from lnln_jax.images.arrays import rgb_to_y
        from lnln_jax.models import create_model
        from lnln_jax.runtime.compilation_cache import enable_compilation_cache
        from lnln_jax.training.optimizer import make_optimizer, make_schedule
        from lnln_jax.training.state import create_state
        from lnln_jax.training.step import make_train_step

        if job.cache:
            os.environ["JAX_COMPILATION_CACHE_DIR"] = job.cache
            enable_compilation_cache()
        self.jax, self.model = jax, job.model
        module = create_model(job.model, job.scale, dtype=variant.dtype, **job.options)
        optimizer, schedule = make_optimizer(job.optimizer), make_schedule(job.optimizer)
        self.state = create_state(jax.device_put(job.variables), optimizer, ema=False)
        self.batches = jax.device_put(job.batches)
        lr = job.batches[0]["lr"].astype(np.float32)
        self.lr = jax.device_put(rgb_to_y(lr)[..., None] if job.n_colors == 1 else lr)
        self.jitted = {
            "forward": jax.jit(module.apply),
            "step": make_train_step(module, optimizer, schedule=schedule, loss=job.loss),
        }
        self.compiled: dict[Kind, Any] = {}

    def arguments(self, kind: Kind, batch: int = 0) -> tuple[Any, Any]:
        """Returns what a compiled function takes."""
        if kind == "forward":
            return self.state.variables, self.lr
        return self.state, self.batches[batch]

    def run(self, kind: Kind, calls: int, batch: int = 0) -> Any:
        """Calls, and waits for the last result."""
        if kind not in self.compiled:
            self.compiled[kind] = self.jitted[kind].lower(*self.arguments(kind)).compile()
        for _ in range(calls):
            result = self.compiled[kind](*self.arguments(kind, batch))
            if kind == "step":
                self.state, metrics = result
                result = metrics["loss"]
        return self.jax.block_until_ready(result)

    def output(self) -> np.ndarray:
        """Returns what the forward pass makes of the first batch."""
        return np.asarray(self.run("forward", 1), np.float32)

    def parameters(self) -> dict[str, np.ndarray]:
        """Returns arrays by PyTorch's keys."""
        from lnln_jax.weights.torch_port import to_torch

        return to_torch(self.jax.device_get(self.state.variables), name=self.model)

    def peak_memory(self, kind: Kind) -> float | None:
        """Returns MiB; on a GPU of steps alone, since the peak cannot be reset."""
        if self.jax.default_backend() == "cpu":
            return super().peak_memory(kind)
        if kind == "forward":
            return None  # the peak cannot be reset, and that of the steps is higher
        return self.jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20

    def plan(self, kind: Kind) -> float | None:
        """Returns the MiB that XLA plans for beyond the arguments."""
        plan = self.compiled[kind].memory_analysis()
        new = plan.output_size_in_bytes - plan.alias_size_in_bytes
        return (plan.temp_size_in_bytes + new) / 2**20
