"""How many training steps are sent to the device with one call."""

import collections
import time

import jax

from lnln_jax.state import Metrics

_CALL_SECONDS = 1.0


class Pace:
    """How many steps to send to the device at once: about what it does in a second.

    Two calls are on their way at a time, so that the device never waits, and a signal is answered
    within seconds.

    Attributes:
      steps: to send with the next call.
    """

    def __init__(self, most: int) -> None:
        """Begins with one step at a time, of at most `most`."""
        self.steps = 1
        self._most = most
        self._flying: collections.deque[tuple[Metrics, int]] = collections.deque()
        self._landed: float | None = None

    def sent(self, metrics: Metrics, n: int) -> None:
        """Notes a call of n steps that has been sent, and waits for the one before the last."""
        self._flying.append((metrics, n))
        while len(self._flying) > 2:
            self._wait()

    def land(self) -> None:
        """Waits for all calls."""
        while self._flying:
            self._wait()
        self._landed = None

    def _wait(self) -> None:
        metrics, n = self._flying.popleft()
        jax.block_until_ready(metrics)
        now = time.perf_counter()
        if self._landed is not None:
            seconds = (now - self._landed) / n
            self.steps = max(1, min(self._most, int(_CALL_SECONDS / seconds)))
        self._landed = now
