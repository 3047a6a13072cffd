import io
import json
import sys
from pathlib import Path

import pytest

from lnln_jax.runtime import progress
from lnln_jax.runtime.distributed import say
from lnln_jax.training.log import RunReport


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_progress_bar(tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with RunReport(tmp_path, step=0, total_steps=2) as report:
        report.advance(1)
        report.write(1, {"loss": 1.5, "learning_rate": 1e-4}, prefix="train")
        report.advance(1)
        report.write(2, {"psnr_y": 30.25}, prefix="validation")
    shown = terminal.getvalue()
    assert "loss 1.5  learning_rate 0.0001" in shown
    assert "2/2" in shown
    assert "step       2  validation  psnr_y 30.25" in shown


def test_every_line_is_json_that_any_program_reads(tmp_path):
    """The PSNR of an image that comes out exactly is infinite, for which JSON has no number."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    with RunReport(tmp_path, step=0, total_steps=2) as report:
        report.write(1, {"psnr_y": float("inf"), "ssim_y": 1.0}, prefix="validation")
        report.write(2, {"psnr_y": 30.25}, prefix="validation")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    first, second = (json.loads(line, parse_constant=refuse) for line in lines)
    assert first == {"step": 1, "validation/psnr_y": None, "validation/ssim_y": 1.0}
    assert second["validation/psnr_y"] == 30.25


def test_quiet_leaves_out_what_is_in_the_files(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_quiet", True)
    with RunReport(tmp_path, step=0, total_steps=2) as report:
        report.write(1, {"loss": 1.5}, prefix="train")
        report.event(1, "skipped", "a loss that is not finite")
    say("going on")
    say("warning: it is damaged")
    expected = "step       1  skipped: a loss that is not finite\nwarning: it is damaged\n"
    assert capsys.readouterr().err == expected
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_events_in_a_folder_that_is_called_as_a_bucket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("s3:runs")
    run.mkdir()
    with RunReport(run, step=0, total_steps=1) as report:
        report.write(1, {"loss": 1.5}, prefix="train")
    (events,) = (tmp_path / "s3:runs" / "tensorboard").iterdir()
    assert events.stat().st_size


def test_a_resumed_report_reads_as_if_never_stopped(tmp_path, capsys):
    for start in (0, 3):
        with RunReport(tmp_path, step=start, total_steps=9) as report:
            for step in range(start + 1, 6):
                report.write(step, {"loss": step + start / 10}, prefix="train")
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 6, "train/lo')  # killed while writing
    losses = [row["train/loss"] for row in read_metrics_of_complete_lines(tmp_path)]
    assert losses == [1, 2, 3, 4.3, 5.3]
    assert "step       5  train  loss 5.3\n" in capsys.readouterr().err


def read_metrics_of_complete_lines(run: Path) -> list[dict[str, float]]:
    *lines, _ = (run / "metrics.jsonl").read_text().split("\n")
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("damage", ["\0\0\0\n", "{}\n", "[1]\n"])
def test_a_damaged_line_ends_what_is_kept(tmp_path, damage):
    first = json.dumps({"step": 1, "train/loss": 1.0}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(first + damage + first)
    with RunReport(tmp_path, step=5, total_steps=9):
        pass
    assert (tmp_path / "metrics.jsonl").read_text() == first
