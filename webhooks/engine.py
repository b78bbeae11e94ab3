"""The streaming engine: it keeps many POSTs in flight and claims more as places come free.

One thread per process takes turns: it records what has ended, claims what is due, and then runs the
event loop in which the POSTs are under way until there is news. Nothing waits for the slowest member of
a batch, and one partner can only fill the places that its catalog row allows.

Celery starts it (`poke`) and spreads it over processes and machines; any number may run at once.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    close_old_connections,
    connection,
)

from dispatch import oauth
from dispatch.contracts import AuthError, TemporaryError
from installs.credentials import active_secrets
from installs.models import Install
from webhooks import claims, outcomes
from webhooks.claims import Claimed
from webhooks.sending import Job, Outcome, Sender

logger = logging.getLogger(__name__)

IN_FLIGHT = 1024
CLAIM_AT_ONCE = 256
# Once all that was due is taken, what comes in is drawn together: a claim costs what many rows cost.
CLAIM_EVERY_SECONDS = 0.03
# For how long a thread of its own goes on looking so after the last find: it is sooner than a message.
KEEP_LOOKING_SECONDS = 0.3
# How often an engine that found nothing looks again by itself while it is at work.
LOOK_AGAIN_SECONDS = 1.0
AFTER_ERROR_SECONDS = 0.5
STOP_WITHIN_SECONDS = 25.0
KEYS_KEPT_SECONDS = 1.0
HOLD_WITHOUT_TOKEN = timedelta(seconds=60)
TOKENS_AT_ONCE = 8


class Engine:
    """`run_until_idle` works in the caller's thread; `poke` keeps a thread of its own at work."""

    def __init__(self, in_flight: int = IN_FLIGHT) -> None:
        self._most = in_flight
        self._sender: Sender | None = None
        self._flying: set[UUID] = set()
        self._ended: list[tuple[Job, Outcome]] = []
        self._keys: dict[str, tuple[float, list[bytes]]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_poked = threading.Event()
        self._is_stopping = False
        self._stop_by = float("inf")
        self._tokens: ThreadPoolExecutor | None = None
        self._look_at = 0.0
        self._claim_from = 0.0
        self._found_at = -1e9
        self._is_paced = False
        self._is_drained = False
        self._is_idle = False
        self._made = 0

    def run_until_idle(self) -> int:
        """Send everything that is due and what becomes due meanwhile; return how many attempts."""
        self._sender = Sender()
        try:
            while self._cycle(self._sender):
                self._listen(self._sender)
        finally:
            self._sender.close()
        return self._made

    def poke(self) -> None:
        """See to what is due, now, in the engine's own thread. Returns at once."""
        with self._lock:
            self._is_poked.set()
            if self._thread is not None and self._thread.is_alive():
                if self._sender is not None:
                    self._sender.wake()
            elif not self._is_stopping:
                self._thread = threading.Thread(target=self._run, name="deliver", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Claim nothing more and wait until what is in flight has ended and is recorded."""
        self._is_stopping = True
        self._stop_by = time.monotonic() + STOP_WITHIN_SECONDS
        if self._thread is not None and self._thread.is_alive():
            self.poke()
            self._thread.join()

    def _run(self) -> None:
        sender = Sender()
        with self._lock:
            self._sender = sender
        self._tokens = ThreadPoolExecutor(TOKENS_AT_ONCE, thread_name_prefix="deliver-token")
        try:
            while not self._is_stopping or self._flying:
                self._work(sender)
                close_old_connections()
                if not self._is_stopping:
                    self._is_poked.wait()
        finally:
            with self._lock:
                self._sender = None
            self._tokens.shutdown()
            self._ended += sender.close()
            connection.close()

    def _work(self, sender: Sender) -> None:
        """Until nothing is in flight and nothing more is due."""
        while True:
            try:
                if not self._cycle(sender):
                    return
            except DatabaseError:
                # What has ended stays in memory and is written as soon as the database is back.
                logger.exception("The database does not answer; trying again")
                connection.close()
                if time.monotonic() > self._stop_by:
                    self._ended, self._flying = [], set()
                    return
                self._look_at = time.monotonic() + AFTER_ERROR_SECONDS
            self._listen(sender)

    def _cycle(self, sender: Sender) -> bool:
        """Record what has ended and claim what is due; whether there is anything left to wait for."""
        if self._is_poked.is_set():
            self._is_poked.clear()
            self._is_idle = False
            self._look_at = self._claim_from
        # Places have come free, here or at an endpoint that had no room.
        if (self._record() or not self._flying) and not self._is_paced:
            self._look_at = min(self._look_at, self._claim_from)
        free = self._most - len(self._flying)
        if free > 0 and time.monotonic() >= self._look_at and not self._is_stopping:
            self._claim(sender, min(free, CLAIM_AT_ONCE))
        return bool(self._flying) or not (self._is_idle or self._is_stopping)

    def _record(self) -> int:
        ended = len(self._ended)
        if ended:
            _write(self._ended)
            self._flying.difference_update(job.item.id for job, _outcome in self._ended)
            self._made += ended
            self._ended = []
        return ended

    def _listen(self, sender: Sender) -> None:
        """Until something has ended, somebody pokes, or it is time to look again."""
        seconds = self._look_at - time.monotonic()
        if len(self._flying) >= self._most or self._is_stopping:
            seconds = LOOK_AGAIN_SECONDS
        self._ended += sender.run(min(max(seconds, 0.0), LOOK_AGAIN_SECONDS))

    def _claim(self, sender: Sender, most: int) -> None:
        claimed = claims.claim(most, claims.now())
        self._is_paced = claimed.again_in is not None
        now = time.monotonic()
        if claimed.items:
            self._is_drained, self._found_at = not self._is_paced, now
        goes_on = self._thread is not None and now - self._found_at < KEEP_LOOKING_SECONDS
        self._is_idle = not (claimed.items or self._is_paced or goes_on)
        again_in = claimed.again_in
        if again_in is None:
            again_in = CLAIM_EVERY_SECONDS if goes_on else LOOK_AGAIN_SECONDS
        self._look_at = now + again_in
        sender.is_patient = self._is_drained
        self._claim_from = time.monotonic() + (CLAIM_EVERY_SECONDS if self._is_drained else 0.0)
        if claimed.items:
            self._flying.update(item.id for item in claimed.items)
            self._send(sender, claimed.items)

    def _send(self, sender: Sender, items: Sequence[Claimed]) -> None:
        keys = {item.slug: self._keys_of(item.slug) for item in items}
        sender.send(Job(item, keys[item.slug]) for item in items if not item.is_oauth)
        for install_id in {item.install_id for item in items if item.is_oauth}:
            jobs = [Job(item, keys[item.slug]) for item in items if item.install_id == install_id]
            self._send_with_token(sender, install_id, jobs)

    def _keys_of(self, slug: str) -> list[bytes]:
        read_at, keys = self._keys.get(slug, (-1e9, []))
        if time.monotonic() - read_at > KEYS_KEPT_SECONDS:
            keys = active_secrets(slug, "outbound")
            self._keys[slug] = time.monotonic(), keys
        return keys

    def _send_with_token(self, sender: Sender, install_id: UUID, jobs: list[Job]) -> None:
        """A partner that is slow to give a token must not hold up the others."""
        if self._tokens is None:
            self._send_or_hold(sender, install_id, jobs)
        else:
            self._tokens.submit(self._send_in_background, sender, install_id, jobs)

    def _send_in_background(self, sender: Sender, install_id: UUID, jobs: list[Job]) -> None:
        try:
            self._send_or_hold(sender, install_id, jobs)
        except Exception:
            # The lease gives them back.
            logger.exception("No token for install %s", install_id)
        finally:
            connection.close()

    def _send_or_hold(self, sender: Sender, install_id: UUID, jobs: list[Job]) -> None:
        """Without a token nothing is sent and no attempt is counted: the delivery waits until the
        merchant has connected again, or until the partner gives tokens again.
        """
        install = Install.objects.filter(pk=install_id).first()
        try:
            token = oauth.access_token_for(install) if install is not None else ""
        except (AuthError, TemporaryError):
            token = ""
        if token:
            sender.send(Job(job.item, job.keys, token) for job in jobs)
        else:
            items = [job.item for job in jobs]
            claims.give_back(items, claims.now() + HOLD_WITHOUT_TOKEN)
            self._flying.difference_update(item.id for item in items)
            sender.wake()


def _write(ended: Sequence[tuple[Job, Outcome]]) -> None:
    try:
        outcomes.record(ended, claims.now())
    except (DataError, IntegrityError):
        logger.exception("A batch of outcomes could not be written; writing one by one")
        for one in ended:
            try:
                outcomes.record([one], claims.now())
            except (DataError, IntegrityError):
                # Its lease ends by itself, and it is tried again as one whose outcome is unknown.
                ids = {"delivery_id": str(one[0].item.id), "attempt": one[0].item.number}
                logger.exception("The outcome of an attempt is lost", extra=ids)


_engines: dict[int, Engine] = {}
_engines_lock = threading.Lock()


def of_this_process() -> Engine:
    """One per process, made after a fork: threads and connections do not survive one."""
    with _engines_lock:
        return _engines.setdefault(os.getpid(), Engine())


def stop_of_this_process() -> None:
    engine = _engines.get(os.getpid())
    if engine is not None:
        engine.stop()
