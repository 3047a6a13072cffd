"""Progress on a terminal, and none elsewhere."""

import sys

import pytest

from lnln_jax.runtime import progress
from tests.support.terminals import on_terminal

_CODE = """
import sys, time
from lnln_jax.runtime import progress

progress.DELAY = 0.3
{}
print("after")
"""


def seen(code: str) -> str:
    """What a terminal is sent by a program, which then prints "after"."""
    status, shown = on_terminal(sys.executable, "-c", _CODE.format(code))
    assert status == 0, shown
    return shown


@pytest.mark.skipif("sys.platform == 'win32'")
class TestOnTerminal:
    def test_a_bar_has_the_time_left_and_goes(self):
        shown = seen(
            """
show = progress.progress_of("reading Set5")
show(1, 4)
time.sleep(2)
show(4, 4)
"""
        )
        assert "\rreading Set5:  25%|" in shown
        assert "| 1/4 [00:01<00:0" in shown  # the clock goes on without news
        assert shown.endswith(" \rafter\r\n")

    def test_what_has_no_count_has_a_clock(self):
        shown = seen('with progress.working("compiling"):\n    time.sleep(1.5)')
        assert "\rcompiling (00:01)" in shown
        assert shown.endswith(" \rafter\r\n")

    def test_what_is_short_is_not_shown(self):
        assert seen('progress.progress_of("x")(3, 3)') == "after\r\n"
        assert seen('with progress.working("compiling"): pass') == "after\r\n"

    def test_quiet_shows_nothing(self):
        code = 'progress.be_quiet(True)\nprogress.remark("y")\n'
        code += 'with progress.working("x"):\n    time.sleep(1)'
        assert seen(code) == "after\r\n"

    def test_a_bar_that_nobody_feeds_any_more_ends(self):
        code = """
def failing():
    progress.progress_of("abandoned")(1, 4)
    show = progress.progress_of("kept")
    show(1, 4)
    time.sleep(1)
    raise ValueError
try:
    failing()
except ValueError:
    pass
time.sleep(1)
assert not progress._live
"""
        shown = seen(code)
        assert "kept:  25%|" in shown
        assert shown.endswith("after\r\n")

    def test_an_error_stands_on_a_line_of_its_own(self):
        code = (
            'show = progress.progress_of("x")\nshow(1, 4)\ntime.sleep(1)\nprogress.end_progress()'
        )
        assert seen(code).endswith(" \rafter\r\n")

    def test_answers_stand_above(self):
        code = (
            'with progress.working("x"):\n    time.sleep(1)\n    progress.say("answer", sys.stdout)'
        )
        assert "\ranswer\r\n" in seen(code)


def test_nothing_is_shown_elsewhere(capsys, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    progress.be_quiet(False)
    progress.progress_of("reading Set5")(1, 3)
    with progress.working("compiling"):
        pass
    assert capsys.readouterr() == ("", "")
    progress.remark("a remark")
    assert capsys.readouterr() == ("", "a remark\n")


def test_without_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # of a program without a console on Windows
    progress.progress_of("reading Set5")(1, 3)
