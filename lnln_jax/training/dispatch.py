"""How many training steps go to the device with one call, and when a training run ends early."""

import collections
import time

import jax

from lnln_jax.runtime.distributed import gather
from lnln_jax.training.state import Metrics

_CALL_SECONDS = 1.0
_REMEMBERED = 3  # calls whose seconds for a step are known


class Pace:
    """The number of steps to send to the device at once: about what it does in a second.

    Two calls are on their way at a time, so that the device never waits, and a signal is answered
    within seconds. Several processes agree, about once a second, on the next steps and on whether a
    signal has stopped one of them: calls are collective, so all must send the same.

    Attributes:
      steps: number of steps to send with the next call.
    """

    def __init__(self, most: int) -> None:
        """Begins with one step at a time, of at most `most`."""
        self.steps = 1
        self._most = most
        self._in_a_second = 1
        self._to_agreement = 1  # steps until several processes agree again
        self._flying: collections.deque[tuple[Metrics, int]] = collections.deque()
        self._landed: float | None = None
        self._paces: collections.deque[float] = collections.deque(maxlen=_REMEMBERED)

    def begins(self) -> None:
        """Notes that a call is about to be sent; what came before was of other things."""
        if not self._flying and self._landed is not None:
            self._landed = time.perf_counter()

    def sent(self, metrics: Metrics, n: int) -> None:
        """Notes a call of n steps that has been sent, and waits for the one before the last.

        As long as nothing is known of how long they take, it waits for this one.
        """
        self._flying.append((metrics, n))
        while len(self._flying) > (2 if self._paces else 0):
            self._wait()
        self._to_agreement -= n
        if jax.process_count() == 1:
            self._to_agreement = self._in_a_second
        self.steps = min(self._most, max(1, self._to_agreement))

    def stops(self, requested: bool) -> bool:
        """Returns whether the run is to end here, as `requested` of any process."""
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

    def ahead(self) -> float:
        """Returns the seconds until all calls, and those before the next `stops`, are through.

        It is 0 before anything is known of how long they take.
        """
        alone = jax.process_count() == 1
        more = self.steps if alone else self._in_a_second
        flying = sum(n for _, n in self._flying)
        return max(self._paces, default=0.0) * (flying + more)

    def _wait(self) -> None:
        metrics, n = self._flying.popleft()
        jax.block_until_ready(metrics)
        now = time.perf_counter()
        if self._landed is not None:
            self._paces.append((now - self._landed) / n)
            # The slowest: a call that ends while this process sleeps seems to take no time.
            self._in_a_second = max(1, int(_CALL_SECONDS / max(self._paces)))
        self._landed = now
