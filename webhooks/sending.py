"""One signed POST to a partner, and the event loop in which a great many of them are under way.

Nothing here touches the database.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from django.conf import settings
from django.utils import timezone

from dispatch.bulk_door import BulkDoor, Route, route_to
from dispatch.door import DoorError
from dispatch.signing import hex_signature, standard_headers
from webhooks.claims import Claimed
from webhooks.redaction import redact

EXCERPT_CHARACTERS = 500
LINGER_SECONDS = 0.01
WORTH_TELLING = 64


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed delivery with all that its request needs. `token` is empty where none is wanted."""

    item: Claimed
    keys: Sequence[bytes]
    token: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. `status` None means that no answer was read."""

    started_at: datetime
    elapsed_ms: int
    status: int | None
    problem: str
    excerpt: str
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class _Loop(asyncio.SelectorEventLoop):
    """Its clock stands still while it does not run.

    Otherwise, when the database has kept the owner waiting, calls whose answer is there would be
    declared too late before anybody has looked.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stood_still = 0.0
        self._stopped_at: float | None = None

    def time(self) -> float:
        return (self._stopped_at or super().time()) - self._stood_still

    def run_forever(self) -> None:
        if self._stopped_at is not None:
            self._stood_still += super().time() - self._stopped_at
            self._stopped_at = None
        try:
            super().run_forever()
        finally:
            self._stopped_at = super().time()


class Sender:
    """An event loop that runs only while its owner has nothing else to do.

    One thread for the database and the network: two would spend their time waiting for each other.
    `send` and `wake` may be called from any thread, all else only by the owner.
    """

    def __init__(self) -> None:
        self._loop = _Loop()
        self._door = self._loop.run_until_complete(BulkDoor().__aenter__())
        self._jobs: set[asyncio.Task[None]] = set()
        self._ended: list[tuple[Job, Outcome]] = []
        self._has_news = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._next_start: dict[str, float] = {}

    def send(self, jobs: Iterable[Job]) -> None:
        self._loop.call_soon_threadsafe(self._start, list(jobs))

    def wake(self) -> None:
        """Make `run` return, now or as soon as it is called."""
        self._loop.call_soon_threadsafe(self._has_news.set)

    def run(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Send and listen until enough has ended, or somebody wakes, or for the seconds given."""
        self._loop.run_until_complete(self._until_news(seconds))
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> list[tuple[Job, Outcome]]:
        """Wait for what is under way, then leave."""
        self._loop.run_until_complete(self._leave())
        self._loop.close()
        return self._ended

    async def _until_news(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_news.wait()
        self._has_news.clear()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    async def _leave(self) -> None:
        # What was handed over from elsewhere starts first.
        await asyncio.sleep(0)
        if self._jobs:
            await asyncio.wait(self._jobs)
        await self._door.__aexit__()

    def _start(self, jobs: list[Job]) -> None:
        routes: dict[str, Route | DoorError] = {}
        for job in jobs:
            url = job.item.url
            if url not in routes:
                routes[url] = _route(url)
            task = self._loop.create_task(self._one(job, routes[url], self._slot(job)))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    def _slot(self, job: Job) -> float:
        """For how long a paced one waits: what is late must not bunch with what follows it."""
        item, now = job.item, self._loop.time()
        if not item.spacing_seconds:
            return 0.0
        start = max(now + item.delay_seconds, self._next_start.get(item.url, 0.0))
        self._next_start[item.url] = start + item.spacing_seconds
        return start - now

    async def _one(self, job: Job, route: Route | DoorError, wait_seconds: float) -> None:
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)
        outcome = await attempt(self._door, job, route)
        self._ended.append((job, outcome))
        # A burst of answers is worth one transaction.
        if len(self._ended) >= min(WORTH_TELLING, len(self._jobs)):
            self._has_news.set()
        elif self._linger is None:
            self._linger = self._loop.call_later(LINGER_SECONDS, self._has_news.set)


def _route(url: str) -> Route | DoorError:
    try:
        return route_to(url)
    except DoorError as error:
        return error


async def attempt(door: BulkDoor, job: Job, route: Route | DoorError) -> Outcome:
    """One signed POST; whatever goes wrong is in the outcome."""
    started_at, started = timezone.now(), time.monotonic()
    status, problem, excerpt, retry_after = None, "", "", None
    try:
        if isinstance(route, DoorError):
            raise route
        if not job.keys:
            raise DoorError("no outbound secret")
        reply = await door.post(
            route,
            headers=signed_headers(job),
            body=job.item.body,
            timeout_seconds=settings.DELIVERY_TIMEOUT_SECONDS,
        )
        status = reply.status
        excerpt = _excerpt(reply.body) if reply.body else ""
        if not 200 <= status < 300:
            problem = f"http_{status}"
            retry_after = _retry_after(reply.headers, started_at)
    except DoorError as error:
        problem = error.code
    elapsed_ms = round((time.monotonic() - started) * 1000)
    return Outcome(started_at, elapsed_ms, status, problem, excerpt, retry_after)


def signed_headers(job: Job) -> dict[str, str]:
    item = job.item
    headers = {
        "Content-Type": "application/json",
        "X-Posz-Signature": hex_signature(item.body, job.keys[0]),
        "X-Posz-Event": item.event_type,
        "X-Posz-Delivery": str(item.id),
        "X-Posz-Attempt": str(item.number),
        **standard_headers(str(item.event_id), int(time.time()), item.body, job.keys),
    }
    return headers | {"Authorization": f"Bearer {job.token}"} if job.token else headers


def _excerpt(body: bytes) -> str:
    """The beginning of an answer as text that any database can hold, without what looks like a key."""
    text = body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")
    return redact("".join(char if char.isprintable() else " " for char in text))[
        :EXCERPT_CHARACTERS
    ]


def _retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return timedelta(seconds=int(value))
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        return None
    return max(moment - now, timedelta(0))
