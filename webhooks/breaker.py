"""When an endpoint is left alone, when it is tried again, and how fast its backlog flows afterwards.

Pure rules over plain data; the state lives in the endpoint's row, so that all workers agree. An open
breaker defers: what is due stays due and uses up no attempt. One probe a minute finds out whether the
partner is back; then the backlog flows at a limited rate that doubles until it is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from webhooks.models import BreakerState

WINDOW = timedelta(seconds=60)
LEAST_ATTEMPTS = 20
FAILURE_SHARE = 0.5
PROBE_EVERY = timedelta(seconds=60)
RECOVERY_PER_SECOND = 50.0
RECOVERY_STEP = timedelta(seconds=30)
# What may leave a little late in one second must still fit into the next: see `claims.HORIZON`.
PACE_SHARE = 0.9
# Answers that say that the partner, and not this one message, is in trouble.
TROUBLE = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Standing:
    """How an endpoint stands. `window_*` count the attempts since `window_started_at`."""

    state: str
    changed_at: datetime
    probe_at: datetime | None
    window_started_at: datetime
    window_attempts: int
    window_failures: int


@dataclass(frozen=True, slots=True)
class Result:
    started_at: datetime
    is_failure: bool


def is_trouble(status: int | None) -> bool:
    """Whether an attempt speaks against the endpoint: no answer, a server's error, or too much."""
    return status is None or status >= 500 or status in TROUBLE


def after(standing: Standing, results: Sequence[Result], at: datetime) -> Standing:
    """The standing once these attempts have ended."""
    if standing.state == BreakerState.OPEN:
        return _after_probe(standing, results, at)
    if at - standing.window_started_at > WINDOW:
        standing = replace(standing, window_started_at=at, window_attempts=0, window_failures=0)
    counted = replace(
        standing,
        window_attempts=standing.window_attempts + len(results),
        window_failures=standing.window_failures + sum(item.is_failure for item in results),
    )
    is_enough = counted.window_attempts >= LEAST_ATTEMPTS
    if is_enough and counted.window_failures >= FAILURE_SHARE * counted.window_attempts:
        return replace(counted, state=BreakerState.OPEN, changed_at=at, probe_at=at + PROBE_EVERY)
    return counted


def _after_probe(standing: Standing, results: Sequence[Result], at: datetime) -> Standing:
    # What was on its way before the breaker opened says nothing about now.
    probes = [item for item in results if item.started_at > standing.changed_at]
    if not any(not item.is_failure for item in probes):
        return standing
    return Standing(BreakerState.RECOVERING, at, None, at, 0, 0)


def probed(standing: Standing, at: datetime) -> Standing:
    """A probe is on its way: nobody else sends one for a while."""
    return replace(standing, probe_at=at + PROBE_EVERY)


def drained(standing: Standing, at: datetime) -> Standing:
    """Nothing more is due: a recovery is over."""
    if standing.state != BreakerState.RECOVERING:
        return standing
    return replace(standing, state=BreakerState.CLOSED, changed_at=at)


def pace(standing: Standing, limit: int | None, at: datetime) -> float | None:
    """Attempts a second to aim at, None for any number; `limit` is what must never be exceeded."""
    most = None if limit is None else limit * PACE_SHARE
    if standing.state != BreakerState.RECOVERING:
        return most
    steps = min((at - standing.changed_at) // RECOVERY_STEP, 10)
    recovery = RECOVERY_PER_SECOND * float(2**steps)
    return recovery if most is None else min(recovery, most)
