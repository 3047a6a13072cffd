"""How many training steps are sent to the device with one call, and when a training ends early."""

import collections
import time

import jax

from lnln_jax.distributed import gather
from lnln_jax.state import Metrics

_CALL_SECONDS = 1.0


class Pace:
    """How many steps to send to the device at once: about what it does in a second.

    Two calls are on their way at a time, so that the device never waits, and a signal is answered
    within seconds. Several processes agree, about once a second, on the next steps and on whether a
    signal has stopped one of them: calls are collective, so all must send the same.

    Attributes:
      steps: to send with the next call.
    """

    def __init__(self, most: int) -> None:
        """Begins with one step at a time, of at most `most`."""
        self.steps = 1
        self._most = most
        self._in_a_second = 1
        self._to_agreement = 1  # steps until several processes agree again
        self._flying: collections.deque[tuple[Metrics, int]] = collections.deque()
        self._landed: float | None = None

    def sent(self, metrics: Metrics, n: int) -> None:
        """Notes a call of n steps that has been sent, and waits for the one before the last."""
        self._flying.append((metrics, n))
        while len(self._flying) > 2:
            self._wait()
        self._to_agreement -= n
        if jax.process_count() == 1:
            self._to_agreement = self._in_a_second
        self.steps = min(self._most, max(1, self._to_agreement))

    def stops(self, requested: bool) -> bool:
        """Whether the training is to end here, where this process was asked to or not."""
        if jax.process_count() == 1:
            return requested
        if self._to_agreement > 0:
            return False
        rows = gather([requested, self._in_a_second])
        self._to_agreement = int(rows[:, 1].min())
        self.steps = min(self._most, self._to_agreement)
        return bool(rows[:, 0].any())

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
            self._in_a_second = max(1, int(_CALL_SECONDS / seconds))
        self._landed = now
