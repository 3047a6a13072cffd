"""What a long run needs of the operating system: a folder of its own, and to be stopped."""

import contextlib
import errno
import math
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from lnln_jax.runtime.control_groups import MemoryLimit, core_limit, memory_limits
from lnln_jax.runtime.extras import installed
from lnln_jax.runtime.files import printable
from lnln_jax.runtime.outlets import outlasting


@contextlib.contextmanager
def exclusive(folder: Path, doing: str) -> Iterator[None]:
    """Holds a folder, which is made if missing, against other processes that do the same.

    Raises:
      ValueError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        if not try_lock(lock):
            raise ValueError(
                f"another process is {doing} in {printable(folder)}; wait for it, or choose "
                "another folder"
            )
        yield


def try_lock(file: IO[Any]) -> bool:
    """Locks an open file for this process, and returns False where another process holds it.

    The system lifts the lock when the file is closed, as it is when the process ends, even if
    killed. On Windows it covers the first byte, which nobody else can read then.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
    else:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def usable_cores() -> int:
    """Returns the cores that this process may use: of its affinity, and its container's quota."""
    if sys.version_info >= (3, 13):
        cores = os.process_cpu_count() or 1
    elif sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = core_limit()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def available_memory() -> int | None:
    """Returns the bytes of memory that this process may still take; None where nothing tells.

    Linux tells, with the limits of its containers and of `ulimit`; so does psutil, elsewhere.
    Without it, it is all memory of the machine: what other systems call free leaves out what they
    would give back at once, and would refuse what fits.
    """
    rooms = [limit - used for limit, used in [*memory_limits(), *_own_limits()]]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists() and (found := re.search(r"MemAvailable: +(\d+) kB", meminfo.read_text())):
        rooms.append(1024 * int(found[1]))
    elif installed("psutil"):
        import psutil

        rooms.append(psutil.virtual_memory().available)
    elif (total := total_memory()) is not None:
        rooms.append(total)
    return max(0, min(rooms)) if rooms else None


def total_memory() -> int | None:
    """Returns the bytes of memory that this process may have in all; None where nothing tells."""
    if sys.platform == "win32":
        return None
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in [*memory_limits(), *_own_limits()])])


def _own_limits() -> list[MemoryLimit]:
    """Returns what `ulimit` allows this process, of addresses and of data, and what it has."""
    if sys.platform == "win32":
        return []
    import resource

    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    limits = []
    for number, line in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, _ = resource.getrlimit(number)
        if limit != resource.RLIM_INFINITY:
            found = re.search(rf"{line}:\s+(\d+) kB", text)
            limits.append(MemoryLimit(limit, 1024 * int(found[1]) if found else 0))
    return limits


def end_at_once(status: int) -> NoReturn:
    """Ends this process without waiting for its threads, or for processes that it works with.

    After a failure some of them may wait for minutes for what does not come.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    os._exit(status)


def prepare_sudden_end() -> None:
    """Lets nothing be said, after `end_at_once`, of what is then cleaned up behind this process.

    Nor, before it, of what TensorStore's threads answer when Orbax, after an error, no longer
    listens.
    """
    sys.warnoptions.append("ignore:resource_tracker")  # for the process that multiprocessing starts
    hook = sys.unraisablehook

    def show(unraisable: Any) -> None:
        if unraisable.object or str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = show


def end_with_parent(*_: object) -> None:
    """Makes a worker process leave Ctrl-C to its parent, and end when that does, even if killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Stop:
    """The request of a signal to end the run."""

    requested = False


@contextlib.contextmanager
def stop_signals(answer: str) -> Iterator[Stop]:
    """Turns SIGTERM, SIGINT and SIGHUP into a request; a second SIGINT interrupts at once.

    An exception out of a signal handler, as of Ctrl-C, could strike anywhere, as between the lines
    of a lock. So it is a request, too, when nobody reads the output any more. `nohup` is obeyed.
    Only a main thread can receive signals; in others nothing changes.

    Args:
      answer: text that answers the first signal, such as "stopping after this step".
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, _: object) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        name = signal.Signals(number).name
        with contextlib.suppress(RuntimeError):  # it came amid another print
            print(f"{name}: {answer}; Ctrl-C stops at once", file=sys.stderr)

    def lost(error: OSError) -> None:
        if error.errno == errno.EPIPE or not stays:  # else it is a terminal that was closed
            stop.requested = True

    numbers, stays = [signal.SIGTERM, signal.SIGINT], True
    if sys.platform != "win32":
        stays = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        numbers += [] if stays else [signal.SIGHUP]
    previous = {number: signal.getsignal(number) for number in numbers}
    with outlasting(lost):
        for number in previous:
            signal.signal(number, request)
        try:
            yield stop
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
