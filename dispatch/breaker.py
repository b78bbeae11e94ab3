"""A breaker per partner, so that one that is down stops costing tills their whole budget.

It opens after a few temporary failures in a row and lets one trial call through after a while. State
is per process: a till waits at most a few budgets per process before it is closed off.
"""

import threading
import time
from collections.abc import Callable


class Breaker:
    def __init__(
        self, failures: int, open_for_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._open_for = open_for_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._retry_at: float | None = None

    def allows(self) -> bool:
        """Whether a call may go out. After the pause exactly one caller hears yes."""
        with self._lock:
            if self._retry_at is None:
                return True
            if self._clock() < self._retry_at:
                return False
            self._retry_at = self._clock() + self._open_for
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0
            self._retry_at = None

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= self._limit:
                self._retry_at = self._clock() + self._open_for
