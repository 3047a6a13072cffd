"""Advice for training on a machine: a pure function of what was seen there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lnln_jax.runtime.extras import install

_USE = 0.8  # of the free memory, for what no compiler plans
_BUSY = 1.0  # processes for each core, from which on speeds say little
_HUGE_PAGES = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"
_DIV2K = 800, 2040  # images, and the longest side of each, to which all are padded
_WORTH = 1.1  # times as fast: below that, the higher precision is the better choice
_USED = 2**30  # bytes of a GPU that other processes may have before it is worth a word
# What the extras bring that training and upscaling miss without them.
_WITHOUT = {
    "train": "nothing prefetches patches on the host, and no TensorBoard events are written",
    "16bit": "images with 16 bits a channel cannot be read",
}


@dataclass(frozen=True)
class Facts:
    """Facts that advice depends on; what is empty or None was not measured.

    Attributes:
      backend: "cpu", "gpu" or "tpu".
      system: operating system, such as "Linux".
      python: major and minor version.
      jax: major and minor version.
      cores: number of cores that this process may use.
      load: number of processes that wanted a core before anything was measured.
      free_bytes: free bytes of the memory that JAX computes in.
      used_bytes: bytes of the GPU that other processes use.
      products: operations in a second by precision.
      steps: seconds of a training step by precision.
      patch: side of the LR patches in it.
      patch_bytes: temporary bytes of the step for each patch, by precision.
      huge_pages: the kernel's setting.
      tunables: `GLIBC_TUNABLES`.
      missing: packages that each extra lacks.
    """

    backend: str
    system: str
    python: tuple[int, int]
    jax: tuple[int, int]
    cores: int = 1
    load: float | None = None
    free_bytes: int | None = None
    used_bytes: int = 0
    products: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    patch: int = 0
    patch_bytes: Mapping[str, float] = field(default_factory=dict)
    huge_pages: str = ""
    tunables: str = ""
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Advice(NamedTuple):
    """Advice in a few words, and its reason in one line."""

    what: str
    why: str


def advise(facts: Facts) -> list[Advice]:
    """Returns what to do on a machine where this was seen, the most important first."""
    found = (
        _others(facts),
        _precision(facts),
        _batch(facts),
        _placement(facts),
        _pages(facts),
        _versions(facts),
        *(_extra(facts, extra) for extra in _WITHOUT),
    )
    return [advice for advice in found if advice]


def _others(facts: Facts) -> Advice | None:
    """Names what keeps the speeds of this report from being those of the machine."""
    if facts.used_bytes > _USED:
        gib = facts.used_bytes / 2**30
        return Advice(
            "end other processes on the GPU", f"they hold {gib:.1f} GiB of its memory (nvidia-smi)"
        )
    if facts.load is not None and facts.load > _BUSY * facts.cores:
        return Advice(
            "ask again when the machine is idle",
            f"{facts.load:.1f} processes wanted its {facts.cores} cores; all speeds are too low",
        )
    return None


def fastest(facts: Facts) -> str:
    """Returns the precision to train in: float32 in its fast form unless bfloat16 gains enough."""
    wide = "tf32" if "tf32" in facts.steps else "float32"
    taken = facts.steps
    if "bfloat16" in taken and (wide not in taken or taken[wide] > _WORTH * taken["bfloat16"]):
        return "bfloat16"
    return wide


def _precision(facts: Facts) -> Advice | None:
    best = fastest(facts)
    if len(facts.steps) > 1:
        other = min((key for key in facts.steps if key != best), key=lambda key: facts.steps[key])
        ratio = facts.steps[other] / facts.steps[best]
        dtype = "bfloat16" if best == "bfloat16" else "float32"
        milliseconds = 1e3 * facts.steps[best]
        return Advice(
            f"dtype={dtype}",
            f"a step takes {milliseconds:.3g} ms, and {ratio:.2f} times as long in {other}",
        )
    if facts.backend == "cpu" and {"float32", "bfloat16"} <= facts.products.keys():
        ratio = facts.products["bfloat16"] / facts.products["float32"]
        if ratio > _WORTH:
            why = f"a product in bfloat16 is {ratio:.1f} times as fast; measure a training step"
            return Advice("try dtype=bfloat16", why)
        return Advice("dtype=float32", f"a product in bfloat16 is {ratio:.2f} times as fast")
    return None


def _batch(facts: Facts) -> Advice | None:
    patch_bytes = facts.patch_bytes.get(fastest(facts))
    if not patch_bytes or facts.free_bytes is None:
        return None
    most = int(_USE * facts.free_bytes / patch_bytes)
    most -= most % 8 if most > 8 else 0
    return Advice(
        f"data.batch_size up to about {most}",
        f"a training step takes {patch_bytes / 2**20:.0f} MiB a patch of LR {facts.patch}x"
        f"{facts.patch}, and {facts.free_bytes / 2**30:.1f} GiB are free",
    )


def _placement(facts: Facts) -> Advice | None:
    """Advises on images in memory, of which data.placement=auto takes half."""
    if facts.free_bytes is None:
        return None
    count, side = _DIV2K
    image_bytes = 3 * side * side * 5 / 4  # HR, and a quarter of it: LR at x2
    room = facts.free_bytes / 2
    where = "the device" if facts.backend != "cpu" else "memory"
    fits = room >= count * image_bytes
    return Advice(
        f"data.placement={'device' if fits else 'auto'}",
        f"{int(room / image_bytes)} images of {side}x{side} and their LR at x2 fit half of {where} "
        f"({room / 2**30:.1f} GiB); DIV2K has {count}",
    )


def _pages(facts: Facts) -> Advice | None:
    if facts.backend != "cpu" or facts.system != "Linux" or facts.huge_pages == "always":
        return None
    why = "a fifth of a training step's time goes into small pages"
    if facts.huge_pages == "never":
        return Advice("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, as root", why)
    if "hugetlb=1" in facts.tunables:
        return None
    return Advice(f"export {_HUGE_PAGES} before lnln starts", f"{why}; it is not set")


def _versions(facts: Facts) -> Advice | None:
    if facts.backend != "cpu" or facts.jax >= (0, 12):
        return None
    needs = "" if facts.python >= (3, 12) else ", which needs Python 3.12"
    # scripts/benchmarks/kernels.py --model edsr_baseline on 2 cores (docs/benchmarks.md).
    why = "ordinary 3x3 convolutions were 1.7 times as fast as in 0.10 and 0.11"
    return Advice(f"JAX 0.12{needs}", why)


def _extra(facts: Facts, extra: str) -> Advice | None:
    packages = facts.missing.get(extra)
    if not packages:
        return None
    lacking = f"{', '.join(packages)} {'are' if len(packages) > 1 else 'is'} missing"
    return Advice(install(extra), f"{lacking}: {_WITHOUT[extra]}")
