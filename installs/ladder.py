"""The retry clock: 1, 5, 15 and 60 minutes after the failure before, five attempts in all."""

import random
from datetime import datetime, timedelta

LADDER = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
ATTEMPTS = len(LADDER) + 1
# A retry may come at most a tenth of its step late; the rest of that tenth is left to the queue.
JITTER = 0.05


def next_attempt_at(attempts: int, failed_at: datetime) -> datetime | None:
    """When to try again after the given number of failed attempts, None when they are used up.

    Never earlier than the step says; jitter only adds, so that a crowd spreads out.
    """
    if attempts >= ATTEMPTS:
        return None
    step = LADDER[attempts - 1]
    return failed_at + step * (1 + random.uniform(0, JITTER))  # noqa: S311
