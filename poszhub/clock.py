"""Whether beat and a worker are alive: their heartbeat, in the cache that all processes share.

Not in the database: a heartbeat that is lost is back with the next tick, and without Redis web, beat
and worker are one process, whose cache it is.
"""

import time

from django.core.cache import cache

KEY = "clock"
LATE_AFTER_SECONDS = 120


def tick() -> None:
    cache.set(KEY, time.time(), timeout=None)


def is_late() -> bool:
    ticked_at = cache.get(KEY)
    return ticked_at is None or time.time() - ticked_at > LATE_AFTER_SECONDS
