import time

import pytest

from lnln_jax.training.dispatch import Pace


class Result:
    """What a device that takes 40 ms for a step has ready at its time."""

    def __init__(self, clock, ready):
        self._clock, self._ready = clock, ready

    def block_until_ready(self):
        self._clock[0] = max(self._clock[0], self._ready)


def test_calls_take_about_a_second(monkeypatch):
    clock, ready = [0.0], 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    pace, sent = Pace(100), []
    for _ in range(12):
        n = pace.steps
        pace.begins()
        ready = max(ready, clock[0]) + 0.04 * n
        pace.sent({"loss": Result(clock, ready)}, n)
        sent.append(n)
        assert ready - clock[0] <= 2.01  # what is on its way when a signal comes
        if len(sent) > 1:
            assert pace.ahead() == pytest.approx(ready - clock[0] + 0.04 * pace.steps)
    assert sent[:2] == [1] * 2  # the second is timed: the first is compiled
    assert set(sent[2:]) <= {24, 25}
    pace.land()
    assert clock[0] == ready
    slow = Pace(100)
    for _ in range(6):
        slow.begins()
        ready = max(ready, clock[0]) + 3.0
        slow.sent({"loss": Result(clock, ready)}, slow.steps)
    assert slow.steps == 1


def test_what_comes_between_calls_is_not_theirs(monkeypatch):
    """Where each step is logged, and validated for minutes."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    pace = Pace(100)
    for _ in range(4):
        pace.begins()
        pace.sent({"loss": Result(clock, clock[0] + 0.5)}, 1)
        pace.land()
        assert pace.ahead() in (0.0, 0.5 * pace.steps)
        clock[0] += 100.0
    assert pace.steps == 2


def test_a_call_that_ends_while_the_process_sleeps_does_not_make_the_next_long(monkeypatch):
    clock, ready = [0.0], 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    pace = Pace(1000)
    for number in range(12):
        pace.begins()
        ready = max(ready, clock[0]) + 0.1 * pace.steps
        pace.sent({"loss": Result(clock, ready)}, pace.steps)
        if number == 5:
            clock[0] += 60.0
        assert pace.steps <= 10
