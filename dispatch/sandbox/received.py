"""The log of what was received, credentials and signatures as sent: it is a test tool."""

import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dispatch.sandbox.messages import Request, now, rfc3339

MOST_KEPT = 5_000


@dataclass(frozen=True, slots=True)
class Received:
    request: Request
    at: str

    def as_json(self) -> dict[str, Any]:
        return {
            "method": self.request.method,
            "path": self.request.path,
            "query": self.request.query,
            "headers": dict(self.request.headers),
            "body": self.text,
            "at": self.at,
        }

    @property
    def text(self) -> str:
        return self.request.body.decode("utf-8", "replace")


class ReceivedLog:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Received] = deque(maxlen=MOST_KEPT)

    def add(self, request: Request) -> None:
        with self._lock:
            self._kept.append(Received(request, rfc3339(now())))

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()

    def all(self) -> list[Received]:
        with self._lock:
            return list(self._kept)

    def latest(self, count: int) -> list[Received]:
        with self._lock:
            return list(islice(reversed(self._kept), count))
