"""Webhooks that the sandbox sends to the hub: the same bytes again and again until a 2xx."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException  # noqa: TID251
from typing import Literal
from urllib.error import HTTPError

# The sandbox plays somebody else's server, so it does not go through the hub's own door.
from urllib.request import (  # noqa: TID251
    HTTPRedirectHandler,
    ProxyHandler,
    Request,
    build_opener,
)

from dispatch.signing import hex_signature

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
GIVE_UP_SECONDS = 3_600.0
ATTEMPT_SECONDS = 15.0
WORKERS = 4


@dataclass(slots=True)
class Callback:
    """One event on its way. `outcome` is only changed by the outbox."""

    event_id: str
    type: str
    body: bytes
    outcome: Literal["sending", "told", "gave_up"] = "sending"
    attempts: int = 0
    last_answer: str = ""
    give_up_at: float = 0.0
    retry_seconds: float = 0.0
    is_queued: bool = False
    decided: threading.Event = field(default_factory=threading.Event)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


# No proxy from the environment: the hub is on this machine.
_opener = build_opener(ProxyHandler({}), _NoRedirects)


class DidNotAnswerError(Exception):
    """The hub could not be reached, or broke off."""


def post(
    url: str, body: bytes, signature: dict[str, str], sender: str = "Partner-sandbox/1.0"
) -> tuple[int, str]:
    """The status and the text that the hub answers, whatever it is."""
    headers = {"Content-Type": "application/json", "User-Agent": sender, **signature}
    try:
        request = Request(url, data=body, headers=headers)  # noqa: S310
        with _opener.open(request, timeout=ATTEMPT_SECONDS) as response:
            return response.status, response.read(65_536).decode("utf-8", "replace")
    except HTTPError as error:
        with error:
            return error.code, error.read(65_536).decode("utf-8", "replace")
    except (OSError, HTTPException, ValueError) as error:
        raise DidNotAnswerError(type(error).__name__) from None


class Outbox:
    """`secrets` is asked at every attempt, so that a rotation in between is no obstacle."""

    def __init__(
        self, url: str, secrets: Callable[[], list[bytes]], first_retry_seconds: float
    ) -> None:
        self._url = url
        self._secrets = secrets
        self._first_retry_seconds = first_retry_seconds
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._is_closed = False
        self._workers: list[threading.Thread] = []

    def start(self) -> None:
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(WORKERS)]
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(timeout=1)

    def send(self, callback: Callback) -> None:
        """Send now, also what was sent before; what is still on its way is left alone."""
        with self._changed:
            if callback.is_queued:
                return
            callback.is_queued = True
            callback.outcome = "sending"
            callback.decided.clear()
            callback.retry_seconds = self._first_retry_seconds
            callback.give_up_at = time.monotonic() + GIVE_UP_SECONDS
            self._push(callback, time.monotonic())

    def _push(self, callback: Callback, due: float) -> None:
        heapq.heappush(self._queue, (due, next(self._order), callback))
        self._changed.notify()

    def _work(self) -> None:
        while (callback := self._next()) is not None:
            is_told, callback.last_answer = self._attempt(callback)
            self._decide(callback, is_told=is_told)

    def _next(self) -> Callback | None:
        with self._changed:
            while not self._is_closed:
                wait = self._queue[0][0] - time.monotonic() if self._queue else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._queue)[2]
                self._changed.wait(wait)
        return None

    def _decide(self, callback: Callback, *, is_told: bool) -> None:
        with self._changed:
            callback.attempts += 1
            if not is_told and time.monotonic() < callback.give_up_at:
                self._push(callback, time.monotonic() + callback.retry_seconds)
                callback.retry_seconds = min(callback.retry_seconds * 2, LONGEST_RETRY_SECONDS)
                return
            callback.outcome = "told" if is_told else "gave_up"
            callback.is_queued = False
            callback.decided.set()

    def _attempt(self, callback: Callback) -> tuple[bool, str]:
        keys = self._secrets()
        if not keys:
            return False, "no secret to sign with"
        signature = {"X-Spliteasy-Signature": hex_signature(callback.body, keys[0])}
        try:
            status, answer = post(self._url, callback.body, signature, "SplitEasy-sandbox/1.0")
        except DidNotAnswerError as error:
            return False, str(error)
        return 200 <= status < 300, f"{status} {answer[:200]}"
