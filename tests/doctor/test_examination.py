"""`lnln doctor`: the command, what it catches, and what it says of machines not at hand."""

import json
import math
import os
import subprocess
import sys

import jax
import pytest

from lnln_jax.cli import main
from lnln_jax.doctor import accelerator, kernel_cases, machine, speed
from lnln_jax.doctor.accelerator import Backend, diagnose
from lnln_jax.doctor.deviations import Deviation, kernel_deviations, network_deviations
from lnln_jax.doctor.examination import Report
from lnln_jax.doctor.machine import Gpu, Nvidia, read_answers
from lnln_jax.doctor.report import to_json
from lnln_jax.kernels import convolution as ops

H100 = Nvidia(True, (Gpu("NVIDIA H100", 80 << 30, 0),), driver="580.65.06", cuda="13.0")
GIB = 1 << 30


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lnln_jax", "doctor", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def whole() -> subprocess.CompletedProcess[str]:
    """The whole examination: half a minute of two cores, most of it compilation."""
    return doctor("--json")


@pytest.mark.slow
def test_the_command_finds_this_machine_sound(whole):
    report = json.loads(whole.stdout)
    assert whole.returncode == 0
    assert report["sound"] is True
    assert report["failures"] == {}
    assert report["machine"]["versions"]["jax"] == jax.__version__
    assert report["machine"]["cores"] >= 1
    assert report["backend"]["name"] == jax.default_backend()


@pytest.mark.slow
def test_everything_is_compared_in_every_precision_that_runs_here(whole):
    report = json.loads(whole.stdout)
    rows = report["kernels"]
    found = {(row["kernel"], row["implementation"], row["precision"]) for row in rows}
    for precision in ("float32", "bfloat16"):
        for form in ("plain", "tuned"):
            assert ("conv", form, precision) in found
            for how in ops.DEPTHWISE:
                assert ("depthwise_conv3x3", f"{form} {how}", precision) in found
        for how in ("dense", "chunked"):
            assert ("attention", how, precision) in found
    assert {row["what"] for row in rows if row["kernel"] == "conv"} == {
        *("value", "gradient of x", "gradient of kernel")
    }
    assert {row["what"] for row in report["networks"]} == {"output", "gradients"}
    assert all(row["deviation"] <= row["bound"] for row in rows)
    # Against a truth that were rounded as well there would be nothing to find.
    values = [row for row in rows if row["what"] == "value"]
    assert all(row["deviation"] > 1e-8 for row in values)
    assert all(row["deviation"] > 1e-4 for row in values if row["precision"] == "bfloat16")


@pytest.mark.slow
def test_speeds_are_shares_of_what_was_measured(whole):
    report = json.loads(whole.stdout)
    rates = {name: rate["median"] for name, rate in report["rates"].items()}
    assert {row["what"] for row in report["speeds"]} == {"forward pass", "training step"}
    for row in report["speeds"]:
        seconds = row["seconds"]
        assert 0 < seconds["low"] <= seconds["median"] <= seconds["high"]
        share = row["flop"] / seconds["median"] / rates[row["precision"]]
        assert row["flop_share"] == pytest.approx(share)
        assert row["bytes_share"] == pytest.approx(
            row["bytes"] / seconds["median"] / rates["bytes_per_s"]
        )
    forward, step = report["speeds"]
    assert step["flop"] == 3 * forward["flop"]
    assert step["temporary_bytes"] > forward["temporary_bytes"]


@pytest.mark.slow
def test_the_report_to_read_names_a_planted_fault(whole, capsys, monkeypatch):
    """All but the faulty kernel comes from the compilation cache of the run before."""
    attend = kernel_cases.attend_chunked
    monkeypatch.setattr(kernel_cases, "attend_chunked", lambda *a, **kw: 1.001 * attend(*a, **kw))
    status = main(["doctor", "--only", "deviations"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert status == 1
    problems = [line for line in lines if line.startswith("PROBLEM: ")]
    # The value and three gradients; a thousandth is less than bfloat16 rounds away.
    assert len(problems) == 4
    assert problems[0].startswith("PROBLEM: attention, chunked, value, float32: 1.0e-03, and 2e-06")
    assert lines[-1].startswith("This machine is NOT sound: 4 of ")


@pytest.mark.slow
def test_a_network_shows_the_fault_of_a_kernel(monkeypatch):
    """A thousandth in the convolutions of the tuned form; compiles two networks."""
    conv = ops._conv
    monkeypatch.setattr(ops, "_conv", lambda *args: 1.001 * conv(*args))
    rows = network_deviations(["float32"], forms=("tuned",))
    assert [row.what for row in rows] == ["output", "gradients"]
    assert not any(row.sound for row in rows)


@pytest.mark.slow
def test_a_fault_that_is_not_a_number(monkeypatch):
    conv = ops._conv
    monkeypatch.setattr(ops, "_conv", lambda *args: math.nan * conv(*args))
    rows = [row for row in kernel_deviations(["float32"]) if row.kernel == "conv"]
    assert {row.implementation for row in rows if row.sound} == {"plain"}
    assert {row.implementation for row in rows if not row.sound} == {"tuned"}


def test_an_implementation_that_fails_is_three_rows(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("out of registers")

    monkeypatch.setattr(ops, "_conv", broken)
    rows = [row for row in kernel_deviations(["float32"]) if row.kernel == "conv"]
    failed = [row for row in rows if row.implementation == "tuned"]
    assert ["out of registers" in row.error for row in failed] == [True] * 3
    assert not any(row.sound for row in failed)


@pytest.mark.slow
def test_a_part_that_fails_is_said_and_the_next_one_begins(capsys, monkeypatch):
    def fails():
        raise RuntimeError("RESOURCE_EXHAUSTED:\nout of memory")

    monkeypatch.setattr(speed, "measure_ceilings", fails)
    assert main(["doctor", "--only", "speed"]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "PROBLEM: ceilings: RESOURCE_EXHAUSTED: out of memory" in lines
    assert "Advice" in lines
    assert lines[-1] == "This machine is NOT sound: ceilings failed."


def test_json_has_no_number_that_json_does_not_know():
    row = Deviation("conv", "tuned", "value", "float32", math.nan, 1e-6)
    report = Report(machine.look(), Backend("cpu"), None, kernels=[row])
    tree = json.loads(to_json(report), parse_constant=lambda name: pytest.fail(name))
    assert tree["kernels"][0]["deviation"] is None
    assert tree["kernels"][0]["sound"] is tree["sound"] is False


@pytest.mark.slow
def test_nothing_is_left_switched_to_64_bits(whole):
    assert not jax.config.jax_enable_x64
    assert Deviation("k", "i", "value", "float32", math.nan, 1.0).sound is False


def test_jax_that_does_not_start_is_reported():
    done = doctor(JAX_PLATFORMS="tpu")
    assert done.returncode == 1
    assert "PROBLEM: JAX does not start with JAX_PLATFORMS=tpu: " in done.stdout
    assert "remedy: unset JAX_PLATFORMS" in done.stdout
    assert "Deviations" not in done.stdout


@pytest.mark.parametrize(
    ("seen", "what", "remedy", "broken"),
    [
        (
            Backend("cpu", nvidia=H100),
            "NVIDIA H100 is there, but JAX computes on the CPU: JAX's plugin for CUDA is not",
            'pip install "lnln-jax[cuda13]"',
            False,
        ),
        (
            Backend("cpu", nvidia=H100._replace(driver="550.54.15")),
            "plugin for CUDA is not installed",
            'pip install "lnln-jax[cuda12]"',
            False,
        ),
        (
            Backend("cpu", nvidia=H100, plugins=("cuda13",), platforms="cpu"),
            "JAX_PLATFORMS is 'cpu'",
            "unset JAX_PLATFORMS",
            False,
        ),
        (
            Backend("cpu", nvidia=H100, plugins=("cuda13",), visible=""),
            "CUDA_VISIBLE_DEVICES is ''",
            "unset CUDA_VISIBLE_DEVICES",
            False,
        ),
        (
            Backend("cpu", nvidia=H100._replace(driver="550.54.15"), plugins=("cuda13",)),
            "driver 550.54.15 is too old for cuda13, which needs 580",
            'uninstall jax-cuda13-plugin and pip install "lnln-jax[cuda12]"',
            True,
        ),
        (
            Backend("cpu", nvidia=H100, plugins=("cuda13",), messages=("plugin 0.9 is not 0.10",)),
            "the plugin cuda13 fails: plugin 0.9 is not 0.10",
            'pip install "lnln-jax[cuda13]" --upgrade',
            True,
        ),
        (
            Backend("cpu", nvidia=H100, plugins=("cuda12",), messages=("no supported devices",)),
            "the plugin cuda12 fails",
            "end the processes that nvidia-smi lists",
            True,
        ),
        (
            Backend("cpu", nvidia=Nvidia(True, error="NVIDIA-SMI has failed")),
            "its driver does not answer: NVIDIA-SMI has failed",
            "make nvidia-smi work",
            True,
        ),
        (
            Backend("cpu", plugins=("cuda12",)),
            "is installed, but there is no NVIDIA GPU",
            "--gpus all",
            False,
        ),
        (
            Backend("", nvidia=H100, platforms="cuda", messages=("unknown backend",)),
            "JAX does not start with JAX_PLATFORMS=cuda: unknown backend",
            'pip install "lnln-jax[cuda13]"',
            True,
        ),
        (Backend("cpu", tpu=True), "libtpu is not installed", 'pip install "lnln-jax[tpu]"', False),
    ],
)
def test_an_accelerator_that_is_not_used(seen, what, remedy, broken):
    finding = diagnose(seen)
    assert what in finding.what
    assert remedy in finding.remedy
    assert finding.broken is broken


@pytest.mark.parametrize(
    "seen",
    [Backend("cpu"), Backend("gpu", nvidia=H100, plugins=("cuda13",)), Backend("tpu", tpu=True)],
)
def test_nothing_to_find(seen):
    assert diagnose(seen) is None


def test_what_the_driver_says():
    table = "NVIDIA H100 80GB HBM3, 81559, 512, 580.65.06\nNVIDIA H100, [N/A], 0, 580.65.06\n"
    head = "| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06   CUDA Version: 13.0     |"
    said = read_answers(table, head)
    assert said.gpus[0] == Gpu("NVIDIA H100 80GB HBM3", 81559 << 20, 512 << 20)
    assert said.gpus[1].memory_bytes == 0
    assert (said.present, said.driver, said.cuda) == (True, "580.65.06", "13.0")
    nothing = read_answers("No devices were found\n", head)
    assert not nothing.present
    assert nothing.error == "No devices were found"


def test_a_machine_without_nvidia_smi(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(machine, "_FILES", (tmp_path / "none",))
    assert machine.ask_driver() == Nvidia(False)
    assert accelerator.start(Nvidia(False)).name == jax.default_backend()


def test_a_driver_that_fails(monkeypatch, tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed:'\necho 'no driver'\nexit 9\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(machine, "_FILES", (smi,))
    assert machine.ask_driver() == Nvidia(True, error="NVIDIA-SMI has failed: no driver")
