"""Starts a command of lnln in several processes on this machine, which work as one.

    python scripts/launch/local.py --processes 2 train lnln_x2 --output runs/x

Each process gets an equal part of the GPUs, or, without one, `--cpu-devices` devices of the CPU:
the way to try a multi-host run on a laptop. Lines of output begin with the number of their
process. SIGTERM and Ctrl-C go to all of them. When one fails, the others have `--grace` seconds to
end by themselves before they are killed. The exit status is the first that is not 0.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TextIO

POLL_SECONDS = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--cpu-devices", type=int, default=0, metavar="N", help="of each process")
    parser.add_argument("--grace", type=float, default=60.0, metavar="seconds")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="train or evaluate, and the rest")
    args = parser.parse_args()
    if args.processes < 1 or not args.command:
        parser.error("give --processes of at least 1, and a command such as train")
    gpus = visible_gpus()
    if not args.cpu_devices and len(gpus) % args.processes:
        parser.error(
            f"{len(gpus)} GPUs cannot be shared equally by {args.processes} processes; choose "
            "another --processes, or --cpu-devices"
        )
    port = free_port()
    processes: list[subprocess.Popen] = []

    def forward(number: int, _: object) -> None:
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    for number in range(args.processes):
        processes.append(start(args, number, port, gpus))
    printers = [
        threading.Thread(target=repeat, args=(number, stream, target))
        for number, process in enumerate(processes)
        for stream, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
    ]
    for printer in printers:
        printer.start()

    status = wait(processes, args.grace)
    for printer in printers:
        printer.join()
    return status


def visible_gpus() -> list[str]:
    """Returns the numbers of the GPUs that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [number for number in visible.split(",") if number]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(number) for number in range(len(listing.stdout.splitlines()))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(args: argparse.Namespace, number: int, port: int, gpus: list[str]) -> subprocess.Popen:
    """Starts one process, in a group of its own, so that a terminal's Ctrl-C comes once."""
    environment = os.environ | {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(args.processes),
        "JAX_PROCESS_ID": str(number),
    }
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")  # a faster step on CPUs
    if args.cpu_devices:
        environment["JAX_PLATFORMS"] = "cpu"
        environment["JAX_NUM_CPU_DEVICES"] = str(args.cpu_devices)
    elif gpus:
        share = len(gpus) // args.processes
        mine = gpus[number * share : (number + 1) * share]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    return subprocess.Popen(
        [sys.executable, "-m", "lnln_jax", *args.command, "--distributed"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def repeat(number: int, stream: TextIO, target: TextIO) -> None:
    for line in stream:
        print(f"{number}: {line}", end="", file=target, flush=True)


def wait(processes: list[subprocess.Popen], grace: float) -> int:
    """Waits for all; after a failure, not for ever."""
    first, deadline = 0, None
    running = dict(enumerate(processes))
    while running:
        for number, process in list(running.items()):
            status = process.poll()
            if status is None:
                continue
            del running[number]
            if status and not first:
                first = status
                print(f"local.py: process {number} ended with {status}", file=sys.stderr)
            if status and deadline is None:
                deadline = time.monotonic() + grace
        if running and deadline is not None and time.monotonic() > deadline:
            print(f"local.py: killed process {', '.join(map(str, running))}", file=sys.stderr)
            for process in running.values():
                process.kill()
        time.sleep(POLL_SECONDS)
    return first if first >= 0 else 128 - first


if __name__ == "__main__":
    sys.exit(main())
