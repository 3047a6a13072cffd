"""A model of what collectives and computation take on many accelerators; nothing is measured.

An all-reduce takes a latency and the time of its bytes, first inside nodes of eight and then
between them; nothing overlaps; computation takes its floor, or `SLOWER` times that.
"""

import math
from typing import Any

from lnln_jax.models.complexity import count_elements_moved, count_multiply_adds
from scripts.benchmarks.collectives import Collective

# Published, of the H100 SXM (nvidia.com/en-us/data-center/h100): FP32 without tensor cores, HBM3,
# and NVLink 4, whose 900 GB/s are of both directions together.
FLOP_PER_S = 67e12
MEMORY_BYTES_PER_S = 3.35e12
NVLINK_BYTES_PER_S = 450e9
# One NDR InfiniBand adapter (400 Gb/s) for each GPU, eight GPUs in a node: DGX H100 data sheet.
NETWORK_BYTES_PER_S = 50e9
NODE = 8
# NCCL's own estimate for small messages, from which it chooses an algorithm (src/graph/tuning.cc,
# 2.20: Tree with LL): to start, for each GPU of a chain inside a node, for each level of a tree of
# nodes; the latter two once up and once down. Measured nowhere here.
START_SECONDS = 6.8e-6
NVLINK_SECONDS = 0.6e-6
NETWORK_SECONDS = 5.0e-6
# An assumption: what a real step takes, in units of its floor.
SLOWER = 5

_WAYS = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1}


def floor_seconds(
    module: Any, batch: int, lr_patch_size: int, flop_per_s: float = FLOP_PER_S
) -> float:
    """Returns the seconds that an accelerator needs at least for a step on its part of a batch."""
    shape = (lr_patch_size * module.scale,) * 2
    flop = 2 * sum(count_multiply_adds(module, shape).values())
    moved = 4 * count_elements_moved(module, shape)
    return 3 * batch * max(flop / flop_per_s, moved / MEMORY_BYTES_PER_S)


def seconds(kind: str, size: int, devices: int) -> float:
    """Returns the time of a collective of an array of `size` bytes.

    Of n devices in a group, each sends (n - 1) / n of what is to be scattered or gathered, and for
    an all-reduce it does both. Between m nodes go the parts that each device of a node has then.

    Raises:
      ValueError: another kind, or nodes that are not full.
    """
    if kind not in _WAYS:
        raise ValueError(f"a step has the collective {kind}, of which this model knows nothing")
    inside = min(devices, NODE)
    nodes, rest = divmod(devices, inside)
    if rest:
        raise ValueError(f"devices is {devices}; above {NODE} it must be a multiple of {NODE}")
    hops = (inside - 1) * NVLINK_SECONDS + math.ceil(math.log2(nodes)) * NETWORK_SECONDS
    near = size * (inside - 1) / inside / NVLINK_BYTES_PER_S
    far = size / inside * (nodes - 1) / nodes / NETWORK_BYTES_PER_S
    return START_SECONDS + _WAYS[kind] * (hops + near + far)


def predict(sent: list[Collective], devices: int, floor: float) -> dict[str, Any]:
    """Returns seconds of communication in a step, of its latency, and efficiency at both ends."""
    total = sum(times * seconds(kind, size, devices) for kind, size, times in sent)
    return {
        "communication_seconds": total,
        "latency_seconds": sum(times * seconds(kind, 0, devices) for kind, _, times in sent),
        "efficiency": [efficiency(floor, total), efficiency(SLOWER * floor, total)],
    }


def efficiency(computation: float, communication: float) -> float:
    """Returns the efficiency of weak scaling, with no overlap."""
    return computation / (computation + communication)
