"""Examines a GPU in ten minutes: is it right, how fast is it, what can it train.

    python scripts/gpu.py --output out/gpu                          # all parts, on generated images
    python scripts/gpu.py check speed
    python scripts/gpu.py train --images pack/train.zip --validation pack/validation \\
        --tests data/Set5 --limits train=420
    python scripts/gpu.py train ... --start out/gpu/state-00001-of-00003.safetensors --go-on
    python scripts/gpu.py --rehearse                                # in miniature, on any device

The parts run one after the other, each in processes of its own and up to its limit in seconds:

check   kernels, networks, resuming and evaluation, against float64, PyTorch and the CPU
speed   a group of LNLN in all forms of its kernels, other networks and a photo, beside PyTorch
train   a network of configs/lnln_gpu_x2.py, its state, weights, scores and learning curve

Results are in `results.json` and `results.md` as soon as they are known, in place of earlier ones
of the same part. A checkout is enough, and no network is needed; PyTorch's rows say so where it is
not installed. Exits with 1 if something failed or a check is not sound; what had no time left is
not a failure.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # a checkout is enough

PARTS = {"check": 150.0, "speed": 210.0, "train": 180.0}
REHEARSED = {"check": 80.0, "speed": 110.0, "train": 45.0}
PROCESSES = {"check": ("check",), "speed": ("speed", "speed-torch"), "train": ("train",)}
SHARE_OF_JAX = 0.65  # of the part speed; PyTorch has the rest


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="part", help="check, speed, train; default: all"
    )
    parser.add_argument("--output", type=Path, default=Path("out/gpu"))
    parser.add_argument("--limits", nargs="+", default=[], metavar="part=seconds")
    parser.add_argument("--rehearse", action="store_true", help="all parts in miniature")
    parser.add_argument("--config", type=Path, default=HERE.parent / "configs" / "lnln_gpu_x2.py")
    parser.add_argument("--images", type=Path, help="zip or folder of HR images to train on")
    parser.add_argument("--validation", type=Path, help="folder of HR images")
    parser.add_argument("--tests", type=Path, nargs="+", default=[], help="folders such as Set5")
    parser.add_argument("--start", help="a handed-on state, weights, or a network's name")
    parser.add_argument(
        "--go-on", action="store_true", help="with that state's optimizer and schedule"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="of the config")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.process:
        return run_process(args)
    if unknown := set(args.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose {', '.join(PARTS)}")
    limits = {**(REHEARSED if args.rehearse else PARTS)}
    for item in args.limits:
        part, _, seconds = item.partition("=")
        if part not in PARTS or not seconds.replace(".", "", 1).isdecimal() or not float(seconds):
            parser.error(f"--limits {item}: write it as check=120")
        limits[part] = float(seconds)
    for option in ("config", "images", "validation", "tests"):
        value = getattr(args, option)
        for path in value if isinstance(value, list) else filter(None, [value]):
            if not path.exists():
                parser.error(f"--{option} {path}: there is no such file or folder")
    if args.go_on and not args.start:
        parser.error("--go-on goes on from a state; name it with --start")
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--output {args.output} cannot be made ({error.strerror}); name another")
    return run_parts(args, limits)


def run_parts(args: argparse.Namespace, limits: dict[str, float]) -> int:
    """Runs the parts in processes that end at their limits; returns the exit status."""
    from scripts.benchmarks.gpu_report import Report, to_markdown

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process is left behind
    failed = []
    for part in args.parts or PARTS:
        end = time.monotonic() + limits[part]
        Report(args.output, part, end).begin()
        for process in PROCESSES[part]:
            left = end - time.monotonic()
            share = SHARE_OF_JAX if process == "speed" else 1.0
            code = run_limited(process, share * left)
            ended = f"at its limit, {share * left:.0f} s" if code is None else f"with status {code}"
            report = Report(args.output, part, end)
            report.row("processes", process=process, ended=ended)
            failed += [f"{process} ended {ended}"] if code else []
        failed += [f"{part}: {table}" for table in Report(args.output, part, end).failures]
    print(to_markdown(report.parts))
    for text in failed:
        print(f"failed, or not sound: {text}", file=sys.stderr)
    return int(bool(failed))


def run_limited(process: str, seconds: float) -> int | None:
    """Runs a process; returns its status, None where it was ended at its limit."""
    command = [sys.executable, __file__, *sys.argv[1:]]
    command += ["--process", process, "--seconds", str(seconds)]
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
    if process == "speed-torch":
        environment["JAX_PLATFORMS"] = "cpu"
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):  # and all that it has started
            try:
                os.killpg(child.pid, number)
                child.wait(3)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


def run_process(args: argparse.Namespace) -> int:
    """Does the work of one process of a part."""
    from scripts.benchmarks.gpu_report import Report

    part = next(part for part, processes in PROCESSES.items() if args.process in processes)
    # It ends by itself a little before it would be ended.
    deadline = time.monotonic() + args.seconds - min(5, 0.05 * args.seconds)
    report = Report(args.output, part, deadline)
    if args.process == "speed-torch":
        from scripts.benchmarks import gpu_torch
        from scripts.benchmarks.gpu_speed import FULL, REHEARSAL

        gpu_torch.run(report, REHEARSAL if args.rehearse else FULL)
        return 0
    describe(report)
    if args.process == "check":
        from scripts.benchmarks import gpu_check

        gpu_check.run(report, rehearse=args.rehearse)
    elif args.process == "speed":
        from scripts.benchmarks import gpu_speed

        gpu_speed.run(report, gpu_speed.REHEARSAL if args.rehearse else gpu_speed.FULL)
        sys.stdout.flush()
        os._exit(0)  # a compilation that is still running would be waited for
    else:
        from scripts.benchmarks import gpu_train

        gpu_train.run(report, recipe(args))
    return 0


def describe(report: "Report") -> None:  # noqa: F821
    """Says what it runs on."""
    import jax

    from lnln_jax.doctor.machine import ask_driver, look

    seen, driver, device = look(), ask_driver(), jax.devices()[0]
    stats = device.memory_stats() or {}
    rows = {
        "date": time.strftime("%Y-%m-%d"),
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "device memory, GiB": round(stats.get("bytes_limit", 0) / 2**30, 1) or "",
        "driver, CUDA": f"{driver.driver}, {driver.cuda}" if driver.driver else "",
        "processor": f"{seen.cores} x {seen.processor}",
        **seen.versions,
    }
    for what, value in rows.items():
        report.row("machine", what=what, value=value)


def recipe(args: argparse.Namespace) -> "Recipe":  # noqa: F821
    """Returns what the options say about training."""
    from scripts.benchmarks.gpu_train import Recipe

    overrides: tuple[str, ...] = ()
    if args.images is None:
        count, size = (4, 64) if args.rehearse else (256, 256)
        leaves = (f"data.dead_leaves={count}", f"data.dead_leaves_size={size}")
        overrides += ("data.train=", *leaves)
    if args.validation is None:
        overrides += ("data.validation=",)
    if args.rehearse:
        sizes = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "reduction": 4}
        overrides += tuple(f"model.{key}={size}" for key, size in sizes.items())
        overrides += ("data.lr_patch_size=12", "data.batch_size=4", "log_every=5")
    return Recipe(
        config=args.config,
        overrides=(*overrides, *args.set),
        images=args.images,
        validation=args.validation,
        start=args.start,
        go_on=args.go_on,
        tests=tuple(args.tests),
        reserve=25.0 if args.rehearse else 45.0,
    )


if __name__ == "__main__":
    sys.exit(main())
