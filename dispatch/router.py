"""Puts a till's question to the right adapters and answers within the capability's budget.

Whatever partners do, the till gets its answer in time and without an error: one that is slow, dead or
talks nonsense is reported in its own result and costs the others nothing. Each partner has its own
threads, so a hanging one can fill only those; work that starts too late is dropped.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from catalog.capabilities import CAPABILITIES, Direction
from catalog.envelope import ApiError
from dispatch import answers
from dispatch.adapters import adapter_for
from dispatch.answers import Ask, Told
from dispatch.breaker import Breaker
from dispatch.contracts import (
    Adapter,
    AdapterError,
    AuthError,
    Call,
    DeclinedError,
    ProvisioningAdapter,
    TemporaryError,
)
from dispatch.models import Answer, AnswerStatus
from dispatch.oauth import current_token
from dispatch.questions import Question
from dispatch.surfaces import Surface, operation_error, surface_of
from installs import connection, snapshot
from installs.credentials import current_keys
from installs.models import Connection, Install

logger = logging.getLogger(__name__)

# Kept back from the budget for reading and writing rows before and after the partners, and for the
# pauses of a busy machine.
OVERHEAD_SECONDS = 0.1
# A call that could get less time than this is not worth starting.
LEAST_SECONDS = 0.02
POLL_SECONDS = 0.01
LEASE = timedelta(seconds=15)


def dispatch(
    merchant_id: UUID,
    location_id: UUID,
    capability: str,
    data: dict[str, Any],
    *,
    operation: str = "",
    idempotency_key: str = "",
    install_id: UUID | None = None,
) -> dict[str, Any]:
    """Ask the integrations that answer `capability` at the location; see the module's promise.

    Refused (ApiError): unknown capability, merchant or location 404, a capability that is never
    asked for 422, malformed data or an operation that it does not have 400. Results keep install
    order. The same idempotency key (default: what the contract says, such as order id and version)
    gives the answers that were given before; installs that failed then are asked again. A reading,
    such as a balance, has no key and is always asked. With `install_id` only that one is asked.
    """
    started = time.monotonic()
    known = CAPABILITIES.get(capability)
    if known is None:
        raise ApiError("not_found")
    if known.direction is not Direction.SYNC:
        raise ApiError("capability_unsupported")
    snap = snapshot.current(merchant_id)
    if snap is None or location_id not in snap.locations:
        raise ApiError("not_found")
    rows = snap.answering(capability, location_id)
    if install_id is not None:
        rows = [row for row in rows if row.pk == install_id]
    results: list[dict[str, Any]] = []
    surface = surface_of(capability, operation)
    if surface is not None:
        question = surface.read(data, snap.merchant.currency)
        key = idempotency_key or question.key
        ask = Ask(merchant_id, location_id, capability, operation, key)
        keeper = surface.keeper(ask, question) if surface.keeper else None
        if keeper is not None:
            rows = keeper.before(rows)
            ask, question = keeper.ask, keeper.question
        deadline = started + (known.budget_ms or 0) / 1000 - OVERHEAD_SECONDS
        told = _Asking(ask, question, surface, snap, deadline).run(rows)
        if keeper is not None:
            told = keeper.after(told)
        results = [_result(row, told[row.pk]) for row in rows]
    elif rows:
        raise operation_error(capability)
    is_answered = any(item["status"] in {"ok", "declined"} for item in results)
    return {
        "capability": capability,
        "mode": str(known.mode),
        "answered_by": "integration" if is_answered else "built_in",
        "results": results,
    }


def _result(row: Install, told: Told) -> dict[str, Any]:
    result: dict[str, Any] = {
        "integration": row.integration.slug,
        "install_id": str(row.pk),
        "status": told.status,
        "output": told.output,
        "elapsed_ms": told.elapsed_ms,
    }
    if told.error:
        result["error"] = told.error
    return result


@dataclass(frozen=True, slots=True)
class _Asking:
    """One question on its way to several installs."""

    ask: Ask
    question: Question
    surface: Surface
    snap: snapshot.Snapshot
    deadline: float

    def run(self, rows: list[Install]) -> dict[UUID, Told]:
        if not self.ask.key:
            return self._ask_partners(rows)
        by_id = {row.pk: row for row in rows}
        told = {
            install_id: _as_told(row)
            for install_id, row in answers.known_answers(self.ask, by_id).items()
        }
        open_ids = [install_id for install_id in by_id if install_id not in told]
        if open_ids:
            claims = answers.claim(self.ask, open_ids, LEASE)
            told |= self._ask_partners([by_id[item] for item in claims])
            self._keep(claims, told)
            told |= self._wait_for_others([item for item in open_ids if item not in claims])
        return told

    def _ask_partners(self, rows: list[Install]) -> dict[UUID, Told]:
        if not rows:
            return {}
        keys = current_keys(row.integration.slug for row in rows)
        futures: dict[UUID, Future[Told]] = {}
        told: dict[UUID, Told] = {}
        for row in rows:
            slug = row.integration.slug
            version = row.capability_versions.get(self.ask.capability, 1)
            adapter = adapter_for(slug, self.ask.capability, version)
            if adapter is None:
                told[row.pk] = _failed("skipped", "capability_unsupported", "No adapter speaks it.")
            elif not partner(slug).breaker.allows():
                told[row.pk] = _failed(
                    "skipped", "upstream_error", "The partner is failing; it is left out for now."
                )
            else:
                try:
                    token = current_token(row) if row.integration.is_oauth else ""
                except AdapterError as error:
                    told[row.pk] = _failed("error", "upstream_error", str(error))
                    continue
                call = self._call(row, keys.get(slug, {}), token)
                futures[row.pk] = partner(slug).submit(self._worker(adapter, call))
        wait(futures.values(), timeout=max(0, self.deadline - time.monotonic()))
        for install_id, future in futures.items():
            told[install_id] = future.result() if future.done() else self._give_up(future)
        return told

    def _give_up(self, future: Future[Told]) -> Told:
        is_unknown = not future.cancel()
        return self._failed_after("timeout", "The partner did not answer in time.", is_unknown)

    def _failed_after(self, status: str, message: str, is_unknown: bool) -> Told:
        """Where the partner may have done what it was asked, that is never taken for done or not."""
        told = _failed(status, "upstream_error", message)
        return self._unknown(told) if is_unknown else told

    def _unknown(self, told: Told) -> Told:
        return replace(told, output=self.question.if_unknown, is_unknown=True)

    def _call(self, row: Install, keys: dict[str, bytes], access_token: str) -> Call:
        return Call(
            merchant=self.snap.merchant,
            location=self.snap.locations.get(self.ask.location_id)
            if self.ask.location_id
            else None,
            install=row,
            keys=keys,
            timeout_seconds=0,
            external_merchant_id=row.external_merchant_id,
            idempotency_key=f"{row.pk}:{self.ask.key}" if self.ask.key else "",
            access_token=access_token,
        )

    def _worker(self, adapter: Adapter, call: Call) -> Callable[[], Told]:
        """The work of one partner thread. It touches no database."""

        def work() -> Told:
            started = time.monotonic()
            breaker = partner(call.integration.slug).breaker
            try:
                told = self._ask_one(adapter, call)
                breaker.succeeded()
            except TemporaryError as error:
                breaker.failed()
                is_late = time.monotonic() >= self.deadline - LEAST_SECONDS
                told = self._failed_after("timeout" if is_late else "error", str(error), True)
            except DeclinedError:
                breaker.succeeded()
                told = Told("declined", {})
            except AdapterError as error:
                breaker.succeeded()
                logger.warning(
                    "%s at %s: %s",
                    self.ask.capability,
                    call.integration.slug,
                    error,
                    extra={"integration": call.integration.slug},
                )
                is_unknown = not isinstance(error, AuthError)
                told = self._failed_after("error", str(error), is_unknown)
            except Exception:
                logger.exception(
                    "Adapter %s broke",
                    adapter.slug,
                    extra={
                        "integration": adapter.slug,
                        "merchant_id": str(call.merchant.pk),
                    },
                )
                told = self._unknown(_failed("error", "internal", "The adapter broke."))
            return replace(told, elapsed_ms=round((time.monotonic() - started) * 1000))

        return work

    def _ask_one(self, adapter: Adapter, call: Call) -> Told:
        learned: str | None = None
        if isinstance(adapter, ProvisioningAdapter) and not call.external_merchant_id:
            # The partner was down at install time; this receipt is one more try.
            learned = adapter.provision(self._timed(call))
            call = replace(call, external_merchant_id=learned)
        output = self.surface.ask(adapter, self._timed(call), self.question)
        return Told("ok", output, external_merchant_id=learned)

    def _timed(self, call: Call) -> Call:
        left = self.deadline - time.monotonic()
        if left < LEAST_SECONDS:
            raise TemporaryError("no time left")
        return replace(call, timeout_seconds=left)

    def _keep(self, claims: dict[UUID, UUID], told: dict[UUID, Told]) -> None:
        if not claims:
            return
        answers.settle(
            self.ask,
            next(iter(claims.values())),
            {
                install_id: (told[install_id].status, told[install_id].output)
                if told[install_id].status in {AnswerStatus.OK, AnswerStatus.DECLINED}
                else None
                for install_id in claims
            },
        )
        for install_id in claims:
            learned = told[install_id].external_merchant_id
            if learned and self.snap.installs[install_id].connection != Connection.CONNECTED:
                connection.provisioned(install_id, learned)

    def _wait_for_others(self, install_ids: list[UUID]) -> dict[UUID, Told]:
        """Somebody else is asking the same question: take the answer they get."""
        found: dict[UUID, Answer] = {}
        while len(found) < len(install_ids) and time.monotonic() < self.deadline:
            time.sleep(POLL_SECONDS)
            found = answers.known_answers(self.ask, install_ids)
        return {
            install_id: _as_told(found[install_id])
            if install_id in found
            else self._failed_after("timeout", "The same question is still being answered.", True)
            for install_id in install_ids
        }


def _as_told(row: Answer) -> Told:
    return Told(row.status, row.output)


def _failed(status: str, code: str, message: str) -> Told:
    return Told(status, {}, {"code": code, "message": message})


class Partner:
    """A partner's own threads and breaker in this process."""

    def __init__(self, slug: str) -> None:
        self.breaker = Breaker(
            settings.DISPATCH_BREAKER_FAILURES, settings.DISPATCH_BREAKER_OPEN_FOR.total_seconds()
        )
        self._threads = ThreadPoolExecutor(
            settings.DISPATCH_THREADS_PER_PARTNER, thread_name_prefix=f"dispatch-{slug}"
        )

    def submit(self, work: Callable[[], Told]) -> Future[Told]:
        return self._threads.submit(work)


_partners: dict[str, Partner] = {}
_partners_lock = threading.Lock()


def partner(slug: str) -> Partner:
    with _partners_lock:
        if slug not in _partners:
            _partners[slug] = Partner(slug)
        return _partners[slug]


def forget_partners() -> None:
    """Start afresh with closed breakers, as a new process would."""
    with _partners_lock:
        _partners.clear()
