import time

from lnln_jax.pace import Pace


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
        ready = max(ready, clock[0]) + 0.04 * n
        pace.sent({"loss": Result(clock, ready)}, n)
        sent.append(n)
        assert ready - clock[0] <= 2.01  # what is on its way when a signal comes
    assert sent[:4] == [1] * 4
    assert set(sent[4:]) <= {24, 25}
    pace.land()
    assert clock[0] == ready
    slow = Pace(100)
    for _ in range(6):
        ready = max(ready, clock[0]) + 3.0
        slow.sent({"loss": Result(clock, ready)}, slow.steps)
    assert slow.steps == 1
