"""How many new events a merchant's integration, and an integration as a whole, may bring.

Each has a bucket of tokens that fills up steadily. The buckets are in Redis, where one script looks
and takes, by its own clock, so that processes can't take the same token twice. While Redis is not
there every process has buckets of its own, and the log says so once.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from catalog.envelope import ApiError

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_SECONDS = 0.2
ASK_AGAIN_AFTER_SECONDS = 5.0
REMEMBERED = 10_000
# A process takes at most this part of a bucket in advance, and only of one that is half full.
ADVANCE = 100

# KEYS are buckets; ARGV the needed tokens, those wanted in advance, then rate and burst of each. All
# buckets give, or none. Answers what was taken and, as text, how many seconds there are to wait.
TAKE = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local needed, advance, wait = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
local filled = {}
for i, key in ipairs(KEYS) do
    local rate, burst = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local state = redis.call('HMGET', key, 'tokens', 'at')
    local passed = math.max(0, now - (tonumber(state[2]) or now))
    local tokens = math.min(burst, (tonumber(state[1]) or burst) + passed * rate)
    filled[i] = tokens
    wait = math.max(wait, (math.min(needed, burst) - tokens) / rate)
    advance = math.max(0, math.min(advance, math.floor(tokens - burst / 2 - needed)))
end
if wait > 0 then
    return {0, tostring(wait)}
end
for i, key in ipairs(KEYS) do
    local rate, burst = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local left = filled[i] - needed - advance
    redis.call('HSET', key, 'tokens', tostring(left), 'at', tostring(now))
    redis.call('EXPIRE', key, math.ceil((burst - left) / rate) + 1)
end
return {needed + advance, '0'}
"""


# Integration and merchant, as numbers: to look up a UUID costs a call of Python code each time.
Owner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Bucket:
    key: str
    rate: float
    burst: float


def buckets_of(integration_id: UUID, merchant_id: UUID) -> tuple[Bucket, Bucket]:
    """A bucket holds a minute's tokens, that of a merchant `INBOUND_BURST` where it is set."""
    own = settings.INBOUND_RATE_PER_MINUTE
    common = settings.INBOUND_INTEGRATION_RATE_PER_MINUTE
    return (
        Bucket(f"{integration_id}:{merchant_id}", own / 60, settings.INBOUND_BURST or own),
        Bucket(str(integration_id), common / 60, common),
    )


def spend(integration_id: UUID, merchant_id: UUID, count: int = 1) -> None:
    """Take tokens for verified new events, or refuse with `rate_limited`.

    More than a bucket ever holds is given by a full one, which then owes the rest; a long batch
    would never pass otherwise.
    """
    if _take_from_advance((integration_id.int, merchant_id.int), count):
        return
    buckets = buckets_of(integration_id, merchant_id)
    most = min(bucket.burst for bucket in buckets)
    taken, wait = _take(buckets, count, int(most // ADVANCE))
    if not taken:
        raise ApiError("rate_limited", retry_after=max(1, math.ceil(wait)))
    give_back(integration_id, merchant_id, taken - count)


def give_back(integration_id: UUID, merchant_id: UUID, count: int = 1) -> None:
    """What was taken and not spent: this process spends it next."""
    if not count:
        return
    with _lock:
        key = integration_id.int, merchant_id.int
        _advance[key] = _advance.get(key, 0) + count
        if len(_advance) > REMEMBERED:
            _advance.popitem(last=False)


def _take_from_advance(key: Owner, count: int) -> bool:
    with _lock:
        left = _advance.get(key, 0) - count
        if left < 0:
            return False
        _advance[key] = left
        _advance.move_to_end(key)
        return True


def _take(buckets: Sequence[Bucket], count: int, advance: int) -> tuple[int, float]:
    if settings.REDIS_URL and _redis_state.may_ask():
        try:
            answer = _ask_redis(settings.REDIS_URL, buckets, count, advance)
        except RedisError as error:
            _redis_state.failed(error)
        else:
            _redis_state.answered()
            return answer
    return _local.take(buckets, count, advance)


# Redis


def _ask_redis(url: str, buckets: Sequence[Bucket], count: int, advance: int) -> tuple[int, float]:
    numbers = [number for bucket in buckets for number in (bucket.rate, bucket.burst)]
    taken, wait = _script(url)(
        keys=[f"posz:inbound:{bucket.key}" for bucket in buckets],
        args=[count, advance, *numbers],
    )
    return int(taken), float(wait)


@cache
def _script(url: str) -> Any:
    client = Redis.from_url(
        url,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return client.register_script(TAKE)


@dataclass
class RedisState:
    """Remembers that Redis is down, so that a request in five seconds waits for it, not each one."""

    is_down: bool = False
    ask_again_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def may_ask(self) -> bool:
        if not self.is_down:
            return True
        with self._lock:
            if time.monotonic() < self.ask_again_at:
                return False
            self.ask_again_at = time.monotonic() + ASK_AGAIN_AFTER_SECONDS
            return True

    def failed(self, error: RedisError) -> None:
        with self._lock:
            is_news, self.is_down = not self.is_down, True
            self.ask_again_at = time.monotonic() + ASK_AGAIN_AFTER_SECONDS
        if is_news:
            # By its kind: the text of the error holds the address, and that may hold a password.
            logger.error(
                "Redis does not answer (%s): limits are counted by each process for itself",
                type(error).__name__,
            )

    def answered(self) -> None:
        if self.is_down:
            self.is_down = False
            logger.warning("Redis answers again: limits are counted there")


# Memory of this process


class LocalBuckets:
    """The same arithmetic as the script's, for one process. The longest unused are forgotten."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, buckets: Sequence[Bucket], count: int, advance: int) -> tuple[int, float]:
        now = time.monotonic()
        with self._lock:
            filled = [self._filled(bucket, now) for bucket in buckets]
            wait = max(
                (min(count, bucket.burst) - tokens) / bucket.rate
                for bucket, tokens in zip(buckets, filled, strict=True)
            )
            if wait > 0:
                return 0, wait
            for bucket, tokens in zip(buckets, filled, strict=True):
                advance = max(0, min(advance, math.floor(tokens - bucket.burst / 2 - count)))
            for bucket, tokens in zip(buckets, filled, strict=True):
                self._states[bucket.key] = tokens - count - advance, now
                self._states.move_to_end(bucket.key)
            while len(self._states) > REMEMBERED:
                self._states.popitem(last=False)
        return count + advance, 0

    def _filled(self, bucket: Bucket, now: float) -> float:
        tokens, at = self._states.get(bucket.key, (bucket.burst, now))
        return min(bucket.burst, tokens + (now - at) * bucket.rate)


_advance: OrderedDict[Owner, int] = OrderedDict()
_lock = threading.Lock()
_redis_state = RedisState()
_local = LocalBuckets()
