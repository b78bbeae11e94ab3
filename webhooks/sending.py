"""One signed POST to a partner, and the event loop in which a great many of them are under way.

Nothing here touches the database. The loop has a thread of its own; what comes back is handed over in
the caller's own queue.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Thread

from django.conf import settings
from django.utils import timezone

from dispatch.bulk_door import BulkDoor, Route, route_to
from dispatch.door import DoorError
from dispatch.signing import hex_signature, standard_headers
from webhooks.claims import Claimed

EXCERPT_CHARACTERS = 500
STOP_WITHIN_SECONDS = 20.0


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


Done = Callable[[Job, Outcome], None]


class Sender:
    """The event loop and its thread. `done` is called in that thread, once per job."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._loop = asyncio.new_event_loop()
        self._jobs: set[asyncio.Task[None]] = set()
        self._is_leaving = asyncio.Event()
        self._thread = Thread(target=self._run, name="deliver-loop", daemon=True)
        self._thread.start()

    def send(self, jobs: Iterable[Job]) -> None:
        self._loop.call_soon_threadsafe(self._start, list(jobs))

    def stop(self) -> None:
        """Wait for what is under way, then leave."""
        self._loop.call_soon_threadsafe(self._is_leaving.set)
        self._thread.join(STOP_WITHIN_SECONDS)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with BulkDoor() as self._door:
            await self._is_leaving.wait()
            if self._jobs:
                await asyncio.wait(self._jobs)

    def _start(self, jobs: list[Job]) -> None:
        routes: dict[str, Route | DoorError] = {}
        for job in jobs:
            url = job.item.url
            if url not in routes:
                routes[url] = _route(url)
            task = self._loop.create_task(self._one(job, routes[url]))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    async def _one(self, job: Job, route: Route | DoorError) -> None:
        if job.item.delay_seconds > 0:
            await asyncio.sleep(job.item.delay_seconds)
        self._done(job, await attempt(self._door, job, route))


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
    """The beginning of an answer as text that any database can hold."""
    text = body[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text)[:EXCERPT_CHARACTERS]


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
