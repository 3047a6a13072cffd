"""Whether JAX computes on the accelerator of this machine, and why not where it does not."""

import logging
import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
from jax.extend.backend import get_backend

from lnln_jax.doctor.machine import Nvidia
from lnln_jax.runtime.backends import NO_DEVICE, UNNAMED
from lnln_jax.runtime.extras import install

# The oldest drivers that the CUDA libraries of JAX's plugins run on, by the number before the dot.
DRIVERS = {"cuda12": 525, "cuda13": 580}


class Device(NamedTuple):
    """A device that JAX computes on.

    Attributes:
      name: name as JAX prints it.
      kind: model of the device.
      memory_bytes: memory that JAX may use, or None where the device has none of its own.
      free_bytes: free part of it, or None.
    """

    name: str
    kind: str
    memory_bytes: int | None
    free_bytes: int | None


class Backend(NamedTuple):
    """The backend that JAX chose, and what it could have known.

    Attributes:
      name: "cpu", "gpu" or "tpu"; empty where JAX could not start.
      runtime: version of its runtime, in the runtime's words.
      devices: devices of this process.
      nvidia: state of NVIDIA's driver.
      tpu: whether there is a TPU.
      plugins: those of "cuda12", "cuda13" and "tpu" that are installed.
      platforms: the environment's `JAX_PLATFORMS`.
      visible: the environment's `CUDA_VISIBLE_DEVICES`, or None.
      messages: messages of JAX where something failed.
    """

    name: str
    runtime: str = ""
    devices: tuple[Device, ...] = ()
    nvidia: Nvidia = Nvidia(False)
    tpu: bool = False
    plugins: tuple[str, ...] = ()
    platforms: str = ""
    visible: str | None = None
    messages: tuple[str, ...] = ()


class Finding(NamedTuple):
    """Something that keeps JAX from an accelerator.

    Attributes:
      what: fault, in one line.
      remedy: remedy, in one line.
      broken: whether what is installed fails, and nobody chose it to be so.
    """

    what: str
    remedy: str
    broken: bool


def start(nvidia: Nvidia) -> Backend:
    """Starts JAX, which never fails here, and returns its backend."""
    plugins = tuple(name for name in DRIVERS if _installed(f"jax-{name}-plugin"))
    seen = Backend(
        name="",
        nvidia=nvidia,
        tpu=Path("/dev/accel0").exists(),
        plugins=plugins + (("tpu",) if _installed("libtpu") else ()),
        platforms=os.environ.get("JAX_PLATFORMS", ""),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )
    logger, listener = logging.getLogger("jax._src.xla_bridge"), _Listener()
    logger.addHandler(listener)
    propagate, logger.propagate = logger.propagate, False
    try:
        name, devices = jax.default_backend(), tuple(map(_describe, jax.local_devices()))
        if name == "cpu" and plugins:
            listener.messages += _why_not("cuda")
        runtime = get_backend().platform_version
    except Exception as error:  # a driver or plugin may raise anything
        said = NO_DEVICE if isinstance(error, UNNAMED) else _line(error) or type(error).__name__
        return seen._replace(messages=(*listener.messages, said))
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate
    return seen._replace(
        name=name,
        runtime="" if runtime == name else " ".join(runtime.split()),
        devices=devices,
        messages=tuple(dict.fromkeys(listener.messages)),
    )


def diagnose(seen: Backend) -> Finding | None:
    """Returns what keeps JAX from an accelerator that this machine has, or None."""
    said = "; ".join(seen.messages)
    if not seen.name:
        return _no_start(seen, said)
    if seen.name != "cpu":
        return None
    if seen.nvidia.present:
        return _unused_gpu(seen, said)
    if seen.tpu:
        return _unused_tpu(seen, said)
    cuda = [name for name in seen.plugins if name in DRIVERS]
    if cuda and not seen.platforms:
        return Finding(
            f"JAX's plugin for CUDA ({', '.join(cuda)}) is installed, but there is no NVIDIA GPU",
            "in a container, start it with its GPUs (docker run --gpus all); else nothing is lost",
            broken=False,
        )
    return None


def _no_start(seen: Backend, said: str) -> Finding:
    if not seen.platforms:
        remedy = "install JAX again; JAX_PLATFORMS=cpu leaves out what fails"
        return Finding(f"JAX does not start: {said}", remedy, broken=True)
    what = f"JAX does not start with JAX_PLATFORMS={seen.platforms}: {said}"
    remedy = "unset JAX_PLATFORMS"
    if seen.nvidia.present and not DRIVERS.keys() & set(seen.plugins):
        remedy = f"{install(_fitting(seen.nvidia))}, or {remedy}"
    return Finding(what, remedy, broken=True)


def _unused_gpu(seen: Backend, said: str) -> Finding:
    name = seen.nvidia.gpus[0].name if seen.nvidia.gpus else "an NVIDIA GPU"
    unused = f"{name} is there, but JAX computes on the CPU: "
    chosen = seen.platforms.split(",")
    if seen.platforms and not {"cuda", "gpu"} & set(chosen):
        why, remedy = f"JAX_PLATFORMS is {seen.platforms!r}", "unset JAX_PLATFORMS"
        return Finding(unused + why, remedy, broken=False)
    if seen.visible in ("", "-1"):
        why, remedy = f"CUDA_VISIBLE_DEVICES is {seen.visible!r}", "unset CUDA_VISIBLE_DEVICES"
        return Finding(unused + why, remedy, broken=False)
    if not seen.nvidia.gpus and seen.nvidia.error:
        why = f"its driver does not answer: {seen.nvidia.error}"
        remedy = "make nvidia-smi work: install the driver, or start the machine again"
        return Finding(unused + why, remedy, broken=True)
    cuda = [plugin for plugin in seen.plugins if plugin in DRIVERS]
    if not cuda:
        why = "JAX's plugin for CUDA is not installed"
        return Finding(unused + why, install(_fitting(seen.nvidia)), broken=False)
    needed, driver = DRIVERS[cuda[-1]], _major(seen.nvidia.driver)
    if driver and driver < needed:
        why = f"driver {seen.nvidia.driver} is too old for {cuda[-1]}, which needs {needed}"
        other = f"install driver {needed} or newer"
        if driver >= DRIVERS["cuda12"]:
            other += f"; or uninstall jax-{cuda[-1]}-plugin and {install('cuda12')}"
        return Finding(unused + why, other, broken=True)
    why = f"the plugin {cuda[-1]} fails: {said or 'it does not say why'}"
    if any(sign in said for sign in ("no supported devices", "RESOURCE_EXHAUSTED", "memory")):
        remedy = "end the processes that nvidia-smi lists, which may hold the GPU's memory"
    else:
        remedy = f"{install(cuda[-1])} --upgrade brings plugin and JAX of one version"
    return Finding(unused + why, remedy, broken=True)


def _unused_tpu(seen: Backend, said: str) -> Finding:
    unused = "a TPU is there, but JAX computes on the CPU: "
    if seen.platforms and "tpu" not in seen.platforms.split(","):
        why, remedy = f"JAX_PLATFORMS is {seen.platforms!r}", "unset JAX_PLATFORMS"
        return Finding(unused + why, remedy, broken=False)
    if "tpu" not in seen.plugins:
        return Finding(unused + "libtpu is not installed", install("tpu"), broken=False)
    why = f"libtpu fails: {said or 'it does not say why'}"
    return Finding(unused + why, "end other processes that use the TPU", broken=True)


def _fitting(nvidia: Nvidia) -> str:
    """Returns the extra whose CUDA runs on a driver; the newest where it is unknown."""
    driver = _major(nvidia.driver)
    return "cuda12" if driver and driver < DRIVERS["cuda13"] else "cuda13"


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdecimal() else 0


def _describe(device: jax.Device) -> Device:
    stats = device.memory_stats() or {}
    limit, used = stats.get("bytes_limit"), stats.get("bytes_in_use", 0)
    return Device(str(device), device.device_kind, limit, limit - used if limit else None)


def _why_not(platform: str) -> list[str]:
    try:
        jax.devices(platform)
    except RuntimeError as error:
        return [_line(error)]
    return []


class _Listener(logging.Handler):
    """A handler that keeps what JAX logs, and the last line of the exceptions in it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.messages.append(_line(record.getMessage()) + (f": {_line(error)}" if error else ""))


def _line(said: object) -> str:
    return " ".join(str(said).split())


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
