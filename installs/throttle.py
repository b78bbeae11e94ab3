"""How often something may happen within a minute, counted over all processes.

Where the cache is down each process counts for itself: a limit that is too wide for a while is better
than a door that is closed.
"""

import logging
from collections import Counter

from django.core.cache import cache
from django.utils import timezone

from catalog.envelope import ApiError

logger = logging.getLogger(__name__)

# The counts of this process for one minute only; the key says which.
_local: Counter[str] = Counter()


def spend(name: str, limit: int, count: int = 1) -> None:
    """Count it, and refuse with `rate_limited` what is past the limit of this minute.

    `name` may hold what somebody sent: it must have been made short and printable.
    """
    now = timezone.now()
    key = f"{name}:{now:%Y%m%d%H%M}"
    if _used(key, count) > limit:
        raise ApiError("rate_limited", retry_after=60 - now.second)


def _used(key: str, count: int) -> int:
    try:
        cache.add(key, 0, timeout=120)
        return cache.incr(key, count)
    except ValueError:  # evicted between the two calls
        return count
    except Exception:
        logger.exception("The cache is down; limits are counted per process")
        if any(known[-12:] != key[-12:] for known in _local):
            _local.clear()
        _local[key] += count
        return _local[key]
