"""Runs a side of framework_sides.py in a process of its own.

So its memory is its own, nothing is compiled already, and no framework's threads wait beside the
other's.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from scripts.benchmarks.framework_sides import Job, Side, Variant

_side: Side | None = None  # of this process


def _start(job: Job, variant: Variant) -> None:
    global _side
    if variant.framework == "jax":
        from scripts.benchmarks.jax_side import JaxSide

        _side = JaxSide(job, variant)
    else:
        from scripts.benchmarks.torch_side import TorchSide

        _side = TorchSide(job, variant)


def _call(method: str, *arguments: Any) -> Any:
    return getattr(_side, method)(*arguments)


class Worker:
    """A side in a process of its own: `worker.call("measure", "step")`."""

    def __init__(self, job: Job, variant: Variant) -> None:
        os.environ["GLIBC_TUNABLES"] = f"glibc.malloc.hugetlb={int(variant.huge_pages)}"
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self.started = self.pool.submit(_start, job, variant)

    def call(self, method: str, *arguments: Any) -> Any:
        """Returns or raises what a method of the side does."""
        self.started.result()  # raises what its start raised
        return self.pool.submit(_call, method, *arguments).result()

    def close(self) -> None:
        """Ends the process."""
        self.pool.shutdown()
