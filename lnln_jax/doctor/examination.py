"""The parts of an examination, one after the other; a failure is noted, and the next one begins."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import jax

from lnln_jax.doctor import accelerator, machine, speed
from lnln_jax.doctor.advice import Advice, Facts, advise
from lnln_jax.doctor.deviations import Deviation, kernel_deviations, network_deviations

PARTS = ("deviations", "speed")


@dataclass
class Report:
    """The results of an examination.

    Attributes:
      machine: software and hardware.
      backend: backend that JAX chose.
      finding: what keeps it from an accelerator, or None.
      kernels: deviations of the kernels.
      networks: deviations of a network.
      rates: operations in a second of a product, by precision, and bytes in a second of a copy.
      size: size of the network whose speed was measured.
      speeds: speeds of that network.
      advice: advice.
      failures: why a part has no result.
    """

    machine: machine.Machine
    backend: accelerator.Backend
    finding: accelerator.Finding | None
    kernels: list[Deviation] = field(default_factory=list)
    networks: list[Deviation] = field(default_factory=list)
    rates: dict[str, speed.Spread] = field(default_factory=dict)
    size: speed.Size | None = None
    speeds: list[speed.NetworkSpeed] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether everything ran, and within its bounds."""
        deviations = [*self.kernels, *self.networks]
        broken = self.finding is not None and self.finding.broken
        return not (self.failures or broken) and all(row.sound for row in deviations)


def examine(
    parts: Sequence[str] = PARTS, say: Callable[[str, Report], None] = lambda part, report: None
) -> Report:
    """Examines this machine.

    Args:
      parts: some of `PARTS`; the machine itself and the advice are always among them.
      say: function called with the name of each part that is done, and the report so far.

    Returns:
      The report, without what failed.
    """
    seen = machine.look()
    backend = accelerator.start(machine.ask_driver())
    report = Report(seen, backend, accelerator.diagnose(backend))
    say("machine", report)
    if not backend.name:
        return report
    if "deviations" in parts:
        with _attempt(report, "kernels"):
            report.kernels = list(kernel_deviations())
        with _attempt(report, "networks"):
            report.networks = network_deviations()
        say("deviations", report)
    if "speed" in parts:
        _measure(report)
        say("speed", report)
    report.advice = advise(facts(report))
    say("advice", report)
    return report


def _measure(report: Report) -> None:
    with _attempt(report, "ceilings"):
        report.rates = speed.measure_ceilings()
    if not report.rates:
        return
    report.size = speed.default_size()
    for precision in speed.training_precisions():
        with _attempt(report, f"LNLN in {precision}"):
            limits = speed.medians(report.rates)
            report.speeds += speed.network_speeds(precision, limits, report.size)


@contextmanager
def _attempt(report: Report, part: str) -> Iterator[None]:
    """Turns what a part fails with into a line of the report."""
    try:
        yield
    except Exception as error:  # a driver, a compiler or an allocator may raise anything
        report.failures[part] = " ".join(str(error).split()) or type(error).__name__


def facts(report: Report) -> Facts:
    """Returns what advice depends on."""
    seen, steps = report.machine, [row for row in report.speeds if row.what == "training step"]
    major, minor = (int(part) for part in jax.__version__.split(".")[:2])
    python = seen.versions["python"].split(".")
    return Facts(
        backend=report.backend.name,
        system=seen.system.split()[0],
        python=(int(python[0]), int(python[1])),
        jax=(major, minor),
        cores=seen.cores,
        load=seen.load,
        free_bytes=report.backend.devices[0].free_bytes or seen.free_bytes,
        used_bytes=max((gpu.used_bytes for gpu in report.backend.nvidia.gpus), default=0),
        products={
            name: rate.median for name, rate in report.rates.items() if name != "bytes_per_s"
        },
        steps={row.precision: row.seconds.median for row in steps},
        patch=report.size.patch if report.size else 0,
        patch_bytes={
            row.precision: row.temporary_bytes / report.size.batch for row in steps if report.size
        },
        huge_pages=seen.huge_pages,
        tunables=seen.tunables,
        missing=seen.missing,
    )
