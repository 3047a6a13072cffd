"""Several processes, on one machine or many, that work as one."""

import os
import socket
import sys
import zlib
from collections.abc import Sequence
from typing import TextIO

import jax
import numpy as np
from jax.experimental import multihost_utils

from lnln_jax.runtime.progress import is_quiet
from lnln_jax.runtime.progress import say as say_above_bars

HEARTBEAT_SECONDS = 30  # without a sign of life, a process counts as dead, and all others end


def connect(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the other processes; to be called before anything that uses JAX's devices.

    What is None comes from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`,
    else from Slurm, Open MPI, Kubernetes (with the package `kubernetes`) or Cloud TPUs.

    Args:
      coordinator: "host:port" of process 0, the port free.
      num_processes: number of all processes.
      process_id: number of this one, from 0.

    Raises:
      ValueError: nothing says who the others are, or numbers that cannot be.
      RuntimeError: they cannot be reached.
    """
    if num_processes is None:
        num_processes = _number("JAX_NUM_PROCESSES")
    if process_id is None:
        process_id = _number("JAX_PROCESS_ID")
    address = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address and not address.rpartition(":")[2].isdecimal():
        raise ValueError(
            f"the coordinator is {address!r}, without a port; write it as host:port "
            "(--coordinator or JAX_COORDINATOR_ADDRESS)"
        )
    try:
        jax.distributed.initialize(
            coordinator, num_processes, process_id, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"--distributed finds no other processes ({str(error).rstrip('.')}); give "
            "--coordinator, --num-processes and --process-id, or set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID; Slurm, Open MPI, Kubernetes and Cloud TPUs are "
            "recognised by themselves"
        ) from error


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if text is None:
        return None
    if not text.isdecimal():
        raise ValueError(f"{variable} is {text!r}; it must be a whole number")
    return int(text)


def is_primary() -> bool:
    """Returns whether this process, number 0, writes what is written once."""
    return jax.process_index() == 0


def gather(values: Sequence[float]) -> np.ndarray:
    """Returns the K numbers of all P processes, float64 `P K`; all must call it together."""
    mine = np.asarray(values, np.float64)
    if jax.process_count() == 1:
        return mine[None]
    words = multihost_utils.process_allgather(mine.view(np.uint32))  # JAX would round float64
    return np.ascontiguousarray(words).view(np.float64)


def say(text: str, *, file: TextIO | None = None) -> None:
    """Prints a line to stderr, or another file, once for all processes.

    Under `--quiet`, of what goes to stderr only what begins with "warning" is printed.
    """
    heard = file is not None or not is_quiet() or text.startswith("warning")
    if heard and is_primary():
        say_above_bars(text, file or sys.stderr)


def processes_here() -> int:
    """Returns how many of the processes run on this machine; all must call it together."""
    host = zlib.crc32(socket.gethostname().encode())
    return int((gather([host]) == host).sum())


def check_same(what: str, text: str) -> None:
    """Compares a text of all processes; all must call it together.

    Raises:
      ValueError: one has another text than process 0.
    """
    sums = gather([zlib.crc32(text.encode())])[:, 0]
    others = np.flatnonzero(sums != sums[0])
    if len(others):
        raise ValueError(
            f"{what} of process {', '.join(map(str, others))} differ from those of process 0; "
            "start all processes with the same command, on the same files"
        )
