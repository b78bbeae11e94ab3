"""One signed POST to a partner, and the event loop in which a great many of them are under way.

Nothing here touches the database.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from django.conf import settings
from django.utils import timezone

from dispatch.bulk_door import BulkDoor, Route, route_to
from dispatch.door import DoorError
from dispatch.signing import SignedEvent
from webhooks.claims import Claimed
from webhooks.exported.customers import ERASURES
from webhooks.redaction import redact

EXCERPT_CHARACTERS = 500
LINGER_SECONDS = 0.01
# Where no place is waited for there is time to let more answers come together.
PATIENT_LINGER_SECONDS = 0.03
WORTH_TELLING = 64
# How much of a delay at a paced endpoint is made up for; the rest of it moves what follows.
CATCH_UP_SECONDS = 0.03


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
    # Of a success, where it is read as an answer.
    answer: bytes = field(default=b"", repr=False)

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(slots=True)
class _Lane:
    """What waits for its moment at one paced endpoint, by the real clock."""

    waiting: deque[tuple[float, Job, Route | DoorError]] = field(default_factory=deque)
    next_start: float = 0.0
    timer: asyncio.TimerHandle | None = None


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
    `send` and `wake` may be called from any thread, all else only by the owner. `is_patient` says that
    the owner has nothing to start as soon as something ends.
    """

    def __init__(self) -> None:
        self._loop = _Loop()
        self._door = self._loop.run_until_complete(BulkDoor().__aenter__())
        self._jobs: set[asyncio.Task[None]] = set()
        self._ended: list[tuple[Job, Outcome]] = []
        self._has_news = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._lanes: dict[str, _Lane] = {}
        self.is_patient = False

    def send(self, jobs: Iterable[Job]) -> None:
        self._loop.call_soon_threadsafe(self._start, list(jobs))

    def wake(self) -> None:
        """Make `run` return, now or as soon as it is called."""
        self._loop.call_soon_threadsafe(self._has_news.set)

    def run(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Send and listen until enough has ended, or somebody wakes, or for the seconds given."""
        # The timers stood still with the loop, the partners' seconds did not.
        for lane in self._lanes.values():
            self._start_in_turn(lane)
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
        while self._is_waiting():
            await asyncio.sleep(LINGER_SECONDS)
        if self._jobs:
            await asyncio.wait(self._jobs)
        await self._door.__aexit__()

    def _is_waiting(self) -> bool:
        return any(lane.waiting for lane in self._lanes.values())

    def _start(self, jobs: list[Job]) -> None:
        routes: dict[str, Route | DoorError] = {}
        for job in jobs:
            item = job.item
            if item.url not in routes:
                routes[item.url] = _route(item.url)
            if item.spacing_seconds:
                lane = self._lanes.setdefault(item.url, _Lane())
                moment = time.monotonic() + item.delay_seconds
                lane.waiting.append((moment, job, routes[item.url]))
                self._start_in_turn(lane)
            else:
                self._begin(job, routes[item.url])

    def _start_in_turn(self, lane: _Lane) -> None:
        """Start what is at its moment. What is late must not bunch with what follows it."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        while lane.waiting:
            moment, job, route = lane.waiting[0]
            now, start = time.monotonic(), max(moment, lane.next_start)
            if start > now:
                lane.timer = self._loop.call_later(start - now, self._start_in_turn, lane)
                return
            lane.waiting.popleft()
            lane.next_start = max(start, now - CATCH_UP_SECONDS) + job.item.spacing_seconds
            self._begin(job, route)

    def _begin(self, job: Job, route: Route | DoorError) -> None:
        task = self._loop.create_task(self._one(job, route))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _one(self, job: Job, route: Route | DoorError) -> None:
        outcome = await attempt(self._door, job, route)
        self._ended.append((job, outcome))
        # A burst of answers is worth one transaction.
        is_patient = self.is_patient or self._is_waiting()
        enough = WORTH_TELLING if is_patient else min(WORTH_TELLING, len(self._jobs))
        if len(self._ended) >= enough:
            self._has_news.set()
        elif self._linger is None:
            linger = PATIENT_LINGER_SECONDS if is_patient else LINGER_SECONDS
            self._linger = self._loop.call_later(linger, self._has_news.set)


def _route(url: str) -> Route | DoorError:
    try:
        return route_to(url)
    except DoorError as error:
        return error


async def attempt(door: BulkDoor, job: Job, route: Route | DoorError) -> Outcome:
    """One signed POST; whatever goes wrong is in the outcome."""
    started_at, started = timezone.now(), time.monotonic()
    status, problem, excerpt, retry_after, answer = None, "", "", None, b""
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
        if 200 <= status < 300 and job.item.event_type in ERASURES:
            answer = reply.body
        if not 200 <= status < 300:
            problem = f"http_{status}"
            retry_after = _retry_after(reply.headers, started_at)
    except DoorError as error:
        problem = error.code
    elapsed_ms = round((time.monotonic() - started) * 1000)
    return Outcome(started_at, elapsed_ms, status, problem, excerpt, retry_after, answer)


def signed_headers(job: Job) -> dict[str, str]:
    item = job.item
    event = SignedEvent(
        item.event_type, str(item.event_id), str(item.id), item.number, bytes(item.body)
    )
    headers = event.headers(job.keys, int(time.time()))
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
