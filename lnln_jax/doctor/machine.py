"""Hardware and software of a machine. Everything here only asks; JAX is not started."""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from lnln_jax.runtime.processes import available_memory, total_memory, usable_cores
from lnln_jax.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# The packages that the extras of an installation bring, as pyproject.toml lists them.
EXTRAS = {
    "train": ("grain", "psutil", "tensorboardX"),
    "prepare": ("absl-py", "array_record", "requests", "tensorflow-datasets", "urllib3"),
    "16bit": ("imagecodecs",),
    "torch": ("torch",),
}
# Any of them tells of a GPU: on Linux, and on Linux under Windows.
_FILES = (Path("/proc/driver/nvidia"), Path("/dev/nvidia0"), Path("/dev/dxg"))
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_PATIENCE = 20  # seconds that nvidia-smi may take; a driver that hangs is a finding, too


class Gpu(NamedTuple):
    """A graphics card as its driver sees it.

    Attributes:
      name: name of the model.
      memory_bytes: memory in all.
      used_bytes: memory that all processes use, before JAX has taken any.
    """

    name: str
    memory_bytes: int
    used_bytes: int


class Nvidia(NamedTuple):
    """State of NVIDIA's driver, in its own words.

    Attributes:
      present: whether anything tells of a GPU: the driver, or its device files.
      gpus: GPUs of this machine; none where the driver does not answer.
      driver: version of the driver; empty where unknown.
      cuda: newest version of CUDA that the driver runs; empty where unknown.
      error: why the driver does not answer, or empty.
    """

    present: bool
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    error: str = ""


class Machine(NamedTuple):
    """Software and hardware.

    Attributes:
      versions: versions of this package, Python and the packages that it computes with; "" if
        missing.
      system: operating system and its release.
      processor: name of its model.
      cores: number of cores that this process may use.
      load: processes that wanted a core in the last minute, on average; None where nothing tells.
      memory_bytes: memory of the host, or None where nothing tells.
      free_bytes: free part of it, or None.
      missing: packages that each extra of an installation lacks; empty where it has all.
      huge_pages: the kernel's setting for transparent huge pages, such as "madvise", or "".
      tunables: settings of glibc, `GLIBC_TUNABLES`.
    """

    versions: dict[str, str]
    system: str
    processor: str
    cores: int
    load: float | None
    memory_bytes: int | None
    free_bytes: int | None
    missing: dict[str, tuple[str, ...]]
    huge_pages: str
    tunables: str


def look() -> Machine:
    """Returns the hardware and software of this machine."""
    versions = {"lnln_jax": __version__, "python": platform.python_version()}
    versions |= {package: _version(package) for package in PACKAGES}
    missing = {
        extra: tuple(package for package in packages if not _version(package))
        for extra, packages in EXTRAS.items()
    }
    chosen = re.search(r"\[(\w+)\]", _HUGE_PAGES.read_text()) if _HUGE_PAGES.exists() else None
    return Machine(
        versions=versions,
        system=f"{platform.system()} {platform.release()}",
        processor=processor(),
        cores=usable_cores(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        memory_bytes=total_memory(),
        free_bytes=available_memory(),
        missing=missing,
        huge_pages=chosen[1] if chosen else "",
        tunables=os.environ.get("GLIBC_TUNABLES", ""),
    )


def processor() -> str:
    """Returns the name of the processor's model."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def ask_driver() -> Nvidia:
    """Returns what `nvidia-smi` says; its queries change no setting."""
    files = any(path.exists() for path in _FILES)
    query = "--query-gpu=name,memory.total,memory.used,driver_version"
    try:
        table = _run("nvidia-smi", query, "--format=csv,noheader,nounits")
        head = _run("nvidia-smi")
    except FileNotFoundError:
        return Nvidia(files, error="there is no nvidia-smi on PATH" if files else "")
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stdout", None) or str(error)
        return Nvidia(files, error=" ".join(str(said).split()))
    return read_answers(table, head)


def read_answers(table: str, head: str) -> Nvidia:
    """Returns what `nvidia-smi` says in the table of a query, and in the head of its page."""
    rows = [[cell.strip() for cell in line.split(",")] for line in table.splitlines()]
    rows = [row for row in rows if len(row) == 4]
    cuda = re.search(r"CUDA (?:\w+ )?Version:\s*([\d.]+)", head)
    gpus = tuple(Gpu(name, _mebibytes(total), _mebibytes(used)) for name, total, used, _ in rows)
    return Nvidia(
        present=bool(gpus),
        gpus=gpus,
        driver=rows[0][3] if rows else "",
        cuda=cuda[1] if cuda else "",
        error="" if gpus else " ".join(table.split()) or "nvidia-smi lists no GPU",
    )


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE)
    return done.stdout


def _mebibytes(text: str) -> int:
    """Returns bytes; 0 for what a driver does not tell, such as memory shared with the host."""
    return int(text) << 20 if text.isdecimal() else 0


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
