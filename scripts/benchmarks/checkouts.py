"""Compares the speed of networks in two checkouts: before a change and after it.

    git worktree add ../before COMMIT
    python -m scripts.benchmarks.checkouts ../before .
    python -m scripts.benchmarks.checkouts ../before . --models lnln --rounds 100

Each checkout has a process of its own, with the step and the forward pass of each network in full
size, compiled, on the same random patches; the two take turns, call by call. Prints medians and
ranges, and the median of the ratios of neighbouring calls.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import jax

from scripts.benchmarks.common import (
    describe_machine,
    in_turns,
    in_words,
    markdown_table,
    spread,
)

# Runs in the checkout, whatever its age: from where `lnln doctor` has had its workload.
_WORKER = """
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import lnln_jax
from lnln_jax.doctor.workload import workload
from lnln_jax.models import create_model

assert Path(lnln_jax.__file__).is_relative_to(Path.cwd()), lnln_jax.__file__
batch, patch = map(int, sys.argv[1:3])
calls = {}
for model in sys.argv[3:]:
    work = workload(create_model(model), batch, patch)
    step = work.step.lower(*work.step_arguments).compile()
    forward = work.forward.lower(*work.forward_arguments).compile()
    arguments = jax.tree.map(jnp.copy, work.forward_arguments)

    def run_step(step=step, work=work, states=[work.state]):
        states[0], _ = jax.block_until_ready(step(states[0], work.batch))

    calls[f"{model}, step"] = run_step
    calls[f"{model}, forward"] = lambda f=forward, a=arguments: jax.block_until_ready(f(*a))
print("ready", flush=True)
for line in sys.stdin:
    calls[line.strip()]()
    print("done", flush=True)
"""


class Worker:
    """A process of a checkout that makes a call when it is told to."""

    def __init__(self, checkout: Path, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, *arguments],
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Waits for the next line of the process.

        Raises:
          RuntimeError: it has ended instead.
        """
        if self.process.stdout is None or not self.process.stdout.readline():
            raise RuntimeError(f"the process of {self.process.args} has ended; see above")

    def call(self, name: str) -> None:
        """Makes one call, by name, and waits for its end."""
        print(name, file=self.process.stdin, flush=True)
        self.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path, help="root of a checkout")
    parser.add_argument("after", type=Path, help="root of another")
    parser.add_argument("--models", nargs="+", default=["lnln", "edsr_baseline"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lr-patch-size", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    for path in (args.before, args.after):
        if not (path / "lnln_jax" / "doctor" / "workload.py").is_file():
            parser.error(f"{path} is not a checkout of lnln_jax with lnln_jax/doctor/workload.py")
    arguments = [str(args.batch), str(args.lr_patch_size), *args.models]
    sides = {"before": args.before, "after": args.after}
    workers = {side: Worker(path.resolve(), arguments) for side, path in sides.items()}
    for worker in workers.values():
        worker.wait()

    rows = [["", "before, ms", "after, ms", "after / before"]]
    for name in (f"{model}, {kind}" for model in args.models for kind in ("step", "forward")):
        calls = {s: lambda w=w, name=name: w.call(name) for s, w in workers.items()}
        seconds = in_turns(calls, args.rounds)
        before, after = (
            [1000 * second for second in seconds[side]] for side in ("before", "after")
        )
        ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
        rows.append([name, spread(before, 0), spread(after, 0), f"{ratio:.3f}"])
    for worker in workers.values():
        worker.process.communicate()
    side = args.lr_patch_size
    huge = "with" if "hugetlb=1" in os.environ.get("GLIBC_TUNABLES", "") else "without"
    print(
        f"batch {args.batch} of LR {side}x{side}, float32, {args.rounds} rounds, {huge} huge pages"
    )
    print(f"{in_words(describe_machine('jax'))}, {jax.devices()}\n")
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
