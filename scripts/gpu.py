"""All that a GPU is asked, in ten minutes: is it right, how fast is it, what can it train.

    python scripts/gpu.py --output out/gpu                          # all parts, on generated images
    python scripts/gpu.py check speed
    python scripts/gpu.py train --images pack/train.zip --validation pack/validation.zip \\
        --tests data/Set5 --limits train=420
    python scripts/gpu.py train ... --start out/gpu/state-00001-of-00003.safetensors --go-on
    python scripts/gpu.py --rehearse                                # in miniature, on any device

The parts run one after the other, each in processes of its own and up to its limit in seconds:

check   kernels, networks, resuming and evaluation, against float64, PyTorch and the CPU
speed   LNLN in all forms of its kernels, other networks and a photo, beside PyTorch
train   a network of configs/lnln_gpu_x2.py, its state, weights, scores and learning curve

Results are in `results.json` and `results.md` as soon as they are known. A checkout is enough, and
no network is needed; PyTorch's rows say so where PyTorch is not installed. Exits with 1 if a part
failed or a check is not sound.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # a checkout is enough

PARTS = {"check": 120.0, "speed": 240.0, "train": 180.0}
REHEARSED = {"check": 80.0, "speed": 110.0, "train": 45.0}
PROCESSES = {"check": ("check",), "speed": ("speed", "speed-torch"), "train": ("train",)}
SHARE_OF_JAX = 0.7  # of the part speed; PyTorch has the rest


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
    parser.add_argument("--validation", type=Path, help="zip or folder of HR images")
    parser.add_argument("--tests", type=Path, nargs="+", default=[], help="folders such as Set5")
    parser.add_argument("--start", help="a handed-on state, weights, or a network's name")
    parser.add_argument("--go-on", action="store_true", help="with the schedule of that state")
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
        if part not in PARTS or not seconds.replace(".", "", 1).isdecimal():
            parser.error(f"--limits {item}: write it as check=120")
        limits[part] = float(seconds)
    return run_parts(args, limits)


def run_parts(args: argparse.Namespace, limits: dict[str, float]) -> int:
    """Runs the parts in processes that end at their limits; returns the exit status."""
    from gpu_report import Report, to_markdown

    for name in ("results.json", "results.md"):
        (args.output / name).unlink(missing_ok=True)
    status = 0
    for part in args.parts or PARTS:
        end = time.monotonic() + limits[part]
        for process in PROCESSES[part]:
            left = end - time.monotonic()
            share = SHARE_OF_JAX if process == "speed" else 1.0
            code = run_limited(process, share * left)
            report = Report(args.output, end)
            if code is None:
                report.row("parts", part=process, ended=f"at its limit, {share * left:.0f} s")
            else:
                report.row("parts", part=process, status=code, seconds=limits[part] - report.left)
                status |= code != 0
    tables = Report(args.output, 0.0).tables
    status |= any(row.get("sound") is False for rows in tables.values() for row in rows)
    print(to_markdown(tables))
    return int(status)


def run_limited(process: str, seconds: float) -> int | None:
    """The status of a process; None where it was still running at its limit, and was ended."""
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
    """What a process of a part does."""
    from gpu_report import Report

    # It ends by itself a little before it would be ended.
    report = Report(args.output, time.monotonic() + args.seconds - min(5, 0.05 * args.seconds))
    if args.process == "speed-torch":
        import gpu_torch
        from gpu_speed import FULL, REHEARSAL

        gpu_torch.run(report, REHEARSAL if args.rehearse else FULL)
        return 0
    if "machine" not in report.tables:
        describe(report)
    if args.process == "check":
        import gpu_check

        gpu_check.run(report, rehearse=args.rehearse)
    elif args.process == "speed":
        import gpu_speed

        gpu_speed.run(report, gpu_speed.REHEARSAL if args.rehearse else gpu_speed.FULL)
    else:
        import gpu_train

        gpu_train.run(report, recipe(args))
    return 0


def describe(report: "Report") -> None:  # noqa: F821
    """Says what it runs on."""
    import jax
    from report import processor

    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    rows = {
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "memory GiB": f"{stats['bytes_limit'] / 2**30:.1f}" if "bytes_limit" in stats else "",
        "processor": f"{os.cpu_count()} x {processor()}",
        "Python": platform.python_version(),
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    for what, value in rows.items():
        report.row("machine", what=what, value=value)


def recipe(args: argparse.Namespace) -> "Recipe":  # noqa: F821
    """What the options say about training."""
    from gpu_train import Recipe

    settings = Recipe(
        config=args.config,
        overrides=tuple(args.set),
        images=args.images,
        validation=args.validation,
        start=args.start,
        go_on=args.go_on,
        tests=tuple(args.tests),
    )
    if not args.rehearse:
        return settings
    small = ("model.n_resgroups=1", "model.n_resblocks=1", "model.n_feats=16", "model.reduction=4")
    data = ("data.dead_leaves=4", "data.dead_leaves_size=64", "data.lr_patch_size=12")
    rest = ("data.batch_size=4", "log_every=5", "validate_every=100000", *args.set)
    if args.images is None:
        data += ("data.train=", "data.validation=")
    return settings._replace(overrides=(*small, *data, *rest), reserve=25.0)


if __name__ == "__main__":
    sys.exit(main())
