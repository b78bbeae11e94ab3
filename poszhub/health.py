"""The probes. `/healthz`: must this process be replaced? `/readyz`: may it be sent requests, and if
not, because of what? Anybody may ask, so the answers are words without names, addresses or causes.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache as remembered

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from redis import RedisError

from installs.encryption import require_right_keys
from poszhub import clock

logger = logging.getLogger(__name__)

WITHIN_SECONDS = 2.0
ASK_AGAIN_AFTER_SECONDS = 30.0
# What is accepted without a worker is kept in rows and done later. To refuse it would help nobody.
DEGRADES_ONLY = {"clock"}
GOOD = {"ok", "not_used"}

States = dict[str, str]


class Question:
    """Asks about some parts in a thread of its own, because there is no time limit that holds
    for every way in which a server can hang.

    All who ask at the same time share one answer, so that probes never pile up at a server that is
    slow. A thread that hangs is left behind and another one tries after a while.
    """

    def __init__(self, ask: Callable[[], States], *parts: str) -> None:
        self._ask = ask
        self._parts = parts
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._answer: Future[States] | None = None

    def start(self) -> None:
        with self._lock:
            is_waiting = self._answer is not None and not self._answer.done()
            if is_waiting and time.monotonic() - self._asked_at < ASK_AGAIN_AFTER_SECONDS:
                return
            self._asked_at = time.monotonic()
            self._answer = Future()
            thread = threading.Thread(target=self._run, args=(self._answer,), daemon=True)
            thread.start()

    def states(self, seconds: float) -> States:
        """A word for each part: what was found, `unknown`, or `timeout`."""
        if self._answer is None:
            raise RuntimeError("start() comes first")
        try:
            return dict.fromkeys(self._parts, "unknown") | self._answer.result(seconds)
        except TimeoutError:
            return dict.fromkeys(self._parts, "timeout")

    def _run(self, answer: "Future[States]") -> None:
        try:
            answer.set_result(self._ask())
        except Exception:
            logger.exception("A probe broke")
            answer.set_result({})


def ask_database() -> States:
    try:
        missing = needed_migrations() - set(MigrationRecorder(connection).applied_migrations())
        if missing:
            return {"database": "ok", "migrations": "behind"}
        return {"database": "ok", "migrations": "ok", "encryption": keys_state()}
    except Error:
        return {"database": "down"}
    finally:
        connection.close()


@remembered
def needed_migrations() -> frozenset[tuple[str, str]]:
    """Those of this code; a database may be ahead of it while a newer one is rolled out."""
    return frozenset(MigrationLoader(None).graph.nodes)


def keys_state() -> str:
    try:
        require_right_keys()
    except ImproperlyConfigured:
        return "wrong_keys"
    return "ok"


def ask_cache() -> States:
    try:
        is_late = clock.is_late()
    except (RedisError, OSError):
        return {"redis": "down"}
    return {
        "redis": "ok" if settings.REDIS_URL else "not_used",
        "clock": "late" if is_late else "ok",
    }


QUESTIONS = (
    Question(ask_database, "database", "migrations", "encryption"),
    Question(ask_cache, "redis", "clock"),
)


def health(_request: HttpRequest) -> JsonResponse:
    """200 while this process can serve: the database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"status": "database_down"}, status=503)
    return JsonResponse({"status": "ok"})


@never_cache
def readiness(_request: HttpRequest) -> JsonResponse:
    """200 where requests may come, also degraded; else 503. At most two seconds, whatever hangs."""
    deadline = time.monotonic() + WITHIN_SECONDS
    for question in QUESTIONS:
        question.start()
    parts: States = {}
    for question in QUESTIONS:
        parts |= question.states(max(0.0, deadline - time.monotonic()))
    bad = {part for part, state in parts.items() if state not in GOOD}
    if bad - DEGRADES_ONLY:
        return JsonResponse({"status": "not_ready", "parts": parts}, status=503)
    return JsonResponse({"status": "degraded" if bad else "ready", "parts": parts})
